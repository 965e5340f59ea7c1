"""Whatever the hub says, requests go on with pauses: never 40 in 40 seconds, and never silence (I13)."""

import random
from collections.abc import Callable, Iterator
from itertools import count, cycle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingestor.domain.decision import Policy, Step
from ingestor.domain.requests import Command
from ingestor.pipeline.apply import Rules
from ingestor.pipeline.rows import ConfirmationRow, EpochRow, GapRow
from tests.support.feed import versions
from tests.support.items import balances, envelope, invocation, pairs
from tests.support.requesting import Completion, HubRequest, Message, Middle

Behaviour = Callable[[HubRequest], list[Message]]


def listed(request: HubRequest) -> bytes:
    return pairs(["BTCUSDT"], client_id=request.request_id)


def balances_by(answer: Callable[[HubRequest], list[Message]]) -> Behaviour:
    """A hub whose list of pairs is healthy."""

    def behaviour(request: HubRequest) -> list[Message]:
        return answer(request) if request.command is Command.GET_BALANCES else [Message(0.1, listed(request))]

    return behaviour


def pushing(made: Middle, seconds: float, interval: float, push: Callable[[], bytes]) -> None:
    """Let time pass, with a push each so many seconds."""
    end = made.clock.seconds + seconds
    while made.clock.seconds < end:
        made.receive(push())
        made.run(interval)


def counting(start: int, step: int) -> Callable[[], bytes]:
    sequence = count(start, step)
    return lambda: balances(next(sequence))


# --- healthy hubs ---


@pytest.mark.parametrize("step", [1, 2, 1_000])
def test_a_counter_with_any_step_is_healthy(step: int) -> None:
    made = Middle()
    made.hub.behaviour = same(0)
    made.up()
    made.run(0.2)
    pushing(made, 40, 0.2, counting(step, step))

    assert made.times() == [0]
    assert not [row for batch in made.batches for row in batch.all(GapRow) if row.cause == "pushed"]
    passed_over = {row.passed_over for batch in made.batches for row in versions(batch)}
    assert passed_over == {0, step - 1}


def test_answers_that_are_computed_early_and_sent_late_are_healthy() -> None:
    """Pushes come five times a second, and each answer says what was true half a second before it came."""
    made = Middle(schedule=False)
    sequence = 0

    def push() -> bytes:
        nonlocal sequence
        sequence += 1
        return balances(sequence)

    made.hub.behaviour = balances_by(
        lambda request: [Message(0.5, balances(sequence, client_id=request.request_id))]
    )
    made.up()
    for _ in range(10):
        made.scheduler.request(Command.GET_BALANCES, made.sent()[0].cause)
        pushing(made, 4, 0.2, push)

    assert len(made.times()) == 11, "those of the test itself"
    assert not [row for batch in made.batches for row in batch.all(ConfirmationRow)]


def test_an_account_that_is_empty_and_says_null_is_healthy() -> None:
    made = Middle()
    data = {"userId": "user-1", "sequence": 1, "assets": None}
    made.hub.behaviour = balances_by(
        lambda request: [
            Message(0.1, invocation(envelope("account.balances.snapshot", data, request.request_id)))
        ]
    )
    made.up()
    made.run(600)

    assert len(made.times()) == 11
    assert {row.kind for batch in made.batches for row in batch.all(GapRow)} == {"disconnected"}


# --- strange hubs: what they do, and how many requests 40 and 600 seconds may bring ---


def same(sequence: int = 50) -> Behaviour:
    return balances_by(lambda request: [Message(0.1, balances(sequence, client_id=request.request_id))])


def contents(sequence: int = 50) -> Behaviour:
    """Each answer has other content under the same sequence."""
    amounts = count(1)
    return balances_by(
        lambda request: [
            Message(0.1, balances(sequence, {"BTC": next(amounts)}, client_id=request.request_id))
        ]
    )


def falling() -> Behaviour:
    """Two back ends behind one name, or a counter that begins again and again."""
    sequence = cycle([50, 40, 30, 20, 10])
    return balances_by(lambda request: [Message(0.1, balances(next(sequence), client_id=request.request_id))])


def emptied() -> Behaviour:
    """Empty and full by turns."""
    assets = cycle([{}, {"BTC": 1}])
    sequence = count(60)
    return balances_by(
        lambda request: [Message(0.1, balances(next(sequence), next(assets), client_id=request.request_id))]
    )


def saying(raw: Callable[[HubRequest], bytes | Completion], after: float = 0.1) -> Behaviour:
    return balances_by(lambda request: [Message(after, raw(request))])


def changing_pairs() -> Callable[[], bytes]:
    names = cycle(["AUSDT", "BUSDT"])
    return lambda: pairs(["OLDUSDT", next(names)])


