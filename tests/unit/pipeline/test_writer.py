"""The writer on a store that fails on demand: what is committed, in which order, and what follows.

Its turns are taken by the test, one by one; time passes only in its pauses. The committer's thread is real.

Invariants I1, I3.
"""

import random
import threading
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from ingestor.domain.decode import Decoder
from ingestor.domain.errors import Fatal, TooSlow, Transient, WatermarkConflict
from ingestor.domain.limits import DEFAULT_LIMITS
from ingestor.domain.records import Item
from ingestor.domain.requests import Command, RequestCause, RequestOutcome
from ingestor.domain.streams import Kind, StreamKey
from ingestor.pipeline.apply import Rules
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.inbox import Inbox, InboxLimits
from ingestor.pipeline.ports import Heartbeat
from ingestor.pipeline.request_scheduler import RequestRules, RequestScheduler
from ingestor.pipeline.rows import (
    BalanceRow,
    DeadLetterRow,
    GapRow,
    OutcomeRow,
    RawEventRow,
    RequestRow,
    SessionRow,
    WatermarkRow,
)
from ingestor.pipeline.state import State
from ingestor.pipeline.writer import Writer, WriterRules
from tests.support.fake_store import FakeStore
from tests.support.feed import USER, Feed
from tests.support.items import SESSION, at, balances, envelope, invocation
from tests.support.requesting import FakeHub, ManualClock
from tests.support.waiting import eventually
from tests.support.writing import Writing, heartbeat

OTHER = UUID("00000000-0000-7000-8000-000000000002")
BALANCES = StreamKey(Kind.BALANCES, USER)
AWAY = "the database cannot be reached"


@pytest.fixture
def writing() -> Iterator[Writing]:
    """In its first session, with record 1 written."""
    made = Writing()
    made.turn(made.feed.opened(), *made.receive(1))
    made.store.tried.clear()
    yield made
    made.writer._committer.end()


def logged(logs: list[Any], name: str) -> list[dict[str, Any]]:
    return [dict(each) for each in logs if each["event"] == name]


# --- a database in good health ---


def test_what_is_received_is_stored_in_its_order(writing: Writing) -> None:
    with capture_logs() as logs:
        writing.turn(*writing.receive(2, 3, 5))

    assert writing.store.tried == [(2, 4, "committed")]
    assert writing.outcomes() == ["applied"] * 4
    assert [each["event"] for each in logs] == ["batch_committed"]
    assert [row.sequence for row in writing.store.rows(WatermarkRow)] == [5]
    writing.accounted()


def test_a_flood_is_cut_into_batches_in_its_order_and_each_is_applied_once(writing: Writing) -> None:
    writing.turn(*writing.receive(*range(2, 40)))

    assert writing.store.tried == [
        (2, 11, "committed"),
        (12, 21, "committed"),
        (22, 31, "committed"),
        (32, 39, "committed"),
    ]
    assert writing.outcomes() == ["applied"] * 39
    assert writing.writer.progress.batches == 5
    assert writing.writer.progress.committed_records == 39
    assert writing.writer.progress.outcomes == {"applied": 39}
    writing.accounted()


def test_a_batch_is_cut_by_bytes_too() -> None:
    made = Writing(WriterRules(max_bytes=500, turn_seconds=0.0))
    made.turn(made.feed.opened(), *made.receive(*range(1, 9)))

    assert len(made.store.tried) > 2
    assert made.ordinals() == [*range(1, 9)]


def test_the_next_batch_is_applied_while_the_database_works_on_the_one_before(writing: Writing) -> None:
    seen: list[tuple[int, str]] = []
    taken = threading.Event()

    def before_write(batch: Batch) -> None:
        ordinals = [row.ordinal for row in batch.all(RawEventRow)]
        if ordinals[0] == 2:
            taken.wait(5)  # the writer takes the next records meanwhile
        seen.append((ordinals[0], threading.current_thread().name))

    writing.store.before_write = before_write
    fold = writing.writer._commits.apply
    applied: list[int] = []

    def apply(state: State, items: Any) -> Any:
        applied.append(len(items))
        if len(applied) == 2:
            taken.set()
        return fold(state, items)

    writing.writer._commits.apply = apply  # type: ignore[method-assign]
    writing.turn(*writing.receive(*range(2, 16)))

    assert seen == [(2, "committer"), (12, threading.current_thread().name)]
    assert applied == [10, 4]
    writing.accounted()


