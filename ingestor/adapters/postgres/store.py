"""The store: what the pipeline needs of Postgres, on one connection."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import psycopg
import structlog
from psycopg.types.numeric import Int8Dumper

from ingestor.adapters.postgres import statements, writing
from ingestor.adapters.postgres.account_lock import AccountLock
from ingestor.adapters.postgres.loading import load_state
from ingestor.adapters.postgres.packing import Packer
from ingestor.adapters.postgres.schema import require_schema
from ingestor.adapters.postgres.session import DatabaseSession
from ingestor.adapters.postgres.signals import is_paused
from ingestor.adapters.postgres.timekeeping import Timekeeping
from ingestor.domain.errors import BadConfiguration, WatermarkConflict
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.ports import Heartbeat, SynchronisedClock
from ingestor.pipeline.state import State

log = structlog.get_logger()

_TOUCH = (
    b"WITH touched AS (UPDATE ingest.heartbeat SET pid = pid WHERE account = $1) SELECT pg_current_xact_id()"
)


class PostgresStore:
    """`ports.Store` on one connection. Owned by the writer's thread."""

    def __init__(
        self,
        session: DatabaseSession,
        account: str,
        environment: str,
        software_version: str,
        clock: SynchronisedClock,
    ) -> None:
        self._session = session
        self._account = account
        self._environment = environment
        self._software_version = software_version
        self._clock = clock
        self._timekeeping = Timekeeping(account, clock)
        self._lock = AccountLock(account)
        self._last: writing.Positions = {}
        """Of the last batch that was committed and touched a session: commits are lost from the end."""
        self._found_again = True
        """Whether this connection's server has that batch."""
        self._has_left = False
        """Whether confirmations of a process before may still be pending."""
        self._packer = Packer(account)
        session.prepare = self._prepare
        session.writes = self._touch

    def open(self) -> State:
        """Connect, refuse a schema that is not ours, and load what is needed to go on.

        Raises:
            Transient: the database cannot be reached now.
            SchemaMismatch: missing, older or newer schema.
            BadConfiguration: the account belongs to another environment.
            AccountLockedElsewhere: another process writes the account.
        """
        with self._session.use() as connection:
            now = self._clock.now()
            self._run(connection, statements.REGISTER_ACCOUNT, (self._account, self._environment, now))
            state, environment = load_state(connection, self._account)
            if environment != self._environment:
                raise BadConfiguration(
                    f"account {self._account!r} in this database belongs to environment {environment!r}, but "
                    f"hub.environment is {self._environment!r}. Numbers of two environments must not mix: "
                    "name another account (setting account) or use another database"
                )
            self._run(connection, statements.END_LEFT_REQUESTS, (self._account, now))
            lax = [name for (name,) in self._run(connection, statements.NOT_DURABLE, ())]
        self._last, self._has_left = {}, True
        if lax:
            log.warning("commits_not_durable", settings=lax)
        return state

    def write(self, batch: Batch) -> None:
        """Commit a batch. With the first one, what was pending before is abandoned: not earlier, because that
        one has the gap without which the stream would be called confirmed.

        Raises:
            RowRejected: a value is rejected; nothing was written.
            WatermarkConflict: a session or stream stands elsewhere than assumed; nothing was written.
            OutcomeUnknown: the connection died; the batch may have been committed: see `holds`.
            TooSlow: a deadline has passed, of a statement or (`DeadlineCut`) of the transaction.
            Transient: nothing was written; the same batch may be written again.
            Fatal: see its text.
        """
        with self._session.use() as connection:
            self._find_last(connection)
            if self._has_left:
                with connection.transaction():
                    left = (self._account, self._clock.now())
                    self._run(connection, statements.ABANDON_CONFIRMATIONS, left)
                    writing.write(connection, self._account, batch)
            else:
                writing.write(connection, self._account, batch)
        self._last, self._has_left = writing.positions(batch) or self._last, False

    def prepare(self, batch: Batch) -> None:
        """Do as much of `write` as needs no connection, while that writes the batch before."""
        writing.prepare(self._packer, batch)

    def holds(self, batch: Batch) -> bool:
        """Whether a batch whose outcome was unknown has been committed. Raises as `write` does.

        One that neither begins nor advances a session is rows that may be written twice: False.
        """
        wanted = writing.positions(batch)
        if not wanted:
            return False
        with self._session.use() as connection:
            stored = writing.have_reached(connection, self._account, wanted)
        if stored:
            self._last, self._has_left = wanted, False
        return stored

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write the heartbeat, and read the database's clock with it. Raises as `write` does.

        Takes little more than a second, whoever has locked the table: commits need not wait for it.
        """
        given = {
            **asdict(heartbeat),
            "account": self._account,
            "software_version": self._software_version,
        }
        with self._session.use() as connection:
            self._find_last(connection)
            values = [given[name] for name in statements.HEARTBEAT_VALUES]
            self._timekeeping.read(connection, statements.HEARTBEAT, values)

    def paused(self) -> bool:
        """Whether an operator has paused the account. Takes little more than a second, as `heartbeat` does,
        and raises as that."""
        with self._session.use() as connection:
            return is_paused(connection, self._account)

    @property
    def guard_turned_at(self) -> float:
        """Monotonic time at which the deadline guard last came round."""
        return self._session.guard_turned_at

    def guarded(self) -> bool:
        """Whether a database that hangs would be noticed."""
        return self._session.guarded()

    def close(self) -> None:
        """Let the connection go."""
        self._session.close()

    # --- the connection ---

    def _prepare(self, connection: psycopg.Connection) -> None:
        """Once for each new connection: nothing that the last one knew holds for it."""
        require_schema(connection)
        connection.prepare_threshold = 0
        # Else a statement is prepared again for each size of each number.
        connection.adapters.register_dumper(int, Int8Dumper)
        self._lock.hold(connection)
        self._timekeeping.read(connection)
        self._found_again = not self._last

    def _find_last(self, connection: psycopg.Connection) -> None:
        """Once for each new connection. What a session's own guard cannot see is the loss of its end."""
        if self._found_again:
            return
        if not writing.have_reached(connection, self._account, self._last):
            raise WatermarkConflict("the server has lost commits that it had acknowledged")
        self._found_again = True

    def _touch(self, connection: psycopg.Connection) -> None:
        """What a heartbeat needs of the server, triggers and a transaction id included; changes nothing."""
        self._run(connection, _TOUCH, (self._account,))

    def _run(
        self, connection: psycopg.Connection, statement: bytes, parameters: Sequence[object]
    ) -> psycopg.Cursor[Any]:
        return psycopg.RawCursor(connection).execute(statement, parameters)
