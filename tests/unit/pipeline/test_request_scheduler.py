"""The request scheduler: a request is recorded before it is sent, ends once, and is repeated within bounds.

Time is the test's own: nothing here sleeps, and half an hour takes a moment.

Invariant I12.
"""

import random
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import pytest

from ingestor.domain.requests import ArgumentForm, Command, RequestCause, RequestOutcome
from ingestor.pipeline.inbox import InboxLimits
from ingestor.pipeline.request_scheduler import RequestRules, RequestScheduler
from ingestor.pipeline.rows import RequestRow
from tests.support.items import SESSION, balances, envelope, invocation, pairs
from tests.support.requesting import Completion, FakeHub, HubRequest, ManualClock, Message, Middle, RealClock
from tests.support.waiting import eventually

BINDING_FAILURE = "Failed to invoke 'GetBalances' due to an error on the server."
UNREADABLE = "not JSON"


def answer(request: HubRequest, sequence: int = 5) -> bytes:
    """What a hub in good health answers."""
    if request.command is Command.GET_BALANCES:
        return balances(sequence, client_id=request.request_id)
    return pairs(["BTCUSDT"], client_id=request.request_id)


def healthy(request: HubRequest) -> list[Message]:
    return [Message(0.1, answer(request))]


def unreadable(request: HubRequest) -> list[Message]:
    subject = "account.balances.snapshot" if request.command is Command.GET_BALANCES else "execution.pairs"
    return [Message(0.1, invocation(envelope(subject, UNREADABLE, request.request_id)))]


def refusing(request: HubRequest) -> list[Message]:
    return [Message(0.1, Completion("HubException: no permission"))]


def silent(request: HubRequest) -> list[Message]:
    return []


def middle(behaviour: Callable[[HubRequest], list[Message]] = healthy, **options: Any) -> Middle:
    """In its first session."""
    made = Middle(**options)
    made.hub.behaviour = behaviour
    made.up()
    return made


def pauses(times: list[float]) -> list[float]:
    return [round(later - earlier, 3) for earlier, later in pairwise(times)]


def outcomes(made: Middle, command: Command = Command.GET_BALANCES) -> list[str | None]:
    """How the requests of a command have ended, in the order in which they were sent."""
    rows = {row.request_id: row for batch in made.batches for row in batch.all(RequestRow)}
    return [rows[each.request_id].outcome for each in made.sent(command)]


# --- when something is requested ---


def test_a_session_begins_with_both_requests_on_record_before_they_are_sent() -> None:
    made = Middle()
    recorded: list[int] = []

    def record(request: HubRequest) -> list[Message]:
        recorded.append(len(made.facts))
        return []

    made.hub.behaviour = record
    session = made.up()

    assert [each.command for each in made.hub.received] == list(Command)
    assert recorded == [1, 2]
    for command in Command:
        (sent,) = made.sent(command)
        assert (sent.cause, sent.attempt, sent.session) == (RequestCause.LINK_UP, 1, session)
        assert sent.form is ArgumentForm.POSITIONAL
        assert sent.requested_at == made.clock.now()
        assert len(sent.request_id) <= 36
    assert len({each.request_id for each in made.hub.received}) == 2


def test_nothing_is_requested_without_a_link() -> None:
    made = Middle()
    made.scheduler.request(Command.GET_PAIRS, RequestCause.SCHEDULE)
    made.run(600)
    assert made.hub.received == []

    made.up()
    assert [sent.cause for sent in made.sent(Command.GET_PAIRS)] == [RequestCause.LINK_UP]


def test_a_hub_in_good_health_is_asked_by_the_schedule_alone() -> None:
    made = middle()
    made.run(630)

    assert made.times() == [0, *range(60, 630, 60)]
    assert made.times(Command.GET_PAIRS) == [0, 300, 600]
    assert set(outcomes(made)) == {"answered"}
    assert not any(made.ended(each.request_id) for each in made.sent())


def test_reasons_that_meet_before_sending_become_one_request() -> None:
    made = middle()
    made.run(1)
    for cause in (RequestCause.GAP, RequestCause.CONFIRMATION, RequestCause.SCHEDULE) * 20:
        made.scheduler.request(Command.GET_BALANCES, cause)
    made.run(1)

    assert [sent.cause for sent in made.sent()] == [RequestCause.LINK_UP, RequestCause.GAP]


