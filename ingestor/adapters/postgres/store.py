"""The store: implements the pipeline's interface to Postgres, on one connection."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from typing import Any

import psycopg
import structlog
from psycopg.types.numeric import Int8Dumper

from ingestor.adapters.postgres import writing
from ingestor.adapters.postgres.account_lock import AccountLock
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.loading import load_state
from ingestor.adapters.postgres.packing import Packer
from ingestor.adapters.postgres.schema import require_schema
from ingestor.adapters.postgres.signals import is_paused
from ingestor.adapters.postgres.timekeeping import Timekeeping
from ingestor.domain.errors import BadConfiguration, WatermarkConflict
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.ports import Heartbeat, SynchronisedClock
from ingestor.pipeline.state import State

log = structlog.get_logger()

REGISTER_ACCOUNT = (
    b"INSERT INTO ingest.account (account, environment, created_at) VALUES ($1, $2, $3) "
    b"ON CONFLICT DO NOTHING"
)

_ABANDON_CONFIRMATIONS = (
    b"UPDATE ingest.confirmation SET resolution = 'abandoned', resolved_at = greatest(raised_at, $2), "
    b"resolution_recorded_at = now() "
    b"WHERE account = $1 AND resolution IS NULL"
)

_END_LEFT_REQUESTS = (
    b"UPDATE ingest.request SET outcome = 'link_lost', ended_at = greatest(requested_at, $2), "
    b"end_recorded_at = now() "
    b"WHERE account = $1 AND outcome IS NULL AND requested_at >= ("
    b"SELECT least(max(requested_at), $2) - interval '1 day' FROM ingest.request WHERE account = $1)"
)
"""Only those of the last day, which the primary key finds: requests end within their deadline, and are stored
in order. That day ends with the newest request, or now if a clock that was ahead has stamped it. An index of
open requests would have to be written twice for each request."""

_NOT_DURABLE = (
    b"SELECT name FROM unnest(ARRAY['synchronous_commit', 'fsync', 'full_page_writes']) AS s (name) "
    b"WHERE current_setting(name) = 'off'"
)
"""The settings with which a crash of the server loses commits that it has acknowledged."""

HEARTBEAT_VALUES = ("account", "software_version", *(field.name for field in fields(Heartbeat)))

_HEARTBEAT = (
    f"INSERT INTO ingest.heartbeat (heartbeat_at, {', '.join(HEARTBEAT_VALUES)}) "  # noqa: S608 - our own names
    f"VALUES (clock_timestamp(), {', '.join(f'${number}' for number, _ in enumerate(HEARTBEAT_VALUES, 1))}) "
    "ON CONFLICT (account) DO UPDATE SET heartbeat_at = excluded.heartbeat_at, "
    + ", ".join(f"{name} = excluded.{name}" for name in HEARTBEAT_VALUES[1:])
    + " RETURNING heartbeat_at"
).encode()
"""Uses the database's clock, and returns its time."""

_TOUCH = (
    b"WITH touched AS (UPDATE ingest.heartbeat SET pid = pid WHERE account = $1) SELECT pg_current_xact_id()"
)


