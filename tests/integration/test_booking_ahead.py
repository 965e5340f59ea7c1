"""What is booked ahead stands on a batch that may still fail: then nothing is lost, doubled or left hanging.

Writer, committer and store are the real ones, on a real Postgres. A lock on a table holds the first large
batch up until the next one has been booked on top of it; then comes the harm.
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

from ingestor.adapters.clock import SystemClock
from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.postgres.engine import DatabaseTiming, make_engine
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.app import upgrade_database
from ingestor.domain.commands import ArgumentForm, Command
from ingestor.domain.errors import Fatal, IngestorError, LinkDown, OutcomeUnknown
from ingestor.domain.limits import Limits
from ingestor.domain.records import Record
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.booking import BookingRules
from ingestor.pipeline.desk import CommandDesk, DeskRules
from ingestor.pipeline.inbox import Inbox, InboxLimits
from ingestor.pipeline.ports import Beat
from ingestor.pipeline.writer import Writer, WriterRules
from tests.support.items import at, balances, opened, record
from tests.support.line import Line
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

BATCH = 100
UNDER_WAY, AHEAD, REST = (2, 101), (102, 201), (202, 251)
"""First and last ordinals after record 1: of the batch that is held up, of the one booked on it, and more."""


class WatchedStore(PostgresStore):
    """The real store; keeps what it was given and how that ended, and can be deaf to a commit's answer."""

    def __init__(self, url: str) -> None:
        timing = DatabaseTiming(lock_seconds=30, statement_seconds=40, transaction_seconds=50)
        super().__init__(make_engine(url, timing), "ahead", "custom", "0", 50, SystemClock())
        self.tried: list[tuple[int, int, str]] = []
        self.deaf = False

    @override
    def write(self, batch: Batch) -> None:
        ordinals = [row.ordinal for row in batch.raw_events] or [0]
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
    """Nobody to ask."""

    def ask(self, session: UUID, command: Command, command_id: str, form: ArgumentForm) -> None:
        raise LinkDown("no link")


def beat() -> Beat:
    interval = timedelta(seconds=60)
    return Beat(uuid4(), 1, "here", at(0), at(0), "up", None, None, 0, 0, interval, interval)


