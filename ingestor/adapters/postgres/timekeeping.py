"""Reads the database's clock, and detects steps of both clocks and the offset between them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
import structlog

from ingestor.domain.errors import Transient
from ingestor.pipeline.ports import SynchronisedClock

log = structlog.get_logger()

OFFSET_SECONDS = 2.0
"""Offset of the host's wall clock from which on a warning is logged: log lines and rows are then hard to
compare."""

_SHORT_DEADLINES = (
    b"SELECT set_config('lock_timeout', '100', true), set_config('statement_timeout', '1000', true)"
)
"""For the rest of a transaction that must not delay commits."""

_READ_CLOCK = b"SELECT clock_timestamp()"

_RECORD_CLOCK_STEP = (
    b"INSERT INTO ingest.clock_step (account, noticed_at, clock, step_seconds) VALUES ($1, $2, $3, $4) "
    b"ON CONFLICT DO NOTHING"
)


@contextmanager
def within_a_second(connection: psycopg.Connection) -> Iterator[None]:
    """A transaction that must not delay commits. Raises Transient if it would take longer."""
    try:
        with connection.transaction():
            psycopg.RawCursor(connection).execute(_SHORT_DEADLINES)
            yield
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled) as error:
        raise Transient(f"{error.sqlstate}: {error}") from None


class Timekeeping:
    """Keeps the daemon's clock synchronised, and records the detected steps."""

    def __init__(self, account: str, clock: SynchronisedClock) -> None:
        self._account = account
        self._clock = clock
        self._unrecorded: list[tuple[object, ...]] = []
        self._warned = False

    def read(
        self,
        connection: psycopg.Connection,
        statement: bytes = _READ_CLOCK,
        parameters: Sequence[object] = (),
    ) -> None:
        """Run a statement that returns the database's time as its one value.

        Raises:
            Transient: a table is locked, or the database is slow; commits need not wait for it.
            psycopg.Error: as it comes.
        """
        with within_a_second(connection):
            self._read(connection, statement, parameters)
        self._unrecorded.clear()
        self._warn()

    def _read(self, connection: psycopg.Connection, statement: bytes, parameters: Sequence[object]) -> None:
        with psycopg.RawCursor(connection) as cursor:
            sent = self._clock.monotonic()
            row = cursor.execute(statement, parameters).fetchone()
            assert row is not None  # noqa: S101 - both statements return one row
            steps = self._clock.synchronise(row[0], sent, self._clock.monotonic())
            for step in steps:
                log.warning("clock_stepped", clock=step.clock, step_seconds=step.seconds)
                self._unrecorded.append((self._account, self._clock.now(), *step))
            for each in self._unrecorded:
                cursor.execute(_RECORD_CLOCK_STEP, each)

    def _warn(self) -> None:
        offset = self._clock.offset_seconds or 0.0
        large = abs(offset) >= OFFSET_SECONDS
        if large and not self._warned:
            log.warning("clock_offset_large", offset_seconds=offset)
        self._warned = large
