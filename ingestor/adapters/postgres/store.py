"""Batches into Postgres: one transaction each, all or nothing.

A usual batch is one statement, and so one message and one answer. Where something rare belongs to it, its
statements are sent at once (libpq's pipeline mode); many rows go by COPY in between. The guards are among
them: one that does not hold raises inside the server, and nothing of the batch stays. So there is no question
to ask before writing.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import psycopg
from msgspec import Struct
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from ingestor.adapters.postgres import packing, parts, statements
from ingestor.adapters.postgres.account_lock import AccountLock
from ingestor.adapters.postgres.deadline import DeadlineGuard
from ingestor.adapters.postgres.failures import DatabaseUnavailable, at_connect, at_write
from ingestor.adapters.postgres.loading import load_books, load_streams, require_schema
from ingestor.adapters.postgres.packing import Packed, Packer, as_json
from ingestor.adapters.postgres.parts import Changes
from ingestor.domain.errors import BadConfiguration
from ingestor.domain.streams import StreamKey
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.books import Books, Stream
from ingestor.pipeline.ports import Beat, Clock


class PostgresStore:
    """`ports.Store` on one connection. Owned by the writer's thread."""

    def __init__(
        self,
        engine: Engine,
        account: str,
        environment: str,
        software_version: str,
        transaction_seconds: float,
        clock: Clock,
    ) -> None:
        self._engine = engine
        self._account = account
        self._environment = environment
        self._software_version = software_version
        self._clock = clock
        self._packer = Packer(account)
        self._lock = AccountLock(account)
        self._guard = DeadlineGuard(transaction_seconds, clock)
        self._connection: Connection | None = None

    def open(self) -> Books:
        """Connect, refuse a schema that is not ours, and load what is needed to go on.

        Raises:
            Transient: the database cannot be reached now.
            SchemaMismatch: missing, older or newer schema.
            BadConfiguration: the account belongs to another environment.
            AccountTaken: another process writes the account.
        """
        with self._translated() as connection:
            require_schema(connection)
            now = self._clock.now()
            self._run(connection, statements.REGISTER_ACCOUNT, (self._account, self._environment, now))
            books, environment = load_books(connection, self._account)
            if environment != self._environment:
                raise BadConfiguration(
                    f"account {self._account!r} in this database belongs to environment {environment!r}, but "
                    f"hub.environment is {self._environment!r}. Numbers of two environments must not mix: "
                    "name another account (setting account) or use another database"
                )
            self._run(connection, statements.ABANDON_DOUBTS, (now, self._account))
            self._run(connection, statements.SETTLE_LEFT_COMMANDS, (now, self._account))
            return books

    def streams(self) -> dict[StreamKey, Stream]:
        """Where the streams stand now; changes nothing. Raises as `open` does."""
        with self._translated() as connection:
            return load_streams(connection, self._account)

    def write(self, batch: Batch) -> None:
        """Commit a batch.

        Raises:
            DataRefused: a value is refused; nothing was written.
            StateMoved: a session or stream stands elsewhere than the batch assumes; nothing was written.
            OutcomeUnknown: the connection died; the batch may have been committed: see `holds`.
            Transient: nothing was written; the same batch may be written again.
            Fatal: see its text.
        """
        with self._translated() as connection:
            raw = self._raw(connection)
            with psycopg.RawCursor(raw) as cursor:
                if not parts.is_large(batch):
                    self._write_at_once(raw, cursor, batch)
                    return
                # COPY cannot travel in a pipeline: some round trips more, which a large batch pays for.
                with raw.pipeline():
                    self._begin(cursor, batch)
                    self._execute(cursor, (parts.progress(batch),), ())
                for packed in batch.packed or self._packed(batch):
                    with cursor.copy(packed.statement) as copy:
                        copy.write(packed.data)
                with raw.pipeline():
                    self._execute(cursor, parts.watermarks(batch), parts.rare_rows(batch))
                    self._end(cursor, batch)

    def pack(self, batch: Batch) -> None:
        """Do as much of `write` as needs no connection: while that writes the batch before.

        A value that cannot be packed is left for `write` to meet.
        """
        if parts.is_large(batch):
            with suppress(psycopg.Error, UnicodeError, OverflowError):
                batch.packed = self._packed(batch)

    def holds(self, batch: Batch) -> bool:
        """Whether a batch whose outcome was unknown has been committed."""
        if not batch.progress:
            return False  # only facts, and those are written so that twice is as good as once
        with self._translated() as connection:
            asked = (self._account, list(batch.progress))
            rows = self._run(connection, statements.COMMITTED, asked).fetchall()
        committed: dict[UUID, int] = dict(rows)
        return all(
            committed.get(session, 0) >= progress.last_ordinal for session, progress in batch.progress.items()
        )

    def beat(self, beat: Beat) -> None:
        """Record that the writer turns. Raises as `write` does."""
        with self._translated() as connection:
            self._run(
                connection,
                statements.BEAT,
                (
                    self._account,
                    beat.process_id,
                    beat.pid,
                    beat.host,
                    self._software_version,
                    beat.started_at,
                    beat.beat_at,
                    beat.link_state,
                    beat.link_obstacle,
                    beat.last_heard_at,
                    beat.inbox_records,
                    beat.inbox_bytes,
                    beat.balances_interval,
                    beat.pairs_interval,
                    beat.stopped_at,
                ),
            )

    def guarded(self) -> bool:
        """Whether a database that hangs would be noticed."""
        return self._guard.alive()

    def close(self) -> None:
        """Let the connection go."""
        self._guard.close()
        self._drop()

    # --- the rows ---

    def _write_at_once(self, raw: psycopg.Connection, cursor: psycopg.Cursor[Any], batch: Batch) -> None:
        """One statement, which is a transaction by itself, unless something rare has happened."""
        guarded = (parts.progress(batch), *parts.watermarks(batch))
        rows = (*parts.event_rows(batch), *parts.rare_rows(batch))
        if not (batch.opened or batch.gaps or batch.closed):
            self._execute(cursor, guarded, rows)
            return
        with raw.pipeline():
            self._begin(cursor, batch)
            self._execute(cursor, guarded, rows)
            self._end(cursor, batch)

    def _begin(self, cursor: psycopg.Cursor[Any], batch: Batch) -> None:
        cursor.execute("BEGIN")
        for opened in batch.opened:
            cursor.execute(
                statements.OPEN_SESSION,
                (
                    self._account,
                    opened.session,
                    opened.opened_at,
                    opened.url,
                    opened.attempts,
                    list(opened.obstacles),
                    self._software_version,
                ),
            )

    def _execute(
        self, cursor: psycopg.Cursor[Any], guarded: Sequence[Changes], rows: Sequence[Sequence[Struct]]
    ) -> None:
        """All of these in one statement, if there are any."""
        guarded = [each for each in guarded if each.rows]
        rows = [each for each in rows if each]
        if not guarded and not rows:
            return
        statement = statements.at_once(
            tuple(changes.change for changes in guarded), tuple(type(each[0]) for each in rows)
        )
        given = [as_json(each) for each in (*(changes.rows for changes in guarded), *rows)]
        cursor.execute(statement, (self._account, *given, *(len(changes.rows) for changes in guarded)))

    def _packed(self, batch: Batch) -> list[Packed]:
        return [self._packer.table(rows) for rows in parts.event_rows(batch) if rows]

    def _end(self, cursor: psycopg.Cursor[Any], batch: Batch) -> None:
        """Write what ends with this batch, and commit."""
        for gap in batch.gaps.values():
            cursor.execute(statements.WRITE_GAP, (self._account, *parts.gap_values(gap)))
        for closed in batch.closed:
            cursor.execute(
                statements.CLOSE_SESSION,
                (
                    closed.closed_at,
                    closed.last_heard_at,
                    closed.received,
                    closed.end.value,
                    closed.cause,
                    closed.detail,
                    self._account,
                    closed.session,
                ),
            )
        cursor.execute("COMMIT")

    # --- the connection ---

    @contextmanager
    def _translated(self) -> Iterator[Connection]:
        """The live connection, with every error turned into one of ours, and a broken link dropped."""
        connection = self._connect()
        raw = self._raw(connection)
        try:
            with self._guard.watch(raw):
                self._lock.hold(raw)
                yield connection
        except (psycopg.Error, DBAPIError, UnicodeError, OverflowError) as raised:
            error = raised.orig if isinstance(raised, DBAPIError) else raised
            broken = raw.closed
            if not broken and raw.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                with self._guard.watch(raw):
                    broken = not _rolled_back(raw)
            if broken:
                self._drop()
            raise at_write(error, broken=broken) from None

    def _connect(self) -> Connection:
        if self._connection is not None:
            if not self._raw(self._connection).closed:
                return self._connection
            self._drop()
        try:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        except DBAPIError as error:
            if isinstance(error.orig, psycopg.Error):
                raise at_connect(error.orig) from None
            raise DatabaseUnavailable(f"the database cannot be reached: {error.orig}", 69) from None
        raw = self._raw(self._connection)
        packing.prepare(raw)
        raw.prepare_threshold = 0
        return self._connection

    def _run(
        self, connection: Connection, statement: bytes, parameters: Sequence[object]
    ) -> psycopg.Cursor[Any]:
        return psycopg.RawCursor(self._raw(connection)).execute(statement, parameters)

    def _raw(self, connection: Connection) -> psycopg.Connection:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)  # noqa: S101 - the engine's dialect is psycopg
        return driver

    def _drop(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            connection.invalidate()
            connection.close()


def _rolled_back(raw: psycopg.Connection) -> bool:
    try:
        raw.rollback()
    except psycopg.Error:
        return False
    return not raw.closed
