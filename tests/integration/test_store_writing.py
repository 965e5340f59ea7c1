"""A batch is stored whole or not at all, once, and only where it continues what is stored (I3, I6)."""

import time
from collections.abc import Iterator
from datetime import timedelta
from functools import partial

import psycopg
import pytest
from msgspec import Struct
from msgspec.structs import replace

from ingestor.adapters.postgres.store import PostgresStore
from ingestor.domain.errors import RowRejected, Transient, WatermarkConflict
from ingestor.pipeline.ports import Heartbeat
from tests.support.batches import (
    SESSION,
    START,
    advanced,
    at,
    batch,
    confirmation,
    ended,
    epoch,
    events,
    first,
    following,
    gap,
    make_store,
    moved,
    opened,
    request,
)
from tests.support.postgres import libpq_url
from tests.support.rows import Query

WAYS = {"one statement": 4, "COPY": 150}
"""The last record of a batch that begins with the second."""
REJECTIONS = {
    "a session that is ahead": ("UPDATE ingest.session SET committed_ordinal = 5", WatermarkConflict),
    "a session whose commits were lost": (
        "UPDATE ingest.session SET committed_ordinal = 0",
        WatermarkConflict,
    ),
    "a session that was closed": ("UPDATE ingest.session SET closed_at = now()", WatermarkConflict),
    "a session that is unknown": ("DELETE FROM ingest.session", WatermarkConflict),
    "another watermark": ("UPDATE ingest.watermark SET sequence = 0", WatermarkConflict),
    "a row": ("ALTER TABLE ingest.balance ADD CHECK (available < 3)", RowRejected),
    "a rare row": ("ALTER TABLE ingest.request ADD CHECK (account = '') NOT VALID", RowRejected),
    "a gap": ("ALTER TABLE ingest.gap ADD CHECK (account = '') NOT VALID", RowRejected),
    "the commit": (
        """CREATE CONSTRAINT TRIGGER reject AFTER INSERT ON ingest.outcome DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION reject()""",
        RowRejected,
    ),
}


@pytest.fixture
def store(database: str, sql: Query) -> Iterator[PostgresStore]:
    sql("CREATE FUNCTION reject() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE check_violation; END'")
    made = make_store(database)
    made.open()
    yield made
    made.close()


def nothing_of_it_is_stored(sql: Query) -> bool:
    sql("SELECT 1 FROM ingest.session FOR UPDATE NOWAIT")  # no transaction was left behind
    counts = sql(
        "SELECT (SELECT max(ordinal) FROM ingest.raw_event), (SELECT count(*) FROM ingest.request), "
        "(SELECT count(*) FROM ingest.gap), (SELECT max(sequence) FROM ingest.balance)"
    )
    return counts == [(1, 0, 0, 1)]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rejection", REJECTIONS)
def test_what_rejects_a_batch_is_reported_and_nothing_of_it_is_stored(
    rejection: str, way: str, store: PostgresStore, sql: Query
) -> None:
    store.write(first())
    statement, error = REJECTIONS[rejection]
    sql(statement)

    with pytest.raises(error):
        store.write(following(2, WAYS[way], request(), gap()))

    assert nothing_of_it_is_stored(sql)