def test_requests_hear_of_a_commit_and_not_before_it(writing: Writing) -> None:
    notified: list[tuple[str, int]] = []

    def answered(request_id: str) -> None:
        notified.append((request_id, writing.store.commits))

    def failed(request_id: str, outcome: RequestOutcome) -> None:
        notified.append((outcome.value, writing.store.commits))

    def request(command: Command, cause: RequestCause) -> None:
        notified.append((cause.value, writing.store.commits))

    writing.scheduler.answered = answered  # type: ignore[method-assign]
    writing.scheduler.failed = failed  # type: ignore[method-assign]
    writing.scheduler.request = request  # type: ignore[method-assign]
    writing.store.away = AWAY
    writing.abandon.at_pause = lambda number: setattr(writing.store, "away", AWAY if number < 3 else None)
    before = writing.store.commits
    with capture_logs() as logs:
        writing.turn(
            writing.feed.requested("one"),
            writing.feed.received(balances(2, client_id="one")),
            writing.feed.requested("two"),
            writing.feed.received(invocation(envelope("account.balances.snapshot", "?", "two"))),
            writing.feed.received(b"\xff"),
        )

    after = before + 1
    assert notified == [("one", after), ("unreadable", after), ("undecodable", after), ("undecodable", after)]
    names = [each["event"] for each in logs]
    assert names.index("commit_delayed") < names.index("commit_resumed") < names.index("event_quarantined")
    levels = {each["event"]: each["log_level"] for each in logs}
    assert (levels["event_quarantined"], levels["batch_committed"]) == ("warning", "debug")


# --- a database that is away ---


def test_the_same_batch_is_tried_for_as_long_as_it_takes_with_pauses_that_double(writing: Writing) -> None:
    writing.store.away = AWAY
    writing.abandon.at_pause = lambda number: setattr(writing.store, "away", None if number == 9 else AWAY)
    writing.turn(*writing.receive(2, 3))

    assert writing.abandon.pauses == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert writing.store.tried == [(2, 3, "Transient")] * 9 + [(2, 3, "committed")]
    writing.accounted()


def test_the_pauses_begin_anew_with_the_next_batch(writing: Writing) -> None:
    writing.store.away = AWAY
    writing.abandon.at_pause = lambda number: setattr(writing.store, "away", None)
    writing.turn(*writing.receive(2))
    writing.store.away = AWAY
    writing.turn(*writing.receive(3))

    assert writing.abandon.pauses == [0.1, 0.1]


def test_the_longest_pause_is_one_of_the_rules() -> None:
    made = Writing(WriterRules(retry_cap_seconds=0.3, turn_seconds=0.0))
    made.store.away = AWAY
    made.abandon.at_pause = lambda number: setattr(made.store, "away", None if number == 4 else AWAY)
    made.turn(made.feed.opened())

    assert made.abandon.pauses == [0.1, 0.2, 0.3, 0.3]


def test_a_delay_is_logged_at_once_when_the_reason_changes_and_once_a_minute(writing: Writing) -> None:
    def at_pause(number: int) -> None:
        if number == 3:
            writing.store.away = "no more connections"
        if number == 130:
            writing.store.away = None

    writing.store.away = AWAY
    writing.abandon.at_pause = at_pause
    with capture_logs() as logs:
        writing.put(*writing.receive(2))
        writing.put(writing.feed.dropped(3))
        writing.turn()
    delays = logged(logs, "commit_delayed")

    assert [each["error"] for each in delays] == [
        AWAY,
        "no more connections",
        "no more connections",
        "no more connections",
    ]
    assert (delays[0]["waiting_records"], delays[0]["dropped_records"]) == (0, 0)
    assert len(logged(logs, "commit_resumed")) == 1
    total = sum(writing.abandon.pauses)
    assert 120 < total < 180, "two whole minutes after the reason changed"


def test_what_the_delay_costs_is_logged_with_it() -> None:
    made = Writing()
    made.turn(made.feed.opened())
    made.inbox._limits = InboxLimits(max_records=2, put_timeout_seconds=0.0)
    made.store.away = AWAY

    def at_pause(number: int) -> None:
        if number == 1:
            made.inbox.put_records([made.feed.received(balances(n)) for n in range(10, 15)])
            made.store.away = "elsewhere"
        else:
            made.store.away = None

    made.abandon.at_pause = at_pause
    with capture_logs() as logs:
        made.turn(*made.receive(2))

    assert [
        (each["waiting_records"], each["dropped_records"]) for each in logged(logs, "commit_delayed")
    ] == [(0, 0), (2, 3)]
    made.accounted()
    assert made.session().dropped_records == 3


