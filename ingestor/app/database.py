"""Which database, at which address, with which schema."""

from collections.abc import Iterator
from contextlib import contextmanager

from ingestor.adapters.embedded_postgres import EmbeddedPostgres, address_of_running, has_data
from ingestor.adapters.postgres.engine import DatabaseTiming, make_engine
from ingestor.adapters.postgres.failures import in_our_words
from ingestor.adapters.postgres.migrate import SchemaState, schema_state, upgrade
from ingestor.config import EmbeddedDatabase, ExternalDatabase, Settings, database_target
from ingestor.domain.errors import Transient

DATABASE_NAME = "ingestor"


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """The SQLAlchemy URL of the configured database; a private Postgres runs for as long as the block does.

    The private one is ours alone, so its schema is kept up to date here; an operator's database is upgraded
    by `ingestor db upgrade` only.
    """
    target = database_target(settings)
    match target:
        case ExternalDatabase():
            yield target.url
        case EmbeddedDatabase():
            with EmbeddedPostgres(target.directory) as server:
                url = server.ensure_database(DATABASE_NAME)
                upgrade_database(url)
                yield url


NOT_MADE_YET = "`ingestor run` or `ingestor db upgrade` makes it"


def made(target: ExternalDatabase | EmbeddedDatabase) -> bool:
    """False only for a private Postgres that nobody has started yet."""
    return isinstance(target, ExternalDatabase) or has_data(target.directory)


@contextmanager
def database_beside(settings: Settings) -> Iterator[str]:
    """The same for a look from outside, which changes nothing: no database is made, no schema upgraded.

    A private Postgres that runs already is joined; one that does not is started for the time of the look.

    Raises:
        Transient: there is no private Postgres yet.
    """
    target = database_target(settings)
    match target:
        case ExternalDatabase():
            yield target.url
        case EmbeddedDatabase(directory):
            if not made(target):
                raise Transient(
                    f"there is no private Postgres in {directory}\n"
                    "why: it has not been made yet\n"
                    f"fix: {NOT_MADE_YET}"
                )
            running = address_of_running(directory, DATABASE_NAME)
            if running is not None:
                yield running
                return
            with EmbeddedPostgres(directory) as server:
                yield server.url(DATABASE_NAME)


def upgrade_configured(settings: Settings) -> SchemaState:
    """Bring the configured database up to date, and make the private one where it is missing.

    Returns:
        Where it stood before.
    """
    target = database_target(settings)
    match target:
        case ExternalDatabase():
            return upgrade_database(target.url)
        case EmbeddedDatabase(directory):
            running = address_of_running(directory, DATABASE_NAME)
            if running is not None:
                return upgrade_database(running)
            with EmbeddedPostgres(directory) as server:
                return upgrade_database(server.ensure_database(DATABASE_NAME))


def upgrade_database(url: str) -> SchemaState:
    """Bring the schema at this address up to date; returns where it stood before."""
    engine = make_engine(url, DatabaseTiming(lock_seconds=60, statement_seconds=600, transaction_seconds=600))
    try:
        with in_our_words():
            return upgrade(engine)
    finally:
        engine.dispose()


def schema_at(url: str) -> SchemaState:
    """Where the schema at this address stands."""
    engine = make_engine(url, DatabaseTiming())
    try:
        with in_our_words():
            return schema_state(engine)
    finally:
        engine.dispose()