def test_what_comes_first_is_sent_and_what_was_planned_for_later_is_merged_with_it() -> None:
    made = middle(refusing, schedule=False)
    made.run(0.2)
    made.scheduler.request(Command.GET_BALANCES, RequestCause.SCHEDULE)
    made.hub.behaviour = healthy
    made.run(30)

    assert [(sent.cause, sent.attempt) for sent in made.sent()] == [
        (RequestCause.LINK_UP, 1),
        (RequestCause.SCHEDULE, 1),
    ]


SPACED = [RequestCause.GAP, RequestCause.CONFIRMATION, RequestCause.UNDECODABLE, RequestCause.OPERATOR]


@pytest.mark.parametrize("cause", sorted(set(RequestCause) - set(SPACED)))
def test_causes_that_have_a_rhythm_of_their_own_are_not_spaced(cause: RequestCause) -> None:
    made = middle(schedule=False)
    for _ in range(20):
        made.run(1)
        made.scheduler.request(Command.GET_BALANCES, cause)
    made.settle()

    assert made.times() == list(range(21))


def test_a_hub_that_is_silent_for_long_is_asked_for_balances() -> None:
    made = middle(schedule=False)
    made.run(10)
    made.intake.silent(SESSION)
    made.settle()

    assert [sent.cause for sent in made.sent()] == [RequestCause.LINK_UP, RequestCause.SILENCE]


# --- spacing of reasons ---


@pytest.mark.parametrize("cause", SPACED)
def test_a_lasting_reason_is_followed_at_once_and_then_with_pauses_that_double(cause: RequestCause) -> None:
    made = middle(schedule=False)
    made.run(1)
    while made.clock.seconds < 200:
        made.scheduler.request(Command.GET_BALANCES, cause)
        made.run(0.5)

    assert pauses(made.times()[1:]) == [0.5, 0.5, 0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30, 30]


def test_the_schedule_does_not_wait_for_reasons_that_are_spaced() -> None:
    made = middle(schedule=False)
    while len(made.times()) < 10:  # the next pause would be 30 seconds
        made.scheduler.request(Command.GET_BALANCES, RequestCause.GAP)
        made.run(0.5)
    made.run(2)
    made.scheduler.request(Command.GET_BALANCES, RequestCause.SCHEDULE)
    made.settle()

    assert made.times()[-1] == made.clock.seconds


def test_commands_are_spaced_each_by_itself() -> None:
    made = middle(schedule=False)
    for _ in range(10):
        made.scheduler.request(Command.GET_BALANCES, RequestCause.GAP)
        made.run(0.5)
    made.scheduler.request(Command.GET_PAIRS, RequestCause.GAP)
    made.settle()

    assert made.times(Command.GET_PAIRS) == [0, made.clock.seconds]


@pytest.mark.parametrize(("quiet", "sent"), [(59.0, 0), (61.0, 1)])
def test_after_a_quiet_time_a_reason_is_followed_at_once_again(quiet: float, sent: int) -> None:
    made = middle(schedule=False)
    while len(made.times()) < 10:  # the next pause would be 30 seconds
        made.scheduler.request(Command.GET_BALANCES, RequestCause.GAP)
        made.run(0.5)
    last = made.times()[-1]
    made.run(last + quiet - made.clock.seconds)
    before = len(made.times())
    for _ in range(2):  # the first would be sent either way
        made.scheduler.request(Command.GET_BALANCES, RequestCause.GAP)
        made.run(0.25)

    assert len(made.times()) - before == 1 + sent


def test_a_reason_is_spaced_after_the_last_one_and_not_after_the_schedule() -> None:
    made = middle()
    made.run(120)
    made.scheduler.request(Command.GET_BALANCES, RequestCause.GAP)
    made.settle()

    assert made.times()[-1] == 120


# --- answers ---


