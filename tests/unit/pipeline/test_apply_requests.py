"""Requests as rows: each is recorded before its answer, and has one end; only a late answer replaces it."""

from uuid import UUID

import pytest
from msgspec.structs import astuple

from ingestor.domain.decision import Origin, Outcome
from ingestor.domain.requests import Command, RequestOutcome
from ingestor.pipeline.batch import Batch, Notice, RequestAnswered, RequestFailed
from ingestor.pipeline.rows import EpochRow, GapRow, OutcomeRow, RequestRow
from tests.support.feed import Feed, needed, notices, outcomes, versions
from tests.support.items import SESSION, balances, envelope, invocation, pairs

OTHER = UUID("00000000-0000-7000-8000-000000000002")
BROKEN = invocation(envelope("account.balances.snapshot", "not JSON", "mine"))


@pytest.fixture
def feed() -> Feed:
    """In its first session, with balances known."""
    feed = Feed()
    feed.apply(feed.opened(), feed.received(balances(5)))
    return feed


def request(batch: Batch) -> RequestRow:
    (row,) = batch.all(RequestRow)
    return row


def end(batch: Batch) -> tuple[object, ...]:
    row = request(batch)
    return row.outcome, row.ended_at, row.answer_ordinal, row.error


def answered(batch: Batch) -> list[str]:
    return [each.request_id for each in batch.effects_of(RequestAnswered)]


def failed(batch: Batch) -> list[tuple[str, str, str | None]]:
    return [(each.request_id, each.outcome.value, each.error) for each in batch.effects_of(RequestFailed)]


# --- its row ---


def test_a_request_is_on_record_before_its_answer(feed: Feed) -> None:
    row = request(feed.apply(feed.requested("mine")))

    assert astuple(row) == (
        *("mine", feed.now, "GetBalances", "schedule", 1, "positional", SESSION),
        *(None, None, None, None),
    )


def test_an_answer_ends_its_request(feed: Feed) -> None:
    feed.apply(feed.requested("mine"))
    requested_at = feed.now
    batch = feed.apply(feed.received(balances(6, client_id="mine")))

    assert request(batch).requested_at == requested_at
    assert end(batch) == ("answered", feed.now, 2, None)
    assert answered(batch) == ["mine"]
    assert not failed(batch)
    assert feed.state.requests["mine"].outcome is RequestOutcome.ANSWERED


def test_a_request_and_its_answer_in_one_batch_are_one_row(feed: Feed) -> None:
    batch = feed.apply(feed.requested("mine"), feed.received(balances(6, client_id="mine")))

    assert end(batch)[0] == "answered"


@pytest.mark.parametrize("sequence", [4, 5, 6])
def test_whatever_becomes_of_it_an_answer_of_the_right_kind_is_one(feed: Feed, sequence: int) -> None:
    batch = feed.apply(feed.requested("mine"), feed.received(balances(sequence, client_id="mine")))

    assert answered(batch) == ["mine"]


def test_a_pending_snapshot_is_an_answer(feed: Feed) -> None:
    batch = feed.apply(feed.requested("mine"), feed.received(balances(6, {}, client_id="mine")))

    assert outcomes(batch) == ["pending"]
    assert answered(batch) == ["mine"]


def test_a_second_answer_changes_nothing(feed: Feed) -> None:
    feed.apply(feed.requested("mine"), feed.received(balances(6, client_id="mine")))
    batch = feed.apply(feed.received(balances(7, client_id="mine")), feed.received(BROKEN))

    assert not batch.all(RequestRow)
    assert not answered(batch)
    assert not failed(batch)


# --- ends without an answer ---


@pytest.mark.parametrize("outcome", sorted(set(RequestOutcome) - {"answered", "unreadable", "dropped"}))
def test_a_request_that_ends_without_an_answer_says_how(feed: Feed, outcome: RequestOutcome) -> None:
    feed.apply(feed.requested("mine"))
    batch = feed.apply(feed.ended("mine", outcome, error="why"))

    assert end(batch) == (outcome.value, feed.now, None, "why")
    assert [each.facts for each in batch.effects_of(Notice) if each.event == "request_failed"] == [
        {"command": "GetBalances", "outcome": outcome.value, "error": "why"}
    ]
    assert not failed(batch), "the scheduler has ended it itself"


def test_an_end_after_the_answer_changes_nothing(feed: Feed) -> None:
    feed.apply(feed.requested("mine"), feed.received(balances(6, client_id="mine")))
    batch = feed.apply(feed.ended("mine"), feed.passed("mine"))

    assert not batch.all(RequestRow)
    assert not batch.all(GapRow)
    assert not batch.effects


def test_a_second_end_changes_nothing(feed: Feed) -> None:
    feed.apply(feed.requested("mine"), feed.ended("mine"))
    batch = feed.apply(feed.ended("mine", RequestOutcome.LINK_LOST), feed.passed("mine"))

    assert not batch.all(RequestRow)
    assert not batch.effects