STRANGE: dict[str, tuple[Callable[[], Behaviour], Callable[[], Callable[[], bytes]] | None]] = {
    "an older snapshot is pushed again and again": (same, lambda: lambda: balances(40)),
    "the same number is pushed with other contents": (
        same,
        lambda: lambda: balances(50, {"BTC": random.randint(1, 10**9)}),
    ),
    "every answer has other content under one number": (contents, lambda: lambda: balances(50)),
    "answers fall": (falling, lambda: counting(100, 1)),
    "answers are empty and full by turns": (emptied, None),
    "pushes are empty, and answers full": (same, lambda: lambda: balances(51, {})),
    "pushes cannot be read": (
        same,
        lambda: lambda: invocation(envelope("account.balances.snapshot", "not JSON")),
    ),
    "pushes cannot be read at all": (same, lambda: lambda: b"\xff"),
    "answers cannot be read": (
        lambda: saying(
            lambda request: invocation(envelope("account.balances.snapshot", "not JSON", request.request_id))
        ),
        None,
    ),
    "answers cannot be read, and name nobody": (
        lambda: saying(lambda request: invocation(envelope("account.balances.snapshot", "not JSON"))),
        None,
    ),
    "answers are cut off": (lambda: saying(lambda request: f'{{"{request.request_id}'.encode()), None),
    "answers are of another kind": (lambda: saying(listed), None),
    "answers have another subject": (
        lambda: saying(lambda request: invocation(envelope("other", {}, request.request_id))),
        None,
    ),
    "answers are errors": (
        lambda: saying(lambda request: invocation(envelope("preChecksError", "no", request.request_id))),
        None,
    ),
    "completions are errors": (lambda: saying(lambda request: Completion("no")), None),
    "completions say that the arguments do not fit": (
        lambda: saying(lambda request: Completion("Failed to invoke 'GetBalances'")),
        None,
    ),
    "completions say nothing": (lambda: saying(lambda request: Completion()), None),
    "completions say true": (
        lambda: saying(
            lambda request: f'{{"type":3,"invocationId":"{request.request_id}","result":true}}'.encode()
        ),
        None,
    ),
    "answers come after the deadline": (
        lambda: saying(lambda request: balances(50, client_id=request.request_id), after=20),
        None,
    ),
    "nothing comes": (lambda: balances_by(lambda request: []), None),
    "the list of pairs differs each time, and is late": (
        lambda: lambda request: [Message(3, pairs(["OLDUSDT"], client_id=request.request_id))],
        changing_pairs,
    ),
}


@pytest.mark.parametrize("name", STRANGE)
def test_a_strange_hub_is_asked_with_pauses_and_for_ever(name: str) -> None:
    behaviour, push = STRANGE[name]
    made = Middle(apply_rules=Rules(Policy(Step.CONTIGUOUS)))
    made.hub.behaviour = same()
    made.up()
    made.run(1)
    made.down()
    made.hub.behaviour = behaviour()
    made.up()
    start = made.clock.seconds
    if push is None:
        made.run(600)
    else:
        pushing(made, 600, 0.5, push())

    for command in Command:
        times = [time - start for time in made.times(command) if time >= start]
        assert _most_within(40, times) <= 20, "far from one a second"
        assert len([time for time in times if time > 300]) <= 300 / 8, "spaced, if it lasts"
        longest = max(b - a for a, b in zip(times, [*times[1:], 600], strict=True))
        assert longest <= made.rules.interval_seconds[command] + 1, "never silence"


def _most_within(seconds: float, times: list[float]) -> int:
    return max(sum(start <= time < start + seconds for time in times) for start in times)


# --- anything at all ---


ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["snapshot", "empty", "broken", "wrong", "error", "refusal", "true", "cut", "nothing"]
        ),
        st.integers(0, 60),
        st.sampled_from([0.1, 0.5, 3.0, 16.0]),
    ),
    min_size=1,
    max_size=12,
)
PUSHES = st.lists(
    st.tuples(st.sampled_from(["snapshot", "empty", "broken", "unreadable", "nothing"]), st.integers(0, 60)),
    min_size=1,
    max_size=12,
)


def _said(what: str, number: int, request: HubRequest) -> bytes | Completion:
    name = request.request_id
    raw: dict[str, bytes | Completion] = {
        "snapshot": balances(number, {"BTC": 1 + number % 7}, client_id=name),
        "empty": balances(number, {}, client_id=name),
        "broken": invocation(envelope("account.balances.snapshot", "not JSON", name)),
        "wrong": pairs(["BTCUSDT"], client_id=name),
        "error": invocation(envelope("preChecksError", "no", name)),
        "refusal": Completion("Failed to invoke 'GetBalances'" if number % 2 else "no"),
        "true": f'{{"type":3,"invocationId":"{name}","result":true}}'.encode(),
        "cut": f'{{"{name}'.encode(),
    }
    return raw[what]


def _pushed(what: str, number: int) -> bytes:
    return {
        "snapshot": balances(number, {"BTC": number % 5 + 1}),
        "empty": balances(number, {}),
        "broken": invocation(envelope("account.balances.snapshot", "not JSON")),
        "unreadable": b"\xff",
        "nothing": b'{"type":6}',
    }[what]


@settings(max_examples=25, deadline=None)
@given(ANSWERS, PUSHES, st.integers(0, 600))
def test_any_mixture_of_answers_and_pushes_is_bounded(
    answers: list[tuple[str, int, float]], pushes: list[tuple[str, int]], written_from: int
) -> None:
    made = Middle(apply_rules=Rules(Policy(Step.CONTIGUOUS)))
    turn: Iterator[tuple[str, int, float]] = cycle(answers)

    def behaviour(request: HubRequest) -> list[Message]:
        if request.command is Command.GET_PAIRS:
            return [Message(0.1, listed(request))]
        what, number, after = next(turn)
        return [] if what == "nothing" else [Message(after, _said(what, number, request))]

    made.hub.behaviour = behaviour
    made.up()
    for n, (what, number) in zip(range(150), cycle(pushes), strict=False):
        made.writing = not written_from <= n < written_from + 30
        made.receive(_pushed(what, number))
        made.run(1)
    made.writing = True
    made.run(60)

    assert _most_within(40, made.times()) <= 25
    opened = {row.epoch for batch in made.batches for row in batch.all(EpochRow) if row.epoch > 1}
    assert len(opened) <= 3, "resets are bounded too"