def test_an_answer_on_its_way_through_the_writer_is_not_taken_for_silence() -> None:
    """A database that is away for an hour: the hub did answer, and the rows will say so."""
    made = middle(schedule=False)
    made.writing = False
    made.run(59)
    made.writing = True
    made.run(1)

    assert made.times() == [0]
    assert outcomes(made) == ["answered"]
    assert made.facts == [*made.sent(), *made.sent(Command.GET_PAIRS)]


@pytest.mark.parametrize("raw", ['{"clientId":"ID"', '{"type":3,"invocationId":"ID","result":{"assets":['])
def test_an_answer_that_cannot_be_read_is_not_taken_for_silence_either(raw: str) -> None:
    made = middle(
        lambda request: [Message(0.1, raw.replace("ID", request.request_id).encode())], schedule=False
    )
    made.writing = False
    made.run(59)

    assert not made.ended(made.sent()[0].request_id)
    made.writing = True
    made.settle()
    assert outcomes(made)[0] == "unreadable"


def test_an_answer_that_is_dropped_is_requested_again() -> None:
    made = middle(schedule=False, limits=InboxLimits(max_records=2, put_timeout_seconds=0.0))
    made.writing = False
    made.run(1)
    for sequence in range(10, 20):
        made.receive(balances(sequence))
    made.writing = True
    made.hub.behaviour = healthy
    made.run(5)

    assert outcomes(made)[0] == "dropped"
    assert outcomes(made)[-1] == "answered"
    assert outcomes(made, Command.GET_PAIRS)[0] == "dropped"


@pytest.mark.parametrize("result", ["true", "null", '"queued"'])
def test_a_completion_that_says_only_that_the_hub_took_the_request_is_no_answer(result: str) -> None:
    def acknowledging(request: HubRequest) -> list[Message]:
        taken = f'{{"type":3,"invocationId":"{request.request_id}","result":{result}}}'.encode()
        return [Message(0.01, taken), Message(0.01, Completion()), Message(3, answer(request))]

    made = middle(acknowledging)
    made.run(301)

    assert made.times() == [0, 60, 120, 180, 240, 300]
    assert outcomes(made)[:-1] == ["answered"] * 5


def test_a_completion_without_the_answer_ends_in_time() -> None:
    def acknowledging(request: HubRequest) -> list[Message]:
        taken = f'{{"type":3,"invocationId":"{request.request_id}","result":true}}'.encode()
        return [Message(0.01, taken), Message(0.01, Completion())]

    made = middle(acknowledging, schedule=False)
    made.run(16)

    assert outcomes(made)[0] == "timed_out"


def test_an_answer_in_a_completion_is_one() -> None:
    def returning(request: HubRequest) -> list[Message]:
        inner = answer(request).decode()
        inner = inner[inner.index("[") :].removesuffix("}")
        raw = f'{{"type":3,"invocationId":"{request.request_id}","result":{inner}}}'.encode()
        return [Message(0.1, raw), Message(0.1, Completion())]

    made = middle(returning)
    made.run(301)

    assert made.times() == [0, 60, 120, 180, 240, 300]
    assert outcomes(made)[:-1] == ["answered"] * 5


def test_records_that_answer_nothing_are_not_looked_at_twice() -> None:
    made = middle(schedule=False)
    made.run(1)

    assert made.scheduler.received([]) == []
    made.receive(balances(9))
    assert made.scheduler.received([]) == []


# --- no answer ---


def test_a_request_without_an_answer_is_tried_again_for_as_long_as_the_link_is_up() -> None:
    made = middle(silent, schedule=False)
    made.run(1_800)
    sent = made.sent()

    assert [each.attempt for each in sent] == list(range(1, len(sent) + 1))
    assert {each.cause for each in sent[1:]} == {RequestCause.RETRY}
    assert len({each.request_id for each in sent}) == len(sent)
    assert set(outcomes(made)[:-1]) == {"timed_out"}
    for pause, expected in zip(pauses(made.times()), [1, 2, 4, 8, 16, *[30] * 100], strict=False):
        assert 15 + expected / 2 <= pause <= 15 + expected
    assert 1_800 / 45 < len(sent) < 1_800 / 30 + 6
    assert max(pauses(made.times())) > 15 + 0.9 * 30, "all of the range is used"
    for each in sent[:-1]:
        (end,) = made.ended(each.request_id)
        assert (end.outcome, end.error, end.command) == (RequestOutcome.TIMED_OUT, None, each.command)