def test_a_delay_warns_once_when_half_the_inbox_is_full() -> None:
    made = Writing()
    made.turn(made.feed.opened())
    made.inbox._limits = InboxLimits(max_records=10)
    made.store.away = AWAY
    waiting = []

    def at_pause(number: int) -> None:
        waiting.append(made.inbox.level.records)
        made.inbox.put_records([made.feed.received(balances(10 + number))])
        if number == 8:
            made.store.away = None

    made.abandon.at_pause = at_pause
    with capture_logs() as logs:
        made.turn(*made.receive(2))

    (warned,) = logged(logs, "inbox_half_full")
    assert (warned["log_level"], warned["waiting_records"]) == ("warning", 5)
    assert max(waiting) == 7
    assert logged(logs, "dropping_started") == []


def test_progress_says_why_a_commit_waits_and_that_the_writer_is_alive(writing: Writing) -> None:
    seen: list[tuple[str | None, float]] = []

    def at_pause(number: int) -> None:
        seen.append((writing.writer.progress.retrying, writing.writer.progress.turned_at))
        writing.store.away = None if number == 3 else AWAY

    writing.store.away = AWAY
    writing.abandon.at_pause = at_pause
    writing.turn(*writing.receive(2))

    assert [why for why, _ in seen] == [AWAY] * 3
    assert [now for _, now in seen] == pytest.approx([0.0, 0.1, 0.3])
    assert writing.writer.progress.retrying is None
    assert writing.writer.progress.committed_at == writing.clock.now()


def test_giving_up_leaves_the_rest_unwritten(writing: Writing) -> None:
    writing.store.away = AWAY
    writing.abandon.at_pause = lambda number: writing.writer.abandon() if number == 2 else None
    with pytest.raises(Fatal, match="ended while the database was away: the database cannot be reached"):
        writing.turn(*writing.receive(2))

    assert writing.ordinals() == [1]


# --- a commit without an answer ---


@pytest.mark.parametrize("committed", [True, False])
def test_a_commit_without_an_answer_is_looked_for_before_it_is_repeated(
    writing: Writing, committed: bool
) -> None:
    writing.store.unknown = [committed]
    writing.turn(*writing.receive(2, 3))

    again = [] if committed else [(2, 3, "committed")]
    assert writing.store.tried == [(2, 3, "OutcomeUnknown"), *again]
    assert writing.outcomes() == ["applied"] * 3
    assert writing.writer.progress.committed_records == 3
    writing.accounted()


def test_it_is_looked_for_as_long_as_the_database_is_away(writing: Writing) -> None:
    def before_write(batch: Batch) -> None:
        writing.store.before_write = lambda batch: None
        writing.store.unknown = [True]

    def at_pause(number: int) -> None:
        writing.store.away = AWAY if number < 4 else None

    writing.store.before_write = before_write
    writing.abandon.at_pause = at_pause
    writing.turn(*writing.receive(2))

    assert writing.store.tried == [(2, 2, "OutcomeUnknown")]
    assert len(writing.abandon.pauses) == 4
    writing.accounted()


def test_a_database_that_is_too_slow_to_tell_is_asked_again_and_the_batch_is_not_halved(
    writing: Writing,
) -> None:
    """Halves of what is stored already would be stored twice."""
    writing.store.unknown = [True]
    writing.abandon.at_pause = lambda number: setattr(writing.store, "away", "slow" if number == 1 else None)
    writing.turn(*writing.receive(2, 3))

    assert writing.store.tried == [(2, 3, "OutcomeUnknown")]
    assert len(writing.abandon.pauses) == 2
    writing.accounted()


def test_a_commit_that_lands_after_it_was_looked_for_is_not_repeated(writing: Writing) -> None:
    """The connection is cut, the server goes on: for a moment it holds nothing, then all."""
    writing.store.unknown = [True]
    writing.store.in_flight = True
    writing.turn(*writing.receive(2, 3))

    assert writing.store.tried == [(2, 3, "OutcomeUnknown"), (2, 3, "WatermarkConflict")]
    assert writing.outcomes() == ["applied"] * 3
    writing.accounted()
    writing.turn(*writing.receive(4))
    writing.accounted()


def test_what_was_applied_ahead_of_it_builds_on_what_was_committed(writing: Writing) -> None:
    writing.store.unknown = [True]
    writing.turn(*writing.receive(*range(2, 16)))

    assert writing.store.tried == [(2, 11, "OutcomeUnknown"), (12, 15, "committed")]
    assert writing.outcomes() == ["applied"] * 15
    writing.accounted()