@pytest.mark.parametrize("way", WAYS)
def test_what_cannot_be_encoded_is_a_row_that_is_rejected(way: str, store: PostgresStore, sql: Query) -> None:
    store.write(first())
    rejected = following(2, WAYS[way])
    rows = rejected.rows[type(events(1, 1)[-1])]
    rows[-1] = replace(rows[-1], asset="\ud800")

    with pytest.raises(RowRejected):
        store.write(rejected)

    assert nothing_of_it_is_stored(sql)


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_that_is_stored_is_held_and_rejected_a_second_time(
    way: str, store: PostgresStore, sql: Query
) -> None:
    last = WAYS[way]
    for each in (
        first(),
        following(2, last, gap(), request()),
        batch(advanced(last + 1, last, **ended(last)), gap(missed_until=START)),
    ):
        assert not store.holds(each)
        store.write(each)
        assert store.holds(each)
        with pytest.raises(WatermarkConflict):
            store.write(each)

    assert sql(
        "SELECT committed_ordinal, committed_records, last_received_at, received, ending, cause, detail, "
        "connection_errors, clock_offset_seconds FROM ingest.session"
    ) == [(last, last, at(last), last, "clean", "stopped", "why", ["dns", "refused"], -0.25)]
    assert sql("SELECT count(*), max(available) FROM ingest.balance") == [(last, last)]
    assert sql("SELECT * FROM report.unaccounted") == []


def test_rows_without_progress_may_be_written_twice(store: PostgresStore, sql: Query) -> None:
    facts = batch(gap(), request(), confirmation())
    assert not store.holds(facts)
    store.write(facts)
    store.write(facts)

    assert not store.holds(facts)
    assert sql("SELECT count(*) FROM ingest.gap, ingest.request, ingest.confirmation") == [(1,)]


def test_a_session_may_open_and_close_in_one_batch(store: PostgresStore, sql: Query) -> None:
    store.write(batch(opened(2, **ended(2)), events(1, 2), epoch(), moved(2, None)))

    assert sql("SELECT received, ending FROM report.session") == [(2, "clean")]
    assert sql("SELECT * FROM report.unaccounted") == []


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        (None, 9, WatermarkConflict),  # it exists already
        (4, 9, WatermarkConflict),  # it stands at 5
        (5, 4, WatermarkConflict),  # backwards
        (5, 5, None),  # confirmed, and nothing else
        (5, 9, None),
    ],
)
def test_a_watermark_moves_forward_from_where_it_stands(
    old: int | None, new: int, error: type[Exception] | None, store: PostgresStore, sql: Query
) -> None:
    """Invariants I4, I16."""
    store.write(first(5))
    move = batch(moved(new, old, confirmed_until=at(60)))
    if error is None:
        store.write(move)
    else:
        with pytest.raises(error):
            store.write(move)

    stands = (new, at(60)) if error is None else (5, at(5))
    assert sql("SELECT sequence, confirmed_until FROM ingest.watermark") == [stands]


def test_an_epoch_that_another_writer_has_opened_is_a_conflict(
    store: PostgresStore,
) -> None:
    """Invariants I10, I16."""
    store.write(first())
    with pytest.raises(WatermarkConflict):
        store.write(batch(advanced(2, 2), events(2, 2), epoch(), moved(2, 1)))


def test_a_gap_is_written_when_it_opens_and_again_until_it_ends(store: PostgresStore, sql: Query) -> None:
    confirmed = {"pairs_confirmed_at": at(3), "pairs_confirmed_by_session_id": SESSION}
    steps: list[Struct] = [
        gap(),
        gap(occurrences=2, last_occurred_at=at(1)),
        gap(missed_until=at(2), **confirmed),
        gap(missed_until=at(2), **confirmed, balances_confirmed_at=at(4), ended_at=at(4)),
        gap(missed_until=None, occurrences=99),  # after its end it is as it was
    ]
    for each in steps:
        store.write(batch(each))

    ((found, recorded),) = sql("SELECT to_json(g), recorded_at FROM ingest.gap AS g")
    assert [found[name] for name in ("occurrences", "affects", "connection_errors")] == [
        1,
        ["balances", "pairs"],
        list(gap().connection_errors),
    ]
    assert sql(
        "SELECT balances_confirmed_at, pairs_confirmed_at, ended_at, missed_until FROM ingest.gap"
    ) == [(at(4), at(3), at(4), at(2))]
    assert sql("SELECT now() - %s < interval '1 minute'", recorded) == [(True,)]


