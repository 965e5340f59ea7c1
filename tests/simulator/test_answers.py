"""Answers as other hubs give them: late, in completions, large, with null for empty lists."""

import json
from pathlib import Path
from typing import Any

import pytest

from ingestor.simulator import AnswersIn, DataForm, Fault, HandlerForm, HubConfig
from ingestor.simulator.account import Account
from tests.simulator.conftest import StartHub
from tests.simulator.wire import join, sequence_of
from tests.support.journal import read_journal


def test_a_late_answer_has_the_content_of_the_moment_of_the_command(start_hub: StartHub) -> None:
    hub = start_hub(answer_lag_seconds=0.3)
    with join(hub) as wire:
        wire.call("GetBalances", "late")
        assert hub.wait_until(lambda one: one.targets_seen["GetBalances"] == 1)
        hub.account.change()
        push, answer, completion = wire.record(), wire.record(), wire.json()
    assert (sequence_of(push), sequence_of(answer)) == (101, 100)
    assert json.loads(answer)["arguments"][0]["clientId"] == "late"
    assert completion == {"type": 3, "invocationId": "1", "result": None}


def test_a_late_answer_to_a_client_that_has_gone_is_dropped(start_hub: StartHub) -> None:
    hub = start_hub(answer_lag_seconds=0.2)
    with join(hub) as stays:
        with join(hub) as leaves:
            leaves.call("GetPairs", "x")
            assert hub.wait_until(lambda one: one.targets_seen["GetPairs"] == 1)
        stays.call("GetPairs", "y")
        assert stays.json()["arguments"][0]["clientId"] == "y"


@pytest.mark.parametrize("handler_form", HandlerForm)
def test_an_answer_can_come_in_the_completion(
    start_hub: StartHub, journal_path: Path, handler_form: HandlerForm
) -> None:
    hub = start_hub(answers_in=AnswersIn.COMPLETION, handler_form=handler_form)
    with join(hub) as wire:
        wire.call("GetBalances", "x", invocation_id="7")
        completion = wire.json()
        wire.call("Nope")
        assert "error" in wire.json()
        hub.settle()
    result = completion.pop("result")
    envelope = result[0] if handler_form is HandlerForm.LIST else result
    assert completion == {"type": 3, "invocationId": "7"}
    assert (envelope["subject"], envelope["clientId"]) == ("account.balances.snapshot", "x")
    assert json.loads(envelope["data"])["sequence"] == 100
    (record,) = read_journal(journal_path).records
    assert (record.target, record.client_id, record.sequence, record.handed) == (None, "x", 100, 1)
    assert json.loads(record.body or "") == {**completion, "result": result}


def test_an_answer_can_come_both_ways(start_hub: StartHub) -> None:
    with join(start_hub(answers_in=AnswersIn.BOTH)) as wire:
        wire.call("GetPairs", "x")
        event, completion = wire.json(), wire.json()
    assert event["arguments"] == [completion["result"]]


def test_a_fault_can_drop_a_completion_with_a_result(start_hub: StartHub) -> None:
    hub = start_hub(answers_in=AnswersIn.COMPLETION)
    with join(hub) as wire:
        hub.inject(Fault.DROP)
        wire.call("GetPairs", "x", invocation_id="1")
        wire.call("GetPairs", "x", invocation_id="2")
        assert wire.json()["invocationId"] == "2"


def test_answers_can_be_large_and_pushes_are_not(start_hub: StartHub) -> None:
    hub = start_hub(answer_bytes=100_000)
    with join(hub) as wire:
        for command in ("GetPairs", "GetBalances"):
            wire.call(command, "x")
            record = wire.record()
            assert 100_000 <= len(record) < 110_000
            assert json.loads(record)["arguments"][0]["clientId"] == "x"
            assert wire.json()["type"] == 3
        hub.account.change()
        assert len(wire.record()) < 10_000


@pytest.mark.parametrize("null_lists", [False, True])
@pytest.mark.parametrize("data_form", DataForm)
def test_an_empty_account_has_empty_lists_or_null(
    start_hub: StartHub, data_form: DataForm, null_lists: bool
) -> None:
    hub = start_hub(empty_account=True, null_lists=null_lists, data_form=data_form)
    empty: object = None if null_lists else []

    def data(record: dict[str, Any]) -> Any:
        value = record["arguments"][0]["data"]
        return json.loads(value) if isinstance(value, str) else value

    with join(hub) as wire:
        hub.account.change()
        assert data(wire.json())["assets"] == empty
        wire.call("GetBalances", "x", invocation_id=None)
        assert data(wire.json())["assets"] == empty
        wire.call("GetPairs", "x", invocation_id=None)
        assert data(wire.json()) == empty


def test_null_lists_leave_full_ones_alone() -> None:
    account, usual = Account(HubConfig(null_lists=True)), Account(HubConfig())
    assert account.balances(account.read()) == usual.balances(usual.read())
    assert account.pairs() == usual.pairs()


def test_steps_at_random_come_from_the_seed_and_change_nothing_else() -> None:
    def changes(**fields: Any) -> tuple[list[int], Any]:
        account = Account(HubConfig(**fields))
        return [account.change().sequence for _ in range(300)], account.read().holdings

    one, holdings = changes(sequence_step_random=4)
    steps = {later - earlier for earlier, later in zip([100, *one], one, strict=False)}
    assert steps == {1, 2, 3, 4}
    assert changes(sequence_step_random=4) == (one, holdings)
    assert changes(sequence_step_random=4, seed=2)[0] != one
    assert changes()[1] == holdings


def test_a_counter_can_start_again_lower_in_a_fast_stream(start_hub: StartHub) -> None:
    hub = start_hub(first_sequence=26_941_144, changes_per_second=200)
    with join(hub) as wire:
        before = wire.sequence()
        hub.inject(Fault.SEQUENCE_RESET, sequence=624_086)
        sequences = [wire.sequence() for _ in range(100)]
    assert before > 26_941_144
    after = sequences[sequences.index(624_086) :]
    assert after == list(range(624_086, 624_086 + len(after)))
    assert len(after) > 10
