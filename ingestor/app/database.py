"""Which database, at which address, with which schema."""

from collections.abc import Iterator
from contextlib import contextmanager

from ingestor.adapters.embedded_postgres import EmbeddedPostgres, address_of_running
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


@contextmanager
def database_beside(settings: Settings) -> Iterator[str]:
    """The same for a look from outside: a private Postgres that runs already is joined, not started."""
    target = database_target(settings)
    if isinstance(target, EmbeddedDatabase):
        running = address_of_running(target.directory, DATABASE_NAME)
        if running is not None:
            yield running
            return
        if not target.directory.exists():
            raise Transient(
                f"there is no private Postgres in {target.directory} yet: `ingestor run` makes it"
            )
    with database(settings) as url:
        yield url


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