# --- a value that the database rejects ---


def is_bad(*sequences: int) -> Callable[[Any], bool]:
    return lambda row: isinstance(row, OutcomeRow | BalanceRow) and row.sequence in sequences


@pytest.mark.parametrize("bad", [2, 5, 9])
def test_a_record_with_a_value_that_is_rejected_is_quarantined_and_its_neighbours_are_stored(
    writing: Writing, bad: int
) -> None:
    writing.store.rejects = is_bad(bad)
    with capture_logs() as logs:
        writing.turn(*writing.receive(*range(2, 10)))

    assert writing.outcomes() == ["quarantined" if n == bad else "applied" for n in range(1, 10)]
    (letter,) = writing.store.rows(DeadLetterRow)
    assert (letter.ordinal, letter.stage, letter.reason) == (bad, "store", "rejected_by_database")
    assert [each["ordinal"] for each in logged(logs, "record_rejected")] == [bad]
    assert writing.ordinals() == [*range(1, 10)]
    writing.accounted()


def test_the_search_for_it_halves_the_batch(writing: Writing) -> None:
    writing.store.rejects = is_bad(4)
    writing.turn(*writing.receive(*range(2, 10)))

    assert writing.store.tried == [
        (2, 9, "RowRejected"),
        (2, 5, "RowRejected"),
        (2, 3, "committed"),
        (4, 5, "RowRejected"),
        (4, 4, "RowRejected"),
        (4, 4, "committed"),
        (5, 5, "committed"),
        (6, 9, "committed"),
    ]


def test_several_records_may_be_rejected_in_one_batch(writing: Writing) -> None:
    writing.store.rejects = is_bad(2, 3, 8)
    writing.turn(*writing.receive(*range(2, 10)))

    assert [row.occurrences for row in writing.store.rows(DeadLetterRow)] == [3]
    assert [n for n, end in enumerate(writing.outcomes(), 1) if end == "quarantined"] == [2, 3, 8]
    writing.accounted()


def test_only_the_snapshots_of_a_rejected_record_are_quarantined(writing: Writing) -> None:
    data = {"userId": USER, "sequence": 2, "assets": [{"name": "BTC", "available": 1, "allocated": 0}]}
    raw = invocation(
        envelope("other", {}),
        envelope("account.balances.snapshot", data),
        {},
        envelope("execution.pairs", []),
    )
    writing.store.rejects = is_bad(2)
    writing.turn(writing.feed.received(raw))

    rows = sorted(writing.store.rows(OutcomeRow), key=lambda row: (row.ordinal, row.position))[1:]
    assert [(row.outcome.value, row.reason) for row in rows] == [
        ("ignored", "unhandled_subject"),
        ("quarantined", "rejected_by_database"),
        ("quarantined", "missing_field"),
        ("quarantined", "rejected_by_database"),
    ]


def test_what_was_applied_ahead_of_a_rejected_record_is_applied_again(writing: Writing) -> None:
    writing.store.rejects = is_bad(11)
    writing.turn(*writing.receive(*range(2, 16)))

    assert writing.store.tried[-1] == (12, 15, "committed")
    assert "WatermarkConflict" not in {end for *_, end in writing.store.tried}
    assert [row.ordinal for row in writing.store.rows(DeadLetterRow)] == [11]
    (version,) = [row for row in writing.store.rows(OutcomeRow) if row.sequence == 12]
    assert version.passed_over == 1, "relative to what was stored, which 11 was not"
    writing.accounted()


def test_a_rejected_record_that_is_applied_ahead_costs_itself_alone(writing: Writing) -> None:
    writing.store.rejects = is_bad(14)
    writing.turn(*writing.receive(*range(2, 16)))

    assert [row.ordinal for row in writing.store.rows(DeadLetterRow)] == [14]
    writing.accounted()


@pytest.mark.parametrize("kind", [RequestRow, SessionRow, GapRow])
def test_a_value_of_our_own_that_is_rejected_ends_the_process(kind: type[Any]) -> None:
    made = Writing()
    made.store.rejects = lambda row: isinstance(row, kind)
    with pytest.raises(
        Fatal, match="the database rejects a row that does not come from the hub: a check fails"
    ):
        made.turn(made.feed.opened(), made.feed.requested("mine"))


def test_a_record_that_is_rejected_even_in_quarantine_ends_the_process(writing: Writing) -> None:
    writing.store.rejects = lambda row: isinstance(row, OutcomeRow)
    with pytest.raises(Fatal, match="a row that does not come from the hub"):
        writing.turn(*writing.receive(2))