def test_a_deadline_is_one_of_the_rules() -> None:
    made = middle(silent, schedule=False, rules=RequestRules(reply_deadline_seconds=3.0))
    made.run(2.9)
    assert not made.ended(made.sent()[0].request_id)
    made.run(0.2)
    assert made.ended(made.sent()[0].request_id)


def test_a_refused_request_is_tried_again_for_as_long_as_the_link_is_up() -> None:
    made = middle(refusing, schedule=False)
    made.run(1_800)

    assert set(outcomes(made)[:-1]) == {"refused"}
    for pause, expected in zip(pauses(made.times()), [1, 2, 4, 8, 16, *[30] * 200], strict=False):
        assert 0.1 + expected / 2 <= pause <= 0.1 + expected
    assert len(made.times()) > 1_800 / 31


def test_pauses_begin_anew_after_an_answer() -> None:
    made = middle(refusing, schedule=False)
    made.run(100)
    made.hub.behaviour = healthy
    made.run(60)
    made.hub.behaviour = refusing
    made.scheduler.request(Command.GET_BALANCES, RequestCause.SCHEDULE)
    made.run(1.5)

    assert made.sent()[-1].attempt == 2
    assert made.times()[-1] - made.times()[-2] <= 1.1


def test_a_refusal_is_recorded_without_credentials() -> None:
    secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLWhlcmU"
    made = middle(lambda request: [Message(0.1, Completion(f"HubException: denied for {secret}"))])
    made.run(0.2)
    (end,) = made.ended(made.sent()[0].request_id)

    assert end.outcome is RequestOutcome.REFUSED
    assert end.error is not None
    assert "denied" in end.error
    assert "eyJ" not in end.error


def test_a_refusal_by_event_is_tried_again_too() -> None:
    def complaining(request: HubRequest) -> list[Message]:
        return [Message(0.1, invocation(envelope("preChecksError", "no", request.request_id)))]

    made = middle(complaining, schedule=False)
    made.run(1_800)

    assert set(outcomes(made)[:-1]) == {"refused"}
    assert 1_800 / 31 < len(made.times()) < 1_800 / 15


def test_a_completion_of_what_is_not_open_is_none_of_ours() -> None:
    made = middle(schedule=False)
    made.run(1)
    made.intake.completed(SESSION, "foreign", "no")
    made.intake.completed(SESSION, made.sent()[0].request_id, "no")

    assert made.facts == [*made.sent(), *made.sent(Command.GET_PAIRS)]


# --- answers that cannot be read ---


def test_an_answer_that_cannot_be_read_is_tried_five_times_and_then_left_to_the_schedule() -> None:
    made = middle(unreadable)
    made.run(630)
    times = made.times()

    assert [time for time in times if time < 59][-1] < 20
    assert len([time for time in times if time < 59]) == 5
    assert [time for time in times if time > 59] == list(range(60, 630, 60))
    assert set(outcomes(made)[:-1]) == {"unreadable"}


def test_after_an_answer_that_can_be_read_it_is_tried_again_as_often() -> None:
    made = middle(unreadable)
    made.run(59)
    made.hub.behaviour = healthy
    made.run(60)
    made.hub.behaviour = unreadable
    made.run(30)

    assert len([time for time in made.times() if time >= 119]) == 5


def test_an_answer_of_the_wrong_kind_is_no_answer_to_be_tried_for_ever() -> None:
    made = middle(lambda request: [Message(0.1, pairs(["BTCUSDT"], client_id=request.request_id))])
    made.run(59)

    assert len(made.times()) == 5
    assert set(outcomes(made)) == {"unreadable"}
    assert outcomes(made, Command.GET_PAIRS) == ["answered"]


# --- the form of the arguments ---


def failing_to_bind(*forms: ArgumentForm) -> Callable[[HubRequest], list[Message]]:
    def behaviour(request: HubRequest) -> list[Message]:
        return [Message(0.1, Completion(BINDING_FAILURE))] if request.form in forms else healthy(request)

    return behaviour