def test_an_end_of_what_is_not_known_is_no_row(feed: Feed) -> None:
    feed.commands["foreign"] = Command.GET_PAIRS
    batch = feed.apply(feed.ended("foreign"), feed.passed("foreign"))

    assert not batch.all(RequestRow)
    assert not batch.all(GapRow)
    assert not batch.effects


def test_an_answer_that_was_dropped_says_so(feed: Feed) -> None:
    feed.apply(feed.requested("mine"))
    batch = feed.apply(feed.dropped(), feed.passed("mine"))

    assert end(batch) == ("dropped", feed.now, None, None)
    assert failed(batch) == [("mine", "dropped", None)]
    assert "request_failed" in notices(batch)


def test_an_answer_that_was_not_dropped_has_ended_its_request_before(feed: Feed) -> None:
    feed.apply(feed.requested("mine"))
    batch = feed.apply(feed.received(balances(6, client_id="mine")), feed.passed("mine"))

    assert end(batch)[0] == "answered"
    assert not failed(batch)


# --- answers that are none ---


def test_an_answer_that_cannot_be_read_is_left_to_the_retries(feed: Feed) -> None:
    feed.apply(feed.requested("mine"))
    batch = feed.apply(feed.received(BROKEN))
    outcome, ended_at, ordinal, error = end(batch)

    assert (outcome, ended_at, ordinal) == ("unreadable", feed.now, 2)
    assert str(error).startswith("not_json: ")
    assert failed(batch) == [("mine", "unreadable", error)]
    assert not needed(batch)
    assert not answered(batch)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"type":3,"invocationId":"mine","result":{"assets":[',
        b'{"type":1,"target":"executionEvents","arguments":[{"clientId":"mine","clientId":"mine"}]}',
        b'{"type":1,"target":"executionEvents","arguments":[{"clientId":"mine"',
        b'\xff"mine"',
    ],
)
def test_a_record_that_cannot_be_read_but_holds_our_id_ends_its_request(feed: Feed, raw: bytes) -> None:
    feed.apply(feed.requested("mine"))
    batch = feed.apply(feed.received(raw))

    assert end(batch)[0] == "unreadable"
    assert [gap.affects for gap in batch.all(GapRow) if gap.kind == "undecodable"] == [("balances",)]
    assert not needed(batch)


def test_an_answer_above_the_size_limit_ends_its_request(feed: Feed) -> None:
    feed.apply(feed.requested("mine"))
    record = feed.received(balances(6, client_id="mine"))
    cut = type(record)(record.session, record.ordinal, record.received_at, record.raw[:200], 9_000_000, b"x")
    batch = feed.apply(cut)

    assert b"mine" in cut.raw
    assert end(batch)[0] == "unreadable"


def test_a_record_that_cannot_be_read_ends_one_request_and_none_that_has_ended(feed: Feed) -> None:
    feed.apply(feed.requested("one"), feed.ended("one"), feed.requested("two"), feed.requested("three"))
    batch = feed.apply(feed.received(b'{"one", "two", "three"'))

    assert failed(batch)[0][:2] == ("two", "unreadable")
    assert request(batch).request_id == "two"


def test_an_unreadable_answer_to_a_request_that_has_ended_is_requested_again(feed: Feed) -> None:
    batch = feed.apply(feed.requested("mine"), feed.ended("mine"), feed.received(BROKEN))

    assert needed(batch) == ["GetBalances undecodable"]
    assert end(batch)[0] == "timed_out", "that it was no answer is no better end"
    assert not failed(batch)


def test_an_unreadable_answer_of_the_wrong_kind_is_requested_too(feed: Feed) -> None:
    broken = invocation(envelope("execution.pairs", "not JSON", "mine"))
    batch = feed.apply(feed.requested("mine"), feed.received(broken))

    assert needed(batch) == ["GetPairs undecodable"]
    assert failed(batch)[0][:2] == ("mine", "unreadable")


def test_an_answer_of_the_wrong_kind_is_state_and_no_answer(feed: Feed) -> None:
    batch = feed.apply(feed.requested("mine"), feed.received(pairs(["BTCUSDT"], client_id="mine")))

    assert outcomes(batch) == ["applied"]
    assert not answered(batch)
    assert failed(batch) == [("mine", "unreadable", "answered with execution.pairs")]
    assert [row.origin for row in versions(batch)] == [Origin.PUSHED]

    right = feed.apply(feed.received(balances(5, client_id="mine")))
    assert answered(right) == ["mine"]
    assert end(right)[0] == "answered"


def test_an_unknown_subject_is_kept_and_answers_nothing(feed: Feed) -> None:
    raw = invocation(envelope("trade.executed", "{}", "mine"))
    batch = feed.apply(feed.requested("mine"), feed.received(raw))

    assert [(row.outcome, row.reason) for row in batch.all(OutcomeRow)] == [
        (Outcome.IGNORED, "unhandled_subject")
    ]
    assert failed(batch) == [("mine", "unreadable", "answered with trade.executed")]