class Writing:
    """A writer at work, and a look at what it wrote."""

    def __init__(self, url: str, limits: Limits) -> None:
        self.url = libpq_url(url)
        self.inbox = Inbox(InboxLimits())
        self.store = WatchedStore(url)
        clock, chance = SystemClock(), random.Random(1)
        self.writer = Writer(
            self.inbox,
            self.store,
            CommandDesk(NoHub(), self.inbox.put, clock, DeskRules(), chance),
            clock,
            beat,
            WriterRules(max_records=BATCH, beat_seconds=3600, retry_cap_seconds=0.05),
            BookingRules(limits=limits),
            chance,
        )

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def watermark(self) -> list[tuple[Any, ...]]:
        return self.sql("SELECT epoch, sequence, revision FROM ingest.watermark")

    def outcomes(self) -> dict[str, int]:
        return dict(self.sql("SELECT outcome, count(*) FROM ingest.outcome GROUP BY outcome"))


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
def held_up(ours: Writing, *other: Record) -> Iterator[tuple[psycopg.Connection, int]]:
    """Give it the rest of the records, `other` in the place of theirs.

    The block begins when a batch is under way and held up, and another is booked ahead; gives the connection
    that holds it up, and the process id of the backend that waits.
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
        with held_up(ours) as (_, backend):
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
        with held_up(ours) as (other, _):
            server.stop()
            other.close()
            eventually(lambda: ours.writer.progress.retrying)
        server.start()

    assert ours.outcomes() == {"applied": REST[1]}


def test_a_commit_whose_answer_was_lost_is_not_repeated(database: str) -> None:
    with writing(database) as ours, held_up(ours):
        ours.store.deaf = True

    assert [each for each in ours.store.tried if each[0] > 1] == [
        (*UNDER_WAY, "OutcomeUnknown"),
        (*AHEAD, "committed"),
        (*REST, "committed"),
    ]
    assert ours.outcomes() == {"applied": REST[1]}


def test_what_was_booked_on_a_stream_that_another_writer_moved_is_booked_anew(database: str) -> None:
    with writing(database) as ours, held_up(ours) as (other, _):
        other.execute("UPDATE ingest.watermark SET sequence = 120")

    assert (*UNDER_WAY, "StateMoved") in ours.store.tried
    assert [each for each in ours.store.tried if each[0] > UNDER_WAY[0]] == [
        (*AHEAD, "committed"),
        (*REST, "committed"),
    ]
    # 120 itself has other content than what the other writer left; everything above it is new.
    assert ours.outcomes() == {"applied": 1 + REST[1] - 120, "stale": 118, "conflict": 1}


@pytest.mark.parametrize(("batch", "following"), [(UNDER_WAY, AHEAD), (AHEAD, REST)])
@pytest.mark.parametrize("by", ["the packing", "the database"])
def test_one_refused_row_costs_itself_wherever_it_stands(
    by: str, batch: tuple[int, int], following: tuple[int, int], database: str
) -> None:
    """The last of its batch, so that the next one was booked on a state that never came to be."""
    bad = snapshot(batch[1], REFUSED="1e400000" if by == "the packing" else "1")
    with writing(database, Limits(exponent=1_000_000)) as ours:
        with psycopg.connect(ours.url) as connection:
            connection.execute("ALTER TABLE ingest.balance ADD CHECK (asset <> 'REFUSED' OR available > 1)")
        with held_up(ours, bad):
            pass

    assert ours.outcomes() == {"applied": REST[1] - 1, "quarantined": 1}
    assert ours.sql("SELECT ordinal, stage, reason FROM ingest.dead_letter") == [
        (batch[1], "store", "refused_by_database")
    ]
    assert [each for each in ours.store.tried if each[0] == following[0]] == [(*following, "committed")], (
        "booked on what was refused"
    )


def test_another_writer_moves_a_stream_and_nothing_else_of_ours(database: str) -> None:
    """Its doubts, the commands under way, and what this session has heard of it stay as they are."""
    ours, line = Writing(database, Limits()), Line()
    ours.writer.start(ours.store.open())
    ours.inbox.put(line.opened())
    ours.inbox.put_records([line.heard(balances(10)), line.heard(balances(9))])
    ours.inbox.put(line.asked("first"))
    eventually(lambda: ours.sql("SELECT outcome FROM ingest.command") == [(None,)])
    ours.sql("UPDATE ingest.watermark SET sequence = 20 RETURNING 1")

    ours.inbox.put_records([line.heard(balances(30))])
    eventually(lambda: ours.watermark() == [(1, 30, 0)])

    assert "StateMoved" in {end for *_, end in ours.store.tried}
    assert ours.sql("SELECT outcome FROM ingest.command") == [(None,)]
    assert ours.sql("SELECT doubt, resolution FROM ingest.doubt") == [("reset_suspected", None)]
    assert ours.sql("SELECT cause, first_missing FROM ingest.gap WHERE kind = 'sequence_skip'") == [
        ("pushed", 21)
    ]

    ours.inbox.put_records([line.heard(balances(30, client_id="first"))])
    eventually(lambda: ours.sql("SELECT outcome FROM ingest.command") == [("answered",)])
    assert ours.sql("SELECT doubt, resolution FROM ingest.doubt") == [("reset_suspected", "refuted")]
    assert ours.writer.finish(30), ours.writer.failure
    ours.store.close()


def test_what_no_reload_can_cure_ends_the_process(database: str) -> None:
    """A database restored from yesterday knows nothing of today's session: only a new one goes on."""
    ours, line = Writing(database, Limits()), Line()
    ours.writer.start(ours.store.open())
    ours.inbox.put(line.opened())
    ours.inbox.put_records([line.heard(balances(1))])
    eventually(lambda: ours.watermark() == [(1, 1, 0)])
    ours.sql("DELETE FROM ingest.session RETURNING 1")

    ours.inbox.put_records([line.heard(balances(2))])
    eventually(lambda: not ours.writer.alive())

    assert isinstance(ours.writer.failure, Fatal)
    assert "a session stands elsewhere" in str(ours.writer.failure)
    ours.store.close()