def test_a_binding_failure_tries_the_nested_form_at_once_and_remembers_it() -> None:
    made = middle(failing_to_bind(ArgumentForm.POSITIONAL))
    made.run(121)

    assert [(each.at, each.form) for each in made.hub.received if each.command is Command.GET_BALANCES] == [
        (0, ArgumentForm.POSITIONAL),
        (0.1, ArgumentForm.NESTED),
        (60, ArgumentForm.NESTED),
        (120, ArgumentForm.NESTED),
    ]
    assert [sent.form for sent in made.sent()][:2] == [ArgumentForm.POSITIONAL, ArgumentForm.NESTED]


@pytest.mark.parametrize(
    "text",
    [
        "An unexpected error occurred invoking 'GetBalances' on the server.",
        f"{BINDING_FAILURE} HubException: no",
    ],
)
def test_an_error_of_the_method_itself_is_no_matter_of_form(text: str) -> None:
    made = middle(lambda request: [Message(0.1, Completion(text))])
    made.run(60)

    assert {sent.form for sent in made.sent()} == {ArgumentForm.POSITIONAL}


def test_any_other_refusal_keeps_the_form() -> None:
    made = middle(refusing)
    made.run(60)

    assert {sent.form for sent in made.sent()} == {ArgumentForm.POSITIONAL}


def test_a_hub_that_takes_neither_form_is_tried_with_both_and_with_pauses() -> None:
    made = middle(failing_to_bind(*ArgumentForm), schedule=False)
    made.run(600)
    forms = [sent.form for sent in made.sent()]

    assert forms[:4] == [ArgumentForm.POSITIONAL, ArgumentForm.NESTED] * 2
    assert len(made.times()) < 2 * 600 / 15


def test_a_form_that_worked_is_kept_when_it_fails_later() -> None:
    made = middle(failing_to_bind(ArgumentForm.POSITIONAL), schedule=False)
    made.run(1)
    made.hub.behaviour = failing_to_bind(*ArgumentForm)
    made.scheduler.request(Command.GET_BALANCES, RequestCause.SCHEDULE)
    made.run(10)

    assert {sent.form for sent in made.sent()[1:]} == {ArgumentForm.NESTED}


# --- the link ---


def test_a_lost_link_ends_what_was_open_and_the_next_session_requests_again() -> None:
    made = middle(silent)
    first = made.sent()[0]
    made.run(1)
    made.down()
    made.run(3)
    session = made.up()

    assert [end.outcome for end in made.ended(first.request_id)] == [RequestOutcome.LINK_LOST]
    assert (made.sent()[1].session, made.sent()[1].attempt) == (session, 1)
    assert outcomes(made)[0] == "link_lost"


def test_a_lost_link_does_not_end_what_was_answered_in_time() -> None:
    made = middle()
    made.writing = False
    made.run(1)
    made.down()
    made.writing = True
    made.settle()

    assert outcomes(made) == ["answered"]
    assert not made.ended(made.sent()[0].request_id)


def test_while_the_link_is_down_nothing_is_even_recorded() -> None:
    made = middle(refusing)
    made.run(0.5)
    made.down()
    before = list(made.facts)
    made.run(700)

    assert made.facts == before


def test_nothing_of_a_lost_session_is_planned_in_the_next() -> None:
    made = middle(refusing)
    made.run(0.2)
    made.down()
    made.hub.behaviour = healthy
    made.up()
    made.run(50)

    assert len(made.times()) == 2


def test_the_end_of_an_older_session_ends_nothing_of_this_one() -> None:
    made = middle(silent)
    made.scheduler.link_down(SESSION)
    made.run(59)

    assert made.ended(made.sent()[0].request_id)[0].outcome is RequestOutcome.TIMED_OUT
    assert len(made.times()) > 1


def test_a_request_that_could_not_be_sent_is_unsent() -> None:
    made = middle()
    made.run(10)
    made.hub.session = None
    made.scheduler.request(Command.GET_PAIRS, RequestCause.SCHEDULE)
    made.settle()
    last = made.sent(Command.GET_PAIRS)[-1]

    assert [end.outcome for end in made.ended(last.request_id)] == [RequestOutcome.UNSENT]


