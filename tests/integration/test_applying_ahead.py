"""A batch is applied ahead of one that may still fail: then nothing is lost, stored twice or left open.

Writer, committer and store are the real ones, on a real Postgres. A lock on a table delays the first large
batch until the next one has been applied on top of it; then the fault happens.

Invariants I1, I3.
"""

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from typing_extensions import override

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.app.database import upgrade_database
from ingestor.domain.decode import Decoder
from ingestor.domain.errors import Fatal, IngestorError, LinkDown, OutcomeUnknown
from ingestor.domain.limits import Limits
from ingestor.domain.records import Record
from ingestor.domain.requests import ArgumentForm, Command
from ingestor.pipeline.apply import Rules
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.inbox import Inbox, InboxLimits
from ingestor.pipeline.ports import Heartbeat
from ingestor.pipeline.request_scheduler import RequestRules, RequestScheduler
from ingestor.pipeline.rows import RawEventRow
from ingestor.pipeline.writer import Writer, WriterRules
from tests.support.feed import Feed
from tests.support.items import at, balances, opened, record
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MINE = str(UUID(int=7))
BATCH = 100
UNDER_WAY, AHEAD, REST = (2, 101), (102, 201), (202, 251)
"""First and last ordinals after record 1: of the delayed batch, of the one applied on it, and of the rest."""


class WatchedStore(PostgresStore):
    """The real store; keeps what it was given and how that ended, and can be deaf to a commit's answer."""

    def __init__(self, url: str, clock: DatabaseClock) -> None:
        timing = DatabaseTiming(lock_seconds=30, statement_seconds=40, transaction_seconds=50)
        super().__init__(DatabaseSession(url, timing, clock), "ahead", "custom", "0", clock)
        self.tried: list[tuple[int, int, str]] = []
        self.deaf = False

    @override
    def write(self, batch: Batch) -> None:
        ordinals = [row.ordinal for row in batch.all(RawEventRow)] or [0]
        end = "committed"
        try:
            super().write(batch)
            if self.deaf and ordinals[0] == UNDER_WAY[0]:
                raise OutcomeUnknown("the answer to COMMIT was lost")
        except IngestorError as error:
            end = type(error).__name__
            raise
        finally:
            self.tried.append((ordinals[0], ordinals[-1], end))


class NoHub:
    """A hub that is never there."""

    def request(self, session: UUID, command: Command, request_id: str, form: ArgumentForm) -> None:
        raise LinkDown("no link")


def heartbeat() -> Heartbeat:
    interval = timedelta(seconds=60)
    return Heartbeat(uuid4(), 1, "here", at(0), "up", None, None, 0, 0, 0, interval, interval)