def test_requests_and_confirmations_are_completed(store: PostgresStore, sql: Query) -> None:
    store.write(batch(request(), confirmation()))
    store.write(
        batch(
            request(outcome="answered", ended_at=at(2), answer_ordinal=7),
            confirmation(resolution="refuted", resolved_at=at(3), resolved_by_ordinal=7),
        )
    )

    assert sql("SELECT outcome, ended_at, answer_ordinal FROM ingest.request") == [("answered", at(2), 7)]
    assert sql("SELECT resolution, resolved_at, resolved_by_ordinal FROM ingest.confirmation") == [
        ("refuted", at(3), 7)
    ]


def test_a_stamp_of_storing_moves_with_what_it_is_of(store: PostgresStore, sql: Query) -> None:
    """And only with it: what was known at a moment can be shown ever after (R6)."""
    confirmed = {"pairs_confirmed_at": at(3)}
    again = {**confirmed, "occurrences": 2}
    ended = {**again, "balances_confirmed_at": at(4), "ended_at": at(4)}
    answered = {"outcome": "answered", "ended_at": at(2)}
    refuted = {"resolution": "refuted", "resolved_at": at(3)}
    stamps = (
        "SELECT g.balances_confirmation_recorded_at, g.pairs_confirmation_recorded_at, "
        "r.end_recorded_at, c.resolution_recorded_at, g.recorded_at, r.recorded_at, c.recorded_at "
        "FROM ingest.gap AS g, ingest.request AS r, ingest.confirmation AS c"
    )
    store.write(batch(gap(), request(), confirmation()))
    (before,) = sql(stamps)
    assert len(set(before)) == 1
    moved = []
    for step in (
        batch(gap(**confirmed), request(), confirmation()),
        batch(gap(**again), request(**answered), confirmation(**refuted)),
        batch(gap(**ended), request(**answered), confirmation(**refuted)),
    ):
        store.write(step)
        (after,) = sql(stamps)
        assert all(new >= old for new, old in zip(after, before, strict=True))
        moved.append([new > old for new, old in zip(after, before, strict=True)])
        before = after

    first = [False, False, False]
    assert moved == [
        [False, True, False, False, *first],
        [False, False, True, True, *first],
        [True, False, False, False, *first],
    ]


def test_the_time_of_storing_is_the_databases(store: PostgresStore, sql: Query) -> None:
    """So what was known at a moment can be shown ever after (R6): stamps of receipt lie before the commit."""
    store.write(batch(opened(1), events(1, 1), epoch(), moved(1, None), gap(), request()))

    for table in ("outcome", "gap", "request"):
        ((recorded, now),) = sql(f"SELECT recorded_at, now() FROM ingest.{table}")
        assert timedelta(0) <= now - recorded < timedelta(seconds=30)


def test_opening_settles_what_a_dead_process_left(store: PostgresStore, sql: Query) -> None:
    """Invariant I9. What was pending is so until the gap of that process's end is stored."""
    store.write(batch(opened(), request(), confirmation(), gap(balances_confirmed_at=at(1))))
    state = store.open()

    assert sql("SELECT end_recorded_at > recorded_at FROM ingest.request") == [(True,)]
    assert sql("SELECT outcome, ended_at IS NOT NULL FROM ingest.request") == [("link_lost", True)]
    assert list(state.sessions) == [SESSION]
    assert [each.connection_errors for each in state.gaps] == [gap().connection_errors]
    assert sql("SELECT resolution FROM ingest.confirmation") == [(None,)]

    store.write(batch(advanced(1, 0, **ended(0)), gap(ordinal=1)))
    assert sql("SELECT resolution, resolved_at IS NOT NULL FROM ingest.confirmation") == [("abandoned", True)]
    assert sql("SELECT resolution_recorded_at > recorded_at FROM ingest.confirmation") == [(True,)]


