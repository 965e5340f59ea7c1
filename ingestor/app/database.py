"""Finds or starts the configured database, and opens database sessions."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import psycopg

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.embedded_postgres import EmbeddedPostgres, address_of_running, has_data
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.failures import ConnectionFailed
from ingestor.adapters.postgres.reading import rows
from ingestor.adapters.postgres.roles import roles_sql
from ingestor.adapters.postgres.schema import SchemaState, schema_state
from ingestor.config import EmbeddedDatabase, ExternalDatabase, Settings, database_target
from ingestor.domain.errors import BadConfiguration, Transient

DATABASE_NAME = "ingestor"


@contextmanager
def database(settings: Settings) -> Iterator[Callable[[], str]]:
    """A function that returns the URL of the configured database, to be called at each connect.

    An operator's database is upgraded by `ingestor db upgrade` only; its password is read again each time. A
    private Postgres runs as long as the block, and is started again if it dies; its schema is upgraded here.
    """
    match database_target(settings):
        case ExternalDatabase() as target:
            yield lambda: _url_now(target)
        case EmbeddedDatabase(directory):
            with EmbeddedPostgres(directory) as server:
                upgrade_database(server.ensure_database(DATABASE_NAME))
                yield lambda: server.start().url(DATABASE_NAME)


def _url_now(target: ExternalDatabase) -> str:
    try:
        return target.url
    except BadConfiguration as error:  # for example a password file that is just being replaced
        raise ConnectionFailed(str(error), error) from None


ROLES_SQL = roles_sql()

NOT_MADE_YET = "`ingestor run` or `ingestor db upgrade` creates it"


def made(target: ExternalDatabase | EmbeddedDatabase) -> bool:
    """False only for a private Postgres that has not been started yet."""
    return isinstance(target, ExternalDatabase) or has_data(target.directory)


def existing_database(settings: Settings) -> AbstractContextManager[str]:
    """The URL of the configured database, without creating or upgrading anything.

    A private Postgres that does not run is started for the time of the block.

    Raises:
        Transient: there is no private Postgres yet.
    """
    target = database_target(settings)
    if isinstance(target, EmbeddedDatabase) and not made(target):
        raise Transient(
            f"there is no private Postgres in {target.directory}\n"
            "why: it has not been created yet\n"
            f"fix: {NOT_MADE_YET}"
        )
    return _running(target, make=False)


def upgrade_configured(settings: Settings) -> SchemaState:
    """Upgrade the configured database; create a private one if it is missing.

    Returns:
        The state of the schema before.
    """
    with _running(database_target(settings), make=True) as url:
        return upgrade_database(url)


@contextmanager
def _running(target: ExternalDatabase | EmbeddedDatabase, *, make: bool) -> Iterator[str]:
    """The database's URL, while its server runs; with `make` a missing private one is created."""
    match target:
        case ExternalDatabase():
            yield target.url
        case EmbeddedDatabase(directory):
            running = address_of_running(directory, DATABASE_NAME)
            if running is not None:
                yield running
                return
            with EmbeddedPostgres(directory) as server:
                yield server.ensure_database(DATABASE_NAME) if make else server.url(DATABASE_NAME)


def database_timing(settings: Settings) -> DatabaseTiming:
    """The settings `[database]` as a database session needs them."""
    timing = settings.database
    return DatabaseTiming(
        connect_seconds=timing.connect_deadline_seconds,
        lock_seconds=timing.lock_deadline_seconds,
        statement_seconds=timing.statement_deadline_seconds,
        transaction_seconds=timing.transaction_deadline_seconds,
    )


_UPGRADE = DatabaseTiming(lock_seconds=60, statement_seconds=600, transaction_seconds=600)


def upgrade_database(url: str) -> SchemaState:
    """Upgrade the schema at this address; returns its state before."""
    from ingestor.adapters.postgres.migrate import upgrade  # noqa: PLC0415 - with all of Alembic

    with connect_url(url, _UPGRADE) as connection:
        return upgrade(connection)


def apply_roles(settings: Settings) -> list[str]:
    """Create the roles of the configured database and grant their privileges; returns the server's warnings.

    Raises:
        BadConfiguration: the role may not create roles.
    """
    warnings = list[str]()
    with connect(settings, _UPGRADE) as connection:
        connection.add_notice_handler(
            lambda notice: (
                warnings.append(notice.message_primary or "") if notice.sqlstate == _WARNING else None
            )
        )
        connection.execute(ROLES_SQL.encode())
    return warnings


_WARNING = "01000"


def schema(settings: Settings) -> SchemaState:
    """The state of the configured database's schema. Raises as `connect`."""
    with connect(settings, reads_only=True) as connection:
        return schema_state(connection)


_USUAL = DatabaseTiming()


@contextmanager
def connect(
    settings: Settings, timing: DatabaseTiming = _USUAL, *, reads_only: bool = False
) -> Iterator[psycopg.Connection]:
    """A connection to the configured database, which must exist: see `existing_database`.

    Raises:
        Transient: the database cannot be reached now.
        CredentialRefused: it refuses the role or the password.
        BadConfiguration: it cannot be used with these settings.
    """
    with existing_database(settings) as url, connect_url(url, timing, reads_only=reads_only) as connection:
        yield connection


@contextmanager
def connect_url(
    url: str, timing: DatabaseTiming = _USUAL, *, reads_only: bool = False
) -> Iterator[psycopg.Connection]:
    """A connection to this URL for one block, with the daemon's settings and errors; raises as `connect`.

    Args:
        reads_only: if no host accepts writes, use one that can be read.
    """
    database_session = DatabaseSession(url, timing, DatabaseClock(), reads_only=reads_only)
    try:
        with database_session.use() as connection:
            yield connection
    finally:
        database_session.close()


def require_account(
    connection: psycopg.Connection, account: str, schema: Literal["ingest", "report"]
) -> None:
    """Raise BadConfiguration if the database has no such account, so that a mistyped name does not look like
    an account without rows.

    Args:
        schema: where the role may read the table or view `account`.
    """
    query = f"SELECT account FROM {schema}.account ORDER BY 1"  # noqa: S608 - one of two words
    known = [name for (name,) in rows(connection, query)]
    if account not in known:
        raise BadConfiguration(
            f"there is no account {account} in this database\n"
            f"why: no daemon has run for it; the database has {', '.join(known) or 'no account'}\n"
            "fix: check the setting account"
        )


@contextmanager
def snapshot(connection: psycopg.Connection) -> Iterator[None]:
    """The block reads one snapshot of the database, without a time limit."""
    connection.rollback()
    with connection.transaction(force_rollback=True):
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        connection.execute("SET LOCAL statement_timeout = 0")
        connection.execute("SET LOCAL jit = off")  # compiling takes longer than reading
        yield