def test_an_error_event_refuses_the_request_it_names(feed: Feed) -> None:
    error = invocation(envelope("preChecksError", "no permission", "mine"))
    batch = feed.apply(feed.requested("mine"), feed.received(error))

    assert [(row.outcome, row.reason) for row in batch.all(OutcomeRow)] == [(Outcome.IGNORED, "hub_error")]
    assert end(batch) == ("refused", feed.now, 2, "no permission")
    assert failed(batch) == [("mine", "refused", "no permission")]
    assert [each.facts for each in batch.effects_of(Notice) if each.event == "hub_error_received"] == [
        {"subject": "preChecksError", "message": "no permission"}
    ]
    assert not answered(batch)


# --- late answers ---


@pytest.mark.parametrize(
    "ended", [RequestOutcome.TIMED_OUT, RequestOutcome.REFUSED, RequestOutcome.LINK_LOST]
)
def test_a_late_answer_replaces_any_other_end(feed: Feed, ended: RequestOutcome) -> None:
    feed.apply(feed.requested("mine"), feed.ended("mine", ended, error="why"))
    batch = feed.apply(feed.received(balances(6, client_id="mine")))

    assert end(batch) == ("answered", feed.now, 2, None)
    assert answered(batch) == ["mine"]


def test_a_late_answer_is_still_a_fresh_one(feed: Feed) -> None:
    feed.apply(feed.received(balances(50)), feed.requested("one"), feed.ended("one"))
    feed.apply(feed.received(balances(1, client_id="one")))
    feed.apply(feed.requested("two"), feed.ended("two"))
    batch = feed.apply(feed.received(balances(2, client_id="two")))

    assert [row.epoch for row in batch.all(EpochRow)] == [2]


def test_ended_requests_are_remembered_for_their_late_answers_but_not_for_ever(feed: Feed) -> None:
    feed.apply(feed.requested("open"))
    for n in range(200):
        feed.apply(feed.requested(f"{n}"), feed.ended(f"{n}"))

    assert len(feed.state.requests) == 66, "64 that have ended, the last one, and the one that is open"
    assert answered(feed.apply(feed.received(balances(6, client_id="199")))) == ["199"]
    assert answered(feed.apply(feed.received(balances(6, client_id="open")))) == ["open"]
    assert not answered(feed.apply(feed.received(balances(6, client_id="0"))))


def test_an_id_of_another_session_is_a_push(feed: Feed) -> None:
    feed.apply(feed.requested("mine"), feed.closed(), feed.opened(OTHER))
    batch = feed.apply(feed.received(balances(6, client_id="mine")))

    assert [row.origin for row in versions(batch)] == [Origin.PUSHED]
    assert not answered(batch)
    assert not batch.all(RequestRow)


def test_an_id_of_nobody_is_a_push(feed: Feed) -> None:
    batch = feed.apply(feed.requested("mine"), feed.received(balances(6, client_id="foreign")))

    assert [row.origin for row in versions(batch)] == [Origin.PUSHED]
    assert not answered(batch)


# --- answers in completions and stream items ---


def result(value: str, request_id: str = "mine") -> bytes:
    return f'{{"type":3,"invocationId":"{request_id}","result":{value}}}'.encode()


def test_an_answer_may_come_as_the_result_of_a_completion(feed: Feed) -> None:
    bare = '{"userId":"user-1","sequence":6,"assets":[{"name":"BTC","available":1,"allocated":0}]}'
    batch = feed.apply(feed.requested("mine"), feed.received(result(bare)))

    assert outcomes(batch) == ["applied"]
    assert answered(batch) == ["mine"]
    assert [row.origin for row in versions(batch)] == [Origin.ANSWERED]


@pytest.mark.parametrize("value", ["null", "true", '"queued"', "[]", "{}"])
def test_a_completion_that_only_acknowledges_ends_nothing(feed: Feed, value: str) -> None:
    feed.apply(feed.requested("mine"))
    batch = feed.apply(feed.received(result(value)))

    assert outcomes(batch) == ["ignored"]
    assert not batch.all(RequestRow)
    assert answered(feed.apply(feed.received(balances(6, client_id="mine")))) == ["mine"]


def test_an_account_whose_assets_are_null_is_an_answer(feed: Feed) -> None:
    feed = Feed()
    feed.apply(feed.opened(), feed.requested("mine"))
    data = {"userId": "user-1", "sequence": 1, "assets": None}
    batch = feed.apply(feed.received(invocation(envelope("account.balances.snapshot", data, "mine"))))

    assert outcomes(batch) == ["applied"]
    assert answered(batch) == ["mine"]
    assert not [row for row in batch.all(GapRow) if row.kind == "undecodable"]