def test_a_fact_is_not_to_blame_for_a_rejected_record_beside_it(writing: Writing) -> None:
    writing.store.rejects = is_bad(2)
    writing.turn(writing.feed.requested("mine"), *writing.receive(2), writing.feed.closed())

    assert [row.ordinal for row in writing.store.rows(DeadLetterRow)] == [2]
    assert [row.request_id for row in writing.store.rows(RequestRow)] == ["mine"]
    assert writing.session().received == 2


# --- a batch that takes too long ---


def test_a_batch_that_takes_too_long_is_halved_until_it_fits(writing: Writing) -> None:
    writing.store.too_slow_from = 15
    with capture_logs() as logs:
        writing.turn(*writing.receive(*range(2, 10)))

    assert logged(logs, "batch_halved")[0]["items"] == 8
    assert not logged(logs, "commit_delayed")
    assert writing.abandon.pauses == []
    assert writing.outcomes() == ["applied"] * 9
    assert [end for *_, end in writing.store.tried if end == "committed"]
    writing.accounted()


def test_two_records_that_take_too_long_together_are_stored_one_by_one(writing: Writing) -> None:
    writing.store.too_slow_from = 7
    writing.turn(*writing.receive(2, 3))

    assert writing.store.tried == [(2, 3, "TooSlow"), (2, 2, "committed"), (3, 3, "committed")]
    assert writing.abandon.pauses == []


def test_a_single_record_that_takes_too_long_is_waited_for(writing: Writing) -> None:
    writing.store.too_slow_from = 1
    writing.abandon.at_pause = lambda number: setattr(writing.store, "too_slow_from", 1_000)
    writing.turn(*writing.receive(2))

    assert writing.store.tried == [(2, 2, "TooSlow"), (2, 2, "committed")]
    assert len(writing.abandon.pauses) == 1
    writing.accounted()


def test_what_was_applied_ahead_of_halves_is_applied_again(writing: Writing) -> None:
    writing.store.too_slow_from = 30
    writing.turn(*writing.receive(*range(2, 16)))

    assert "WatermarkConflict" not in {end for *_, end in writing.store.tried}
    assert writing.outcomes() == ["applied"] * 15
    writing.accounted()


# --- a database with other positions ---


def test_a_stream_that_another_writer_has_moved_is_gone_on_from_there(writing: Writing) -> None:
    writing.store.move(BALANCES, 20)
    with capture_logs() as logs:
        writing.turn(*writing.receive(10, 30))

    assert writing.store.tried == [(2, 3, "WatermarkConflict"), (2, 3, "committed")]
    assert writing.outcomes() == ["applied", "stale", "applied"]
    assert len(logged(logs, "watermark_conflict")) == 1
    writing.accounted()


def test_what_was_applied_ahead_of_a_moved_stream_is_applied_again(writing: Writing) -> None:
    writing.store.before_write = lambda batch: (
        writing.store.move(BALANCES, 12) if not writing.store.tried else None
    )
    writing.turn(*writing.receive(*range(2, 20)))

    assert writing.store.tried[0] == (2, 11, "WatermarkConflict")
    assert writing.outcomes() == ["applied", *["stale"] * 10, "conflict", *["applied"] * 7]
    writing.accounted()


def test_no_answer_from_before_the_move_is_taken_for_a_fresh_one(writing: Writing) -> None:
    """It was requested before we knew the position of the stream."""
    writing.turn(writing.feed.requested("before"))
    writing.store.move(BALANCES, 20)
    writing.turn(*writing.receive(30))
    writing.turn(writing.feed.received(balances(29, client_id="before")))

    assert writing.writer.state.streams[BALANCES].state.pending == ()
    assert writing.outcomes() == ["applied", "applied", "stale"]


def test_requests_survive_a_move(writing: Writing) -> None:
    writing.turn(writing.feed.requested("mine"))
    writing.store.move(BALANCES, 20)
    writing.turn(*writing.receive(30))
    writing.turn(writing.feed.received(balances(31, client_id="mine")))

    assert [row.outcome for row in writing.store.rows(RequestRow)] == ["answered"]


def test_a_database_that_is_never_ours_to_go_on_from_ends_the_process(writing: Writing) -> None:
    def conflict(batch: Batch) -> None:
        raise WatermarkConflict("the stored version of a stream is not the expected one")

    writing.store.before_write = conflict
    with (
        capture_logs() as logs,
        pytest.raises(Fatal, match="conflicts with ours again and again: the stored version of"),
    ):
        writing.turn(*writing.receive(2))

    assert len(logged(logs, "watermark_conflict")) == 5


