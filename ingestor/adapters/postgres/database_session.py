"""A database session: opened by `connecting`, replaced when it may be broken."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg.pq import TransactionStatus

from ingestor.adapters.postgres.connecting import Address, Connector, DatabaseTiming, backend_pid
from ingestor.adapters.postgres.deadline import DeadlineGuard
from ingestor.adapters.postgres.failures import (
    PREPARED,
    ConnectionFailed,
    at_write,
    blames_row_or_server,
    ends_database_session,
    transaction_pooling,
)
from ingestor.domain.errors import RowRejected, Transient
from ingestor.pipeline.ports import Clock

_REPEATS = 3
"""How often the same error may occur in a row before the database session is replaced."""


class DatabaseSession:
    """At most one connection at a time, for one thread at a time.

    Args:
        address: read at each connect.
        timing: its `transaction_seconds` is the longest time of one `use`.
        reads_only: if no host accepts writes, use one that can be read.
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
        self._connection: psycopg.Connection | None = None
        self._backend = 0
        self._pooled = False
        self._prepared = False
        self._ever_connected = False
        self._state: str | None = None
        self._repeats = 0
        self.prepare: Callable[[psycopg.Connection], None] | None = None
        """Called for each new connection before its first use; again at the next use if it raised."""
        self.writes: Callable[[psycopg.Connection], object] | None = None
        """Writes without changing data, to distinguish a fault of the server from one of a row."""

    @contextmanager
    def use(self) -> Iterator[psycopg.Connection]:
        """The connection, in autocommit; database errors of the block are raised as errors of
        `domain.errors`.

        Raises:
            Transient: there is no database session, or nothing was done; try again.
            OutcomeUnknown: the database session was lost in the block.
            CredentialRefused, BadConfiguration: the first could not be opened for a lasting
                reason. After a first one, that is Transient too, because it may be temporary.
            IngestorError: see `failures`.
        """
        connection = self._live()
        try:
            with self._guard.watch(connection):
                self._check(connection)
                yield connection
        except (psycopg.Error, UnicodeError, OverflowError) as error:
            raise self._translated(error, connection) from None
        self._state = None

    def drop(self) -> None:
        """Close the connection; the next use opens a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def guard_turned_at(self) -> float:
        """Monotonic time of the last turn of the deadline guard."""
        return self._guard.turned_at

    def guarded(self) -> bool:
        """Whether the deadline guard works, which detects a database that hangs."""
        return self._guard.alive()

    def close(self) -> None:
        """Close the connection and end the deadline guard."""
        self._guard.close()
        self.drop()

    def _live(self) -> psycopg.Connection:
        if self._connection is None or self._connection.closed:
            self._connection = self._connected()
        return self._connection

    def _connected(self) -> psycopg.Connection:
        connection = self._new()
        self._prepared = False
        try:
            with self._guard.watch(connection, self._connect_seconds):
                self._backend = backend_pid(connection)
        except psycopg.Error as error:
            connection.close()
            raise Transient(f"the connection was lost: {error}") from None
        self._pooled = self._backend != connection.info.backend_pid
        self._ever_connected = True
        return connection

    def _new(self) -> psycopg.Connection:
        try:
            return self._connector.connect()
        except ConnectionFailed as error:
            if error.lasting is not None and not self._ever_connected:
                raise error.lasting from None
            raise

    def _check(self, connection: psycopg.Connection) -> None:
        if self._pooled and backend_pid(connection) != self._backend:
            raise transaction_pooling()
        if not self._prepared and self.prepare is not None:
            self.prepare(connection)
        self._prepared = True

    def _translated(self, error: Exception, connection: psycopg.Connection) -> Exception:
        broken, cut = connection.closed, self._guard.has_cut
        if not broken and connection.info.transaction_status != TransactionStatus.IDLE:
            with self._guard.watch(connection):
                broken = not _rolled_back(connection)
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        self._repeats = self._repeats + 1 if state is not None and state == self._state else 1
        self._state = state
        if not broken and blames_row_or_server(error) and self._takes_writes(connection):
            return RowRejected(" ".join(str(error).split()))
        if self._pooled and state in PREPARED:
            return transaction_pooling(" ".join(str(error).split()))
        ours = at_write(error, broken=broken, cut=broken and cut, repeats=self._repeats)
        if broken or self._repeats >= _REPEATS or ends_database_session(state, ours):
            self.drop()
        return ours

    def _takes_writes(self, connection: psycopg.Connection) -> bool:
        if self.writes is None:
            return False
        try:
            with self._guard.watch(connection):
                self.writes(connection)
        except psycopg.Error:
            return False
        return True


def _rolled_back(connection: psycopg.Connection) -> bool:
    try:
        connection.rollback()
    except psycopg.Error:
        return False
    return not connection.closed