def test_a_failure_that_is_committed_after_the_link_was_lost_is_not_retried_in_the_next_session() -> None:
    made = middle(unreadable, schedule=False)
    made.writing = False
    made.run(1)
    made.down()
    made.hub.behaviour = healthy
    made.up()
    made.writing = True
    made.run(30)

    assert outcomes(made) == ["unreadable", "answered"]


# --- the guard over the schedule ---


def test_an_old_answer_is_renewed_although_nobody_schedules() -> None:
    made = middle(schedule=False)
    made.run(1_000)

    assert [sent.cause for sent in made.sent()[1:]] == [RequestCause.OVERDUE] * len(made.sent()[1:])
    assert {sent.attempt for sent in made.sent()} == {1}
    assert made.times() == pytest.approx([0, *(121 * n for n in range(1, 9))], abs=8)
    assert made.times(Command.GET_PAIRS) == pytest.approx([0, 601], abs=2)


def test_other_rules_count_from_when_they_are_given() -> None:
    made = middle(schedule=False)
    made.run(100)
    assert made.times() == pytest.approx([0])
    made.scheduler.use(RequestRules(interval_seconds=dict.fromkeys(Command, 20.0)))
    made.run(100)

    assert made.times() == pytest.approx([0, 100, 141, 182], abs=8)


def test_the_guard_leaves_alone_what_the_schedule_does() -> None:
    made = middle()
    made.run(1_000)

    assert RequestCause.OVERDUE not in {sent.cause for sent in made.sent()}


def test_the_guard_waits_for_what_is_planned_or_open() -> None:
    made = middle(silent, schedule=False)
    made.run(1_000)

    assert {sent.cause for sent in made.sent()[1:]} == {RequestCause.RETRY}


def test_the_guard_comes_back_for_what_is_given_up() -> None:
    made = middle(unreadable, schedule=False)
    made.run(500)

    assert [sent.cause for sent in made.sent()].count(RequestCause.OVERDUE) >= 3


# --- the thread ---


@pytest.fixture
def threaded() -> Iterator[tuple[RequestScheduler, FakeHub]]:
    hub = FakeHub(ManualClock())
    hub.session = SESSION
    made = RequestScheduler(hub, lambda fact: None, RealClock(), RequestRules(), random.Random(1))
    assert not made.alive()
    made.start()
    yield made, hub
    made.stop(5)
    assert not made.alive()


def test_the_thread_sends_as_soon_as_something_is_due(threaded: tuple[RequestScheduler, FakeHub]) -> None:
    scheduler, hub = threaded
    scheduler.link_up(SESSION)
    eventually(lambda: len(hub.received) == 2, within=0.9)
    scheduler.request(Command.GET_BALANCES, RequestCause.GAP)
    eventually(lambda: len(hub.received) == 3, within=0.9)


def test_the_thread_turns_although_nothing_is_due(threaded: tuple[RequestScheduler, FakeHub]) -> None:
    scheduler, _ = threaded
    before = scheduler.turned_at
    eventually(lambda: scheduler.turned_at > before)


def test_a_scheduler_that_was_never_started_can_be_stopped() -> None:
    made = RequestScheduler(
        FakeHub(ManualClock()), lambda fact: None, ManualClock(), RequestRules(), random.Random(1)
    )
    made.stop(0.1)

    assert not made.alive()


def test_the_hub_may_block_without_holding_anything_up() -> None:
    """Deadlines and reasons do not wait for a socket that takes no bytes."""
    hub, release = FakeHub(ManualClock()), threading.Event()
    hub.session = SESSION

    def block(request: HubRequest) -> list[Message]:
        release.wait(5)
        return []

    hub.behaviour = block
    made = RequestScheduler(hub, lambda fact: None, RealClock(), RequestRules(), random.Random(1))
    made.start()
    made.link_up(SESSION)
    eventually(lambda: hub.received)
    made.request(Command.GET_PAIRS, RequestCause.GAP)
    assert made.received([]) == []
    release.set()
    eventually(lambda: len(hub.received) == 2)
    made.stop(5)