def test_the_state_is_loaded_for_as_long_as_it_takes(writing: Writing) -> None:
    writing.store.move(BALANCES, 20)

    opens = writing.store.open
    failures = iter([Transient(AWAY), Transient(AWAY)])

    def open_() -> State:
        for error in failures:
            raise error
        return opens()

    writing.store.open = open_  # type: ignore[method-assign]
    writing.turn(*writing.receive(30))

    assert writing.abandon.pauses == [0.1, 0.2]
    writing.accounted()


# --- a database that has lost commits ---


def test_commits_that_were_lost_are_a_gap_and_are_counted(writing: Writing) -> None:
    writing.turn(*writing.receive(2, 3, 4))
    writing.turn(*writing.receive(5, 6))
    writing.store.lose_commits(2)
    writing.turn(*writing.receive(7))

    (gap,) = [row for row in writing.store.rows(GapRow) if row.kind == "commits_lost"]
    assert (gap.first_missing, gap.last_missing, gap.ordinal) == (2, 6, 2)
    assert writing.ordinals() == [1, 7]
    assert (writing.session().committed_records, writing.session().dropped_records) == (2, 5)
    writing.accounted()


def test_a_whole_session_that_was_lost_is_put_on_record_again(writing: Writing) -> None:
    writing.turn(*writing.receive(2, 3))
    writing.store.lose_commits(writing.store.commits)
    assert writing.store.rows(SessionRow) == []
    writing.turn(*writing.receive(4))

    assert writing.ordinals() == [4]
    assert writing.session().dropped_records == 3
    gaps = {row.kind: row for row in writing.store.rows(GapRow)}
    assert (gaps["commits_lost"].first_missing, gaps["commits_lost"].last_missing) == (1, 3)
    assert gaps["disconnected"].cause == "before_first_session"
    writing.accounted()


def test_a_session_that_ended_and_whose_end_was_lost_has_its_end_again(writing: Writing) -> None:
    """As it was, and with a gap for the records that are gone."""
    writing.turn(*writing.receive(2, 3), writing.feed.closed())
    writing.turn(writing.feed.opened(OTHER), *writing.receive(4))
    writing.store.lose_commits(2)
    writing.turn(*writing.receive(5))

    first, second = sorted(writing.store.rows(SessionRow), key=lambda row: row.opened_at)
    assert (first.ending, first.cause, first.received) == ("link_lost", "reset", 3)
    assert (first.committed_ordinal, first.committed_records, first.dropped_records) == (3, 1, 2)
    assert (second.session_id, second.committed_records, second.dropped_records) == (OTHER, 1, 1)
    gaps = {(row.kind, row.session_id): row for row in writing.store.rows(GapRow)}
    lost = gaps["commits_lost", SESSION]
    assert (lost.first_missing, lost.last_missing) == (2, 3)
    assert gaps["disconnected", SESSION].missed_until == second.opened_at
    assert gaps["commits_lost", OTHER].last_missing == 1


def test_fresh_snapshots_are_requested_after_commits_were_lost(writing: Writing) -> None:
    requested: list[tuple[Command, RequestCause]] = []
    writing.turn(*writing.receive(2))
    writing.scheduler.request = lambda command, cause: requested.append((command, cause))  # type: ignore[method-assign]
    writing.store.lose_commits(1)
    writing.turn(*writing.receive(3))

    assert requested == [(command, RequestCause.GAP) for command in Command]


def test_answers_from_before_the_loss_confirm_nothing(writing: Writing) -> None:
    writing.turn(writing.feed.requested("before"), *writing.receive(2))
    writing.store.lose_commits(1)
    writing.turn(*writing.receive(3))
    writing.turn(writing.feed.received(balances(3, client_id="before")))

    (gap,) = [row for row in writing.store.rows(GapRow) if row.kind == "commits_lost"]
    assert gap.balances_confirmed_at is None


# --- heartbeats ---


def test_the_heart_beats_at_its_interval_and_not_more_often() -> None:
    made = Writing(WriterRules(turn_seconds=0.0, heartbeat_seconds=5.0))
    beats = []
    for _ in range(12):
        made.writer._turn()
        made.clock.seconds += 1.0
        beats.append(len(made.store.heartbeats))

    assert beats == [1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 3, 3]