class Writing:
    """A writer at work, and a look at what it wrote."""

    def __init__(self, url: str, limits: Limits) -> None:
        self.url = libpq_url(url)
        self.inbox = Inbox(InboxLimits())
        clock, rng = DatabaseClock(), random.Random(1)
        self.store = WatchedStore(url, clock)
        self.writer = Writer(
            self.inbox,
            self.store,
            RequestScheduler(NoHub(), self.inbox.put, clock, RequestRules(), rng),
            clock,
            heartbeat,
            WriterRules(max_records=BATCH, heartbeat_seconds=3600, retry_cap_seconds=0.05),
            Rules(),
            Decoder(limits).decoded,
        )

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def watermark(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT epoch, sequence, revision FROM ingest.watermark")

    def outcomes(self) -> dict[str, int]:
        return dict(self.sql("SELECT outcome, count(*) FROM ingest.event_outcome GROUP BY outcome"))


def snapshot(ordinal: int, **assets: str) -> Record:
    """A snapshot whose sequence is its ordinal."""
    return record(ordinal, balances(ordinal, {"USDT": f"{ordinal}.5", **assets}))


@contextmanager
def writing(url: str, limits: Limits | None = None) -> Iterator[Writing]:
    """A writer that has written record 1; at the end it has written all that it was given, once."""
    ours = Writing(url, limits or Limits())
    ours.writer.start(ours.store.open())
    ours.inbox.put(opened())
    ours.inbox.put_records([snapshot(1)])
    eventually(lambda: ours.watermark() == [(1, 1, 0)])
    yield ours
    assert ours.writer.finish(30), ours.writer.failure
    ours.store.close()
    last = REST[1]
    assert ours.sql("SELECT count(*), count(DISTINCT ordinal), max(ordinal) FROM ingest.raw_event") == [
        (last, last, last)
    ]
    assert ours.sql("SELECT committed_ordinal, committed_records FROM ingest.session") == [(last, last)]
    assert ours.sql("SELECT * FROM report.unaccounted") == []
    assert ours.watermark() == [(1, last, 0)]


@contextmanager
def delayed(ours: Writing, *other: Record) -> Iterator[tuple[psycopg.Connection, int]]:
    """Give it the rest of the records, `other` in the place of theirs.

    The block begins when a batch is under way and delayed, and another is applied ahead; gives the connection
    that delays it, and the process id of the backend that waits.
    """
    records = {one.ordinal: one for one in (*map(snapshot, range(UNDER_WAY[0], REST[1] + 1)), *other)}
    waiting = (
        "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    )
    with psycopg.connect(ours.url) as connection:
        connection.execute("LOCK TABLE ingest.raw_event IN ACCESS EXCLUSIVE MODE")
        ours.inbox.put_records([*records.values()])
        eventually(lambda: ours.inbox.level.records == REST[1] - AHEAD[1])
        yield connection, eventually(lambda: ours.sql(waiting))[0][0]


def test_a_connection_that_is_cut_under_a_batch_costs_nothing(database: str) -> None:
    with writing(database) as ours:
        with delayed(ours) as (_, backend):
            ours.sql(f"SELECT pg_terminate_backend({backend})")
            eventually(lambda: (*UNDER_WAY, "OutcomeUnknown") in ours.store.tried)
        eventually(lambda: (*REST, "committed") in ours.store.tried)

    assert [each for each in ours.store.tried if each[0] > 1] == [
        (*UNDER_WAY, "OutcomeUnknown"),
        (*UNDER_WAY, "committed"),
        (*AHEAD, "committed"),
        (*REST, "committed"),
    ]
    assert ours.outcomes() == {"applied": REST[1]}


def test_a_server_that_goes_away_under_a_batch_costs_nothing(
    durable_postgres: Callable[[], EmbeddedPostgres],
) -> None:
    server = durable_postgres()
    url = server.ensure_database("ahead")
    upgrade_database(url)
    with writing(url) as ours:
        with delayed(ours) as (other, _):
            server.stop()
            other.close()
            eventually(lambda: ours.writer.progress.retrying)
        server.start()

    assert ours.outcomes() == {"applied": REST[1]}


def test_a_commit_whose_answer_was_lost_is_not_repeated(database: str) -> None:
    with writing(database) as ours, delayed(ours):
        ours.store.deaf = True

    assert [each for each in ours.store.tried if each[0] > 1] == [
        (*UNDER_WAY, "OutcomeUnknown"),
        (*AHEAD, "committed"),
        (*REST, "committed"),
    ]
    assert ours.outcomes() == {"applied": REST[1]}


def test_what_was_applied_on_a_stream_that_another_writer_moved_is_applied_again(database: str) -> None:
    """Invariant I16."""
    with writing(database) as ours, delayed(ours) as (other, _):
        other.execute("UPDATE ingest.watermark SET sequence = 120")

    assert (*UNDER_WAY, "WatermarkConflict") in ours.store.tried
    assert [each for each in ours.store.tried if each[0] > UNDER_WAY[0]] == [
        (*AHEAD, "committed"),
        (*REST, "committed"),
    ]
    # 120 itself has other content than what the other writer left; everything above it is new.
    assert ours.outcomes() == {"applied": 1 + REST[1] - 120, "stale": 118, "conflict": 1}


@pytest.mark.parametrize(("batch", "following"), [(UNDER_WAY, AHEAD), (AHEAD, REST)])
@pytest.mark.parametrize("by", ["the driver", "the database"])
def test_one_rejected_row_costs_itself_wherever_it_stands(
    by: str, batch: tuple[int, int], following: tuple[int, int], database: str
) -> None:
    """The last of its batch, so that the next one was applied on a state that never came to be."""
    bad = snapshot(batch[1], REJECTED="1e400000" if by == "the driver" else "1")
    with writing(database, Limits(exponent=1_000_000)) as ours:
        with psycopg.connect(ours.url) as connection:
            connection.execute("ALTER TABLE ingest.balance ADD CHECK (asset <> 'REJECTED' OR available > 1)")
        with delayed(ours, bad):
            pass

    assert ours.outcomes() == {"applied": REST[1] - 1, "quarantined": 1}
    assert ours.sql("SELECT ordinal, stage, reason FROM ingest.dead_letter") == [
        (batch[1], "store", "rejected_by_database")
    ]
    assert [each for each in ours.store.tried if each[0] == following[0]] == [(*following, "committed")], (
        "applied on what was rejected"
    )


@contextmanager
def first_record(url: str) -> Iterator[tuple[Writing, Feed]]:
    """A writer that has written the first record of a session."""
    ours, feed = Writing(url, Limits()), Feed()
    ours.writer.start(ours.store.open())
    ours.inbox.put(feed.opened())
    ours.inbox.put_records([feed.received(balances(10))])
    eventually(lambda: ours.watermark() == [(1, 10, 0)])
    yield ours, feed
    ours.writer.finish(30)
    ours.store.close()


def test_another_writer_moves_a_stream_and_nothing_else_of_ours(database: str) -> None:
    """The request that is open, and its answer, are still known (I16)."""
    with first_record(database) as (ours, feed):
        ours.inbox.put(feed.requested(MINE))
        eventually(lambda: ours.sql("SELECT outcome FROM ingest.request") == [(None,)])
        ours.sql("UPDATE ingest.watermark SET sequence = 20 RETURNING 1")

        ours.inbox.put_records([feed.received(balances(30))])
        eventually(lambda: ours.watermark() == [(1, 30, 0)])
        assert "WatermarkConflict" in {end for *_, end in ours.store.tried}
        assert ours.sql("SELECT passed_over FROM ingest.version WHERE sequence = 30") == [(9,)]

        ours.inbox.put_records([feed.received(balances(30, client_id=MINE))])
        eventually(lambda: ours.sql("SELECT outcome FROM ingest.request") == [("answered",)])
        assert ours.sql("SELECT committed_ordinal, dropped_records FROM ingest.session") == [(3, 0)]


@pytest.mark.parametrize("lost", [(), ("session", "watermark", "epoch")])
def test_a_database_that_has_lost_commits_is_gone_on_from_and_the_loss_is_a_gap(
    database: str, lost: tuple[str, ...]
) -> None:
    with first_record(database) as (ours, feed):
        for table in lost:
            ours.sql(f"DELETE FROM ingest.{table} RETURNING 1")
        if not lost:
            ours.sql("UPDATE ingest.session SET committed_ordinal = 0, committed_records = 0 RETURNING 1")
        ours.sql("DELETE FROM ingest.raw_event RETURNING 1")

        ours.inbox.put_records([feed.received(balances(30))])
        eventually(lambda: ours.watermark() == [(1, 30, 0)])
        assert ours.sql(
            "SELECT committed_ordinal, committed_records, dropped_records FROM ingest.session"
        ) == [(2, 1, 1)]
        assert ours.sql(
            "SELECT ordinal, first_missing, last_missing FROM ingest.gap WHERE kind = 'commits_lost'"
        ) == [(1, 1, 1)]
        assert ours.sql("SELECT * FROM report.unaccounted") == []


def test_what_no_reload_can_cure_ends_the_process(database: str) -> None:
    """Another process took our session for one that a dead process had left, and ended it."""
    with first_record(database) as (ours, feed):
        ours.sql(
            "UPDATE ingest.session SET closed_at = opened_at, last_message_at = opened_at, received = 1, "
            "ending = 'unclean', cause = 'process_died' RETURNING 1"
        )
        ours.inbox.put_records([feed.received(balances(30))])
        eventually(lambda: not ours.writer.alive())

        assert isinstance(ours.writer.failure, Fatal)
        assert "another process has written this account" in str(ours.writer.failure)