class PostgresStore:
    """`ports.Store` on one connection. Owned by the writer's thread."""

    def __init__(
        self,
        database: DatabaseSession,
        account: str,
        environment: str,
        software_version: str,
        clock: SynchronisedClock,
    ) -> None:
        self._database = database
        self._account = account
        self._environment = environment
        self._software_version = software_version
        self._clock = clock
        self._timekeeping = Timekeeping(account, clock)
        self._lock = AccountLock(account)
        self._last: writing.Positions = {}
        """Of the last committed batch that changed a session; if a server loses commits, it loses the last
        ones."""
        self._last_batch_found = True
        """Whether the server of this connection is known to have that batch."""
        self._has_left = False
        """Whether confirmations of an earlier process may still be pending."""
        self._packer = Packer(account)
        database.prepare = self._prepare
        database.writes = self._write_without_change

    def open(self) -> State:
        """Connect, check the schema, and load the state from which to resume.

        Raises:
            Transient: the database cannot be reached now.
            SchemaMismatch: missing, older or newer schema.
            BadConfiguration: the account belongs to another environment.
            AccountLockedElsewhere: another process writes the account.
        """
        with self._database.use() as connection:
            now = self._clock.now()
            self._run(connection, REGISTER_ACCOUNT, (self._account, self._environment, now))
            state, environment = load_state(connection, self._account)
            if environment != self._environment:
                raise BadConfiguration(
                    f"account {self._account!r} in this database belongs to environment {environment!r}, but "
                    f"hub.environment is {self._environment!r}\n"
                    "why: numbers of two environments must not be mixed\n"
                    "fix: choose another name (the setting account), or another database"
                )
            self._run(connection, _END_LEFT_REQUESTS, (self._account, now))
            lax = [name for (name,) in self._run(connection, _NOT_DURABLE, ())]
        self._last, self._has_left = {}, True
        if lax:
            log.warning("commits_not_durable", settings=lax)
        return state

    def write(self, batch: Batch) -> None:
        """Commit a batch. With the first one, what was pending before is abandoned: not earlier, because that
        one has the gap without which the stream would be called confirmed.

        Raises:
            RowRejected: a value is rejected; nothing was written.
            WatermarkConflict: the position of a session or stream is not the expected one; nothing was
                written.
            OutcomeUnknown: the connection was lost; the batch may have been committed: see `holds`.
            TooSlow: a deadline has passed, of a statement or (`DeadlineCut`) of the transaction.
            Transient: nothing was written; the same batch may be written again.
            Fatal: see its text.
        """
        with self._database.use() as connection:
            self._require_last_batch(connection)
            if self._has_left:
                with connection.transaction():
                    left = (self._account, self._clock.now())
                    self._run(connection, _ABANDON_CONFIRMATIONS, left)
                    writing.write(connection, self._account, batch)
            else:
                writing.write(connection, self._account, batch)
        self._last, self._has_left = writing.positions(batch) or self._last, False

    def prepare(self, batch: Batch) -> None:
        """Encode the batch for `write`, while the connection is used for the batch before."""
        writing.prepare(self._packer, batch)

    def holds(self, batch: Batch) -> bool:
        """Whether a batch whose outcome was unknown has been committed. Raises as `write` does.

        False for a batch that neither begins nor advances a session, because its rows may be written twice.
        """
        wanted = writing.positions(batch)
        if not wanted:
            return False
        with self._database.use() as connection:
            stored = writing.have_reached(connection, self._account, wanted)
        if stored:
            self._last, self._has_left = wanted, False
        return stored

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Write the heartbeat, and read the database's clock with it. Raises as `write` does.

        Takes little more than a second, also if the table is locked, so that commits do not wait for it.
        """
        given = {
            **asdict(heartbeat),
            "account": self._account,
            "software_version": self._software_version,
        }
        with self._database.use() as connection:
            self._require_last_batch(connection)
            values = [given[name] for name in HEARTBEAT_VALUES]
            self._timekeeping.read(connection, _HEARTBEAT, values)

    def paused(self) -> bool:
        """Whether an operator has paused the account. Takes no longer than `heartbeat`, and raises the
        same."""
        with self._database.use() as connection:
            return is_paused(connection, self._account)

    @property
    def guard_turned_at(self) -> float:
        """Monotonic time of the last turn of the deadline guard."""
        return self._database.guard_turned_at

    def guarded(self) -> bool:
        """Whether the deadline guard works, which detects a database that hangs."""
        return self._database.guarded()

    def close(self) -> None:
        """Close the connection."""
        self._database.close()

    # --- the connection ---

    def _prepare(self, connection: psycopg.Connection) -> None:
        """Called once for each new connection, which has none of the last one's settings and locks."""
        require_schema(connection)
        connection.prepare_threshold = 0
        # Otherwise a statement would be prepared for each size of each number.
        connection.adapters.register_dumper(int, Int8Dumper)
        self._lock.hold(connection)
        self._timekeeping.read(connection)
        self._last_batch_found = not self._last

    def _require_last_batch(self, connection: psycopg.Connection) -> None:
        """Once for each new connection: check that the last batch is stored. The guard of a new hub session
        could not detect that the end of an earlier one is lost."""
        if self._last_batch_found:
            return
        if not writing.have_reached(connection, self._account, self._last):
            raise WatermarkConflict("the server has lost commits that it had acknowledged")
        self._last_batch_found = True

    def _write_without_change(self, connection: psycopg.Connection) -> None:
        """Write like a heartbeat, with triggers and a transaction id, but without a change."""
        self._run(connection, _TOUCH, (self._account,))

    def _run(
        self, connection: psycopg.Connection, statement: bytes, parameters: Sequence[object]
    ) -> psycopg.Cursor[Any]:
        return psycopg.RawCursor(connection).execute(statement, parameters)