def test_an_idle_writer_wakes_for_the_heartbeat_and_for_nothing_before() -> None:
    made = Writing(WriterRules(turn_seconds=60.0, heartbeat_seconds=5.0))
    waits: list[float] = []

    def take(max_items: int, max_bytes: int, timeout: float) -> list[Item]:
        waits.append(timeout)
        return []

    made.inbox.take = take  # type: ignore[method-assign]
    for _ in range(3):
        made.writer._turn()
        made.clock.seconds += 2.0

    assert waits == [0.0, 3.0, 1.0]


def test_a_heartbeat_that_fails_is_no_reason_to_stop(writing: Writing) -> None:
    writing.store.away = AWAY
    writing.clock.seconds += 60
    with capture_logs() as logs:
        assert writing.writer._turn()

    assert logged(logs, "heartbeat_failed") == [
        {"event": "heartbeat_failed", "log_level": "debug", "error": AWAY}
    ]


def test_with_each_heartbeat_it_is_told_whether_an_operator_wants_no_link(writing: Writing) -> None:
    told: list[bool] = []
    writing.writer.pause = told.append
    for writing.store.is_paused in (True, True, False):
        writing.clock.seconds += 60
        writing.writer._turn()
        writing.writer._turn()
    writing.store.away = AWAY
    writing.clock.seconds += 60
    writing.writer._turn()

    assert told == [True, True, False]


def test_commits_that_a_heartbeat_finds_lost_are_made_good_at_once(writing: Writing) -> None:
    """The store notices them on a new connection; on a quiet stream the next record may be far away."""
    writing.turn(*writing.receive(2, 3))
    writing.store.lose_commits(1)
    beats = iter([WatermarkConflict("commits were lost")])

    def heartbeat(_: Heartbeat) -> None:
        for error in beats:
            raise error

    writing.store.heartbeat = heartbeat  # type: ignore[method-assign, assignment]
    writing.clock.seconds += 60
    with capture_logs() as logs:
        assert writing.writer._turn()

    assert len(logged(logs, "watermark_conflict")) == 1
    (gap,) = [row for row in writing.store.rows(GapRow) if row.kind == "commits_lost"]
    assert (gap.first_missing, gap.last_missing) == (2, 3)
    writing.accounted()
    assert writing.writer.state.sessions[SESSION].committed_ordinal == 3


def test_what_was_applied_ahead_of_such_a_heartbeat_is_written_after_it(writing: Writing) -> None:
    writing.turn(*writing.receive(2, 3))
    writing.store.lose_commits(1)
    beats = iter([WatermarkConflict("commits were lost")])

    def heartbeat(_: Heartbeat) -> None:
        for error in beats:
            raise error

    writing.store.heartbeat = heartbeat  # type: ignore[method-assign, assignment]
    writing.clock.seconds += 60
    writing.store.before_write = lambda batch: None
    writing.turn(*writing.receive(*range(4, 20)))

    assert writing.ordinals() == [1, *range(4, 20)]
    writing.accounted()


def test_it_is_known_since_when_a_commit_is_tried(writing: Writing) -> None:
    writing.clock.seconds = 10.0
    since: list[float] = []

    def at_pause(number: int) -> None:
        since.append(writing.writer.progress.retrying_since)
        writing.store.away = None if number == 4 else AWAY

    writing.store.away = AWAY
    writing.abandon.at_pause = at_pause
    writing.turn(*writing.receive(2))

    assert since == [10.0] * 4


def test_a_writer_with_nothing_to_do_shows_that_it_turns(writing: Writing) -> None:
    writing.clock.seconds = 42.0
    assert writing.writer._turn()

    assert writing.writer.progress.turned_at == 42.0


# --- the threads ---


class Threads:
    """A writer with its own thread, not started yet."""

    def __init__(self, turn_seconds: float = 0.05) -> None:
        made = Writing.__new__(Writing)
        made.clock = ManualClock()
        made.inbox = Inbox(InboxLimits())
        made.store = FakeStore()
        made.scheduler = RequestScheduler(
            FakeHub(made.clock), made.inbox.put, made.clock, RequestRules(), random.Random(1)
        )
        made.feed = Feed()
        rules = WriterRules(max_records=10, turn_seconds=turn_seconds, retry_cap_seconds=0.01)
        decoded = Decoder(DEFAULT_LIMITS).decoded
        made.writer = Writer(
            made.inbox, made.store, made.scheduler, made.clock, heartbeat, rules, Rules(), decoded
        )
        self.writing = made


@pytest.fixture
def running() -> Iterator[Writing]:
    made = Threads().writing
    assert not made.writer.alive()
    made.writer.start(made.store.open())
    made.put(made.feed.opened())
    yield made
    made.store.away = None
    made.writer.finish(5)
    eventually(lambda: not made.writer.committer_alive())


