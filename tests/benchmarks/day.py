"""A day of an account on which nothing happens: every poll of the default schedule, one after the other.

The simulated hub's answers are decoded, applied and written as the writer does it, each request and each
answer in a batch of its own, with the heartbeats between them; only the clock is ours. The commits are not
awaited, which changes no byte of what is stored.
"""

import os
import re
from contextlib import closing
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import psycopg

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.config import Snapshots
from ingestor.domain.decode import Decoder
from ingestor.domain.limits import DEFAULT_LIMITS
from ingestor.domain.records import AnswerReceived, Decoded, Fact, Record, SessionOpened
from ingestor.domain.requests import ArgumentForm, Command, RequestCause, RequestSent
from ingestor.pipeline.apply import Rules, fold
from ingestor.pipeline.ports import Heartbeat
from ingestor.simulator import HubConfig
from ingestor.simulator.account import Account
from ingestor.simulator.commands import Methods
from ingestor.simulator.journal import ChannelRecord
from ingestor.simulator.protocol import Invocation
from tests.benchmarks.runs import Bed, fresh
from tests.benchmarks.server import bytes_of

SESSION = UUID(int=1)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
INTERVALS = {
    Command.GET_BALANCES: Snapshots().balances_interval_seconds,
    Command.GET_PAIRS: Snapshots().pairs_interval_seconds,
}
"""Between two requests of the default schedule."""
HOUR, DAY = 3_600, 86_400
UNAWAITED = "&options=-c%20synchronous_commit%3Doff"
_EXPOSURE = re.compile(rb'(urrentExposure\\*":)(\d+)')


def measure(bed: Bed, *, exposure_moves: bool, seconds: int = DAY) -> int:
    """Bytes that a day adds to schema `ingest`, indexes included. An hour has passed before it, so what every
    table needs once is there.
    """
    with fresh(bed) as database, closing(_Idle(bed.server.url(database), exposure_moves)) as idle:
        idle.until(HOUR)
        before = _settled(bed, database)
        idle.until(HOUR + seconds)
        return _settled(bed, database) - before


def _settled(bed: Bed, database: str) -> int:
    dsn = bed.server.dsn(database)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("VACUUM")
    bed.server.checkpoint()
    return bytes_of(dsn, "ingest")


class _Idle:
    """The account, in one session from `BEGIN` on."""

    def __init__(self, url: str, exposure_moves: bool) -> None:
        clock = DatabaseClock()
        database = DatabaseSession(url + UNAWAITED, DatabaseTiming(), clock)
        self._store = PostgresStore(database, "main", "custom", "0", clock)
        self._state = self._store.open()
        config = HubConfig()
        self._hub = Methods(Account(config), config)
        self._decoder = Decoder(DEFAULT_LIMITS)
        self._exposure_moves = exposure_moves
        self._second = self._ordinal = 0
        self._write(SessionOpened(SESSION, BEGIN, "ws://127.0.0.1/hub", 1))

    def until(self, second: int) -> None:
        """Live from where it stands to this second after the beginning."""
        for now in range(self._second, second):
            for command, interval in INTERVALS.items():
                if now % interval == 0:
                    # There are twelve for a poll, but each of them rewrites the same row in its page.
                    self._store.heartbeat(_heartbeat(now))
                    self._poll(command, now)
        self._second = second

    def close(self) -> None:
        self._store.close()

    def _poll(self, command: Command, second: int) -> None:
        sent = BEGIN + timedelta(seconds=second)
        received = sent + timedelta(milliseconds=50)
        request_id = str(uuid4())
        cause, form = RequestCause.SCHEDULE, ArgumentForm.POSITIONAL
        self._write(RequestSent(request_id, command, cause, SESSION, sent, 1, form))
        (raw,) = self._answers(command, request_id)
        if self._exposure_moves:
            raw = _EXPOSURE.sub(lambda found: found[1] + b"%d" % (int(found[2]) + second), raw)
        self._ordinal += 1
        record = Record(SESSION, self._ordinal, received, raw, len(raw))
        self._write(self._decoder.decoded(record), AnswerReceived(request_id, received))

    def _write(self, *items: Decoded | Fact) -> None:
        self._state, batch = fold(self._state, items, Rules())
        self._store.write(batch)

    def _answers(self, command: Command, request_id: str) -> list[bytes]:
        call = Invocation(command.value, [request_id], request_id)
        records = self._hub.answer(call, None)
        return [record.raw for record in records if isinstance(record, ChannelRecord)]


def _heartbeat(number: int) -> Heartbeat:
    return Heartbeat(
        process_id=UUID(int=2),
        pid=os.getpid(),
        host="host",
        started_at=BEGIN,
        link_state="up",
        connection_error=None,
        last_message_at=BEGIN + timedelta(seconds=number),
        inbox_records=0,
        inbox_bytes=0,
        dropped_records=0,
        balances_interval=timedelta(seconds=Snapshots().balances_interval_seconds),
        pairs_interval=timedelta(seconds=Snapshots().pairs_interval_seconds),
    )
