"""A database session for whoever needs one: made by `connecting`, replaced when it may be broken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from ingestor.adapters.postgres.connecting import Address, Connector, DatabaseTiming, backend_pid
from ingestor.adapters.postgres.deadline import DeadlineGuard
from ingestor.adapters.postgres.failures import (
    PREPARED,
    ConnectionFailed,
    at_write,
    blames_row_or_server,
    ends_session,
    transaction_pooling,
)
from ingestor.domain.errors import RowRejected, Transient
from ingestor.pipeline.ports import Clock

_REPEATS = 3
"""The same error so often in a row, whatever it is, ends the session."""


class DatabaseSession:
    """At most one connection at a time, for one thread at a time.

    Args:
        address: asked at each connect.
        timing: its `transaction_seconds` is the most that one `use` may take.
        reads_only: where no host takes writes, one that takes none will do.
    """

    def __init__(
        self,
        address: Address,
        timing: DatabaseTiming,
        clock: Clock,
        *,
        application_name: str = "hercle-ingestor",
        reads_only: bool = False,
    ) -> None:
        self._connect_seconds = timing.connect_seconds
        self._guard = DeadlineGuard(timing.transaction_seconds, clock)
        self._connector = Connector(
            address, timing, application_name, self._guard, clock, reads_only=reads_only
        )
        self._engine = create_engine("postgresql+psycopg://", poolclass=NullPool, creator=self._take)
        self._raw: psycopg.Connection | None = None
        self._connection: Connection | None = None
        """SQLAlchemy's, around `_raw`."""
        self._backend = 0
        self._pooled = False
        self._prepared = False
        self._ever_connected = False
        self._state: str | None = None
        self._repeats = 0
        self.prepare: Callable[[Connection], None] | None = None
        """Called for each new connection before its first use. Where it raises, it is called again."""
        self.writes: Callable[[Connection], object] | None = None
        """Makes a small write that changes no data, to tell a fault of the server from one of a row."""

    @contextmanager
    def use(self) -> Iterator[Connection]:
        """The live connection, in autocommit; every error of the block becomes one of ours.

        Raises:
            Transient: no session, or nothing was done; the same may be tried again.
            OutcomeUnknown: the session died in the block.
            CredentialRefused, BadConfiguration: the first session of all could not be made for a lasting
                reason. Once there has been one, that is Transient too: the server may be right again soon.
            IngestorError: see `failures`.
        """
        connection, raw = self._live()
        try:
            with self._guard.watch(raw):
                self._check(connection, raw)
                yield connection
        except (psycopg.Error, DBAPIError, UnicodeError, OverflowError) as raised:
            error = raised.orig if isinstance(raised, DBAPIError) else raised
            raise self._translated(error, connection, raw) from None
        self._state = None

    def drop(self) -> None:
        """Let the connection go; the next use makes a new one."""
        if self._raw is not None:
            self._raw.close()
            self._raw = None
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.invalidate()
            connection.close()

    @property
    def guard_turned_at(self) -> float:
        """Monotonic time at which the deadline guard last came round."""
        return self._guard.turned_at

    def guarded(self) -> bool:
        """Whether a database that hangs would be noticed."""
        return self._guard.alive()

    def close(self) -> None:
        """Let the connection go, for good."""
        self._guard.close()
        self.drop()
        self._engine.dispose()

    def _live(self) -> tuple[Connection, psycopg.Connection]:
        if self._raw is not None and self._raw.closed:
            self.drop()
        if self._connection is None or self._raw is None:
            return self._connected()
        return self._connection, self._raw

    def _connected(self) -> tuple[Connection, psycopg.Connection]:
        raw = self._raw = self._new()
        self._prepared = False
        try:
            with self._guard.watch(raw, self._connect_seconds):
                self._backend = backend_pid(raw)
                connection = self._connection = self._engine.connect().execution_options(
                    isolation_level="AUTOCOMMIT"
                )
        except (psycopg.Error, DBAPIError) as error:
            raw.close()
            raise Transient(f"the connection was lost: {error}") from None
        self._pooled = self._backend != raw.info.backend_pid
        self._ever_connected = True
        return connection, raw

    def _new(self) -> psycopg.Connection:
        try:
            return self._connector.connect()
        except ConnectionFailed as error:
            if error.lasting is not None and not self._ever_connected:
                raise error.lasting from None
            raise

    def _take(self) -> psycopg.Connection:
        """For SQLAlchemy, which has a connection made whenever it wants one."""
        assert self._raw is not None  # noqa: S101 - only `_connected` has it want one
        return self._raw

    def _check(self, connection: Connection, raw: psycopg.Connection) -> None:
        if self._pooled and backend_pid(raw) != self._backend:
            raise transaction_pooling()
        if not self._prepared and self.prepare is not None:
            self.prepare(connection)
        self._prepared = True

    def _translated(
        self, error: BaseException | None, connection: Connection, raw: psycopg.Connection
    ) -> Exception:
        broken, cut = raw.closed, self._guard.has_cut
        if not broken and raw.info.transaction_status != TransactionStatus.IDLE:
            with self._guard.watch(raw):
                broken = not _rolled_back(raw)
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        self._repeats = self._repeats + 1 if state is not None and state == self._state else 1
        self._state = state
        if not broken and blames_row_or_server(error) and self._takes_writes(connection):
            return RowRejected(" ".join(str(error).split()))
        if self._pooled and state in PREPARED:
            return transaction_pooling(" ".join(str(error).split()))
        ours = at_write(error, broken=broken, cut=broken and cut, repeats=self._repeats)
        if broken or self._repeats >= _REPEATS or ends_session(state, ours):
            self.drop()
        return ours

    def _takes_writes(self, connection: Connection) -> bool:
        if self.writes is None:
            return False
        try:
            with self._guard.watch(driver(connection)):
                self.writes(connection)
        except (psycopg.Error, DBAPIError):
            return False
        return True


def driver(connection: Connection) -> psycopg.Connection:
    """psycopg's connection below SQLAlchemy's."""
    below = connection.connection.driver_connection
    assert isinstance(below, psycopg.Connection)  # noqa: S101 - the engine's dialect is psycopg
    return below


def _rolled_back(raw: psycopg.Connection) -> bool:
    try:
        raw.rollback()
    except psycopg.Error:
        return False
    return not raw.closed