def test_finishing_writes_all_that_waits(running: Writing) -> None:
    assert running.writer.alive()
    assert running.writer.committer_alive()
    running.put(*running.receive(*range(1, 100)))

    assert running.writer.finish(10)
    assert not running.writer.alive()
    assert running.writer.failure is None
    running.accounted()


def test_finishing_wakes_a_writer_that_waits_for_something_to_do() -> None:
    made = Threads(turn_seconds=60.0).writing
    made.writer.start(made.store.open())
    eventually(made.writer.alive)

    assert made.writer.finish(5)


def test_finishing_takes_no_longer_than_it_may(running: Writing) -> None:
    eventually(lambda: running.store.commits == 1)
    running.store.away = AWAY
    running.put(*running.receive(1))
    eventually(lambda: running.writer.progress.retrying == AWAY)

    assert not running.writer.finish(0.05)
    assert not running.writer.alive()
    assert isinstance(running.writer.failure, Fatal)


def test_an_error_that_is_none_of_ours_ends_the_thread_and_is_kept(running: Writing) -> None:
    eventually(lambda: running.store.commits == 1)

    def fail(batch: Batch) -> None:
        raise ZeroDivisionError

    running.store.before_write = fail
    running.put(*running.receive(1))
    eventually(lambda: not running.writer.alive())

    assert isinstance(running.writer.failure, ZeroDivisionError)
    assert not running.writer.finish(1)


def test_an_error_in_the_committer_reaches_the_writer(running: Writing) -> None:
    def fail(batch: Batch) -> None:
        raise ZeroDivisionError

    running.store.before_write = fail
    running.put(*running.receive(*range(1, 50)))
    eventually(lambda: not running.writer.alive())

    assert isinstance(running.writer.failure, ZeroDivisionError)


def test_sessions_that_a_dead_process_left_open_are_closed_before_anything_else() -> None:
    first = Threads().writing
    first.writer.start(first.store.open())
    first.put(first.feed.opened(), *first.receive(1, 2))
    assert first.writer.finish(5)

    second = Threads().writing
    second.store, second.feed = first.store, first.feed
    second.writer._store = second.writer._commits._store = second.writer._committer._store = first.store
    second.clock.seconds = 100.0
    second.put(second.feed.opened(OTHER), *second.receive(3))
    second.writer.start(second.store.open())
    assert second.writer.finish(5)

    closed, opened = sorted(second.store.rows(SessionRow), key=lambda row: row.opened_at)
    assert (closed.ending, closed.cause, closed.received) == ("unclean", "process_died", 2)
    assert (closed.closed_at, closed.last_message_at) == (at(100), at(3))
    assert opened.closed_at is None
    (gap,) = [row for row in second.store.rows(GapRow) if row.kind == "unclean_end"]
    assert (gap.ordinal, gap.missed_from) == (3, at(3))


def test_batches_are_offered_in_their_order_whatever_fails_in_between(writing: Writing) -> None:
    errors = iter([Transient("a"), TooSlow("b"), Transient("c")])

    def before_write(batch: Batch) -> None:
        for error in errors:
            raise error

    writing.store.before_write = before_write
    writing.turn(*writing.receive(*range(2, 40)))
    committed = [first for first, _, end in writing.store.tried if end == "committed"]

    assert all(a < b for a, b in pairwise(committed))
    assert writing.outcomes() == ["applied"] * 39
    writing.accounted()


def test_what_is_lost_while_a_loss_is_being_made_good_is_made_good_with_it() -> None:
    """The facts of the first look at the database are not carried over to the second."""
    made = Writing()
    made.turn(made.feed.opened(), *made.receive(1))
    made.turn(*made.receive(2, 3), made.feed.closed())
    made.turn(made.feed.opened(OTHER), *made.receive(4))
    made.store.lose_commits(2)  # the first session is open again, and the second unknown
    attempts: list[int] = []

    def before_write(batch: Batch) -> None:
        attempts.append(len(batch.all(RawEventRow)))
        if len(attempts) == 2:  # now the first session is unknown too
            made.store.lose_commits(1)

    made.store.before_write = before_write
    made.turn(*made.receive(5))

    (row,) = [row for row in made.store.rows(SessionRow) if row.session_id == OTHER]
    assert (row.committed_records, row.dropped_records) == (1, 1)
    assert attempts == [1, 1, 1]
    made.writer._committer.end()