def test_what_is_pending_now_is_not_abandoned(store: PostgresStore, sql: Query) -> None:
    store.write(batch(opened(), confirmation()))
    store.write(batch(advanced(1, 1), events(1, 1), confirmation(ordinal=2)))

    assert sql("SELECT resolution FROM ingest.confirmation") == [(None,), (None,)]


def test_what_a_dead_process_left_ends_also_where_the_clock_was_ahead_and_none_before_it_began(
    store: PostgresStore, sql: Query
) -> None:
    ((now,),) = sql("SELECT now()")
    ahead = now + timedelta(days=3)
    begun = [("00000000-0000-4000-8000-00000000000" + str(n), at) for n, at in enumerate([now, ahead])]
    left = [request(request_id=name, requested_at=at) for name, at in begun]
    store.write(batch(opened(), *left, confirmation(raised_at=ahead)))
    store.open()
    store.write(batch(advanced(1, 0, **ended(0))))

    ends = sql("SELECT requested_at, outcome, ended_at FROM ingest.request ORDER BY requested_at")
    assert [outcome for _, outcome, _ in ends] == ["link_lost", "link_lost"]
    assert ends[0][2] - now < timedelta(minutes=1)
    assert ends[1][2] == ahead
    assert sql("SELECT resolution, resolved_at FROM ingest.confirmation") == [("abandoned", ahead)]


LOSE = """
    UPDATE ingest.session SET committed_ordinal = 1, committed_records = 1;
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
"""What a failover to a standby that lags leaves of a session."""


def heartbeat(store: PostgresStore) -> None:
    interval = timedelta(seconds=60)
    store.heartbeat(
        Heartbeat(
            process_id=SESSION,
            pid=1,
            host="h",
            started_at=START,
            link_state="up",
            connection_error=None,
            last_message_at=None,
            inbox_records=0,
            inbox_bytes=0,
            dropped_records=0,
            balances_interval=interval,
            pairs_interval=interval,
        )
    )


def test_a_new_connection_to_a_server_that_has_lost_commits_writes_nothing_until_it_is_loaded(
    store: PostgresStore, sql: Query
) -> None:
    """Rows that advance no session have no guard of their own."""
    store.write(first())
    store.write(following(2, 3))
    store.write(batch(gap()))
    sql(LOSE)
    for attempt in (partial(store.write, batch(request())), partial(heartbeat, store)):
        with pytest.raises(Transient):
            store.holds(following(2, 3))  # the connection is gone
        with pytest.raises(WatermarkConflict, match="lost commits"):
            attempt()
        sql(LOSE)
    assert sql("SELECT 1 FROM ingest.request UNION ALL SELECT 1 FROM ingest.heartbeat") == []

    with pytest.raises(Transient):
        store.open()
    store.open()
    store.write(batch(request()))
    heartbeat(store)


def test_a_new_connection_to_a_server_that_has_lost_nothing_goes_on(store: PostgresStore, sql: Query) -> None:
    store.write(first())
    store.write(following(2, 3))
    sql(LOSE.partition(";")[2])
    with pytest.raises(Transient):
        store.write(following(4, 5))
    store.write(following(4, 5))


@pytest.mark.parametrize(
    "lock", ["LOCK TABLE ingest.heartbeat", "SELECT 1 FROM ingest.heartbeat FOR UPDATE"], ids=["table", "row"]
)
def test_a_heartbeat_that_meets_a_lock_is_short_and_keeps_the_connection(
    lock: str, database: str, store: PostgresStore, sql: Query
) -> None:
    heartbeat(store)
    before = sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'")
    with psycopg.connect(libpq_url(database)) as rival:
        rival.execute(lock.encode())
        for _ in range(4):
            began = time.monotonic()
            with pytest.raises(Transient):
                heartbeat(store)
            assert time.monotonic() - began < 2
    store.write(first())
    heartbeat(store)

    assert sql("SELECT pid FROM pg_locks WHERE locktype = 'advisory'") == before
