"""Databases for tests: an empty one in milliseconds, a migrated one by cloning a template.

`INGESTOR_TEST_POSTGRES_BIN` names a directory with other binaries (15 to 18) to run all of this against, or
says "wheel" or "system".
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.embedded_postgres.binaries import AUTO

BINARIES = os.environ.get("INGESTOR_TEST_POSTGRES_BIN", AUTO)

_numbers = itertools.count(1)


@contextmanager
def postgres_directory() -> Iterator[Path]:
    """A directory for one server. Not pytest's `tmp_path`: as root that lies below a directory of mode 0700,
    through which the account that runs the server cannot pass."""
    directory = Path(tempfile.mkdtemp(prefix="ingestor-test-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory)


def server_under_test(
    directory: Path, *, durable: bool = False, settings: Mapping[str, str] | None = None
) -> EmbeddedPostgres:
    """A server, not started, from the binaries that this test run is about."""
    return EmbeddedPostgres(directory, durable=durable, settings=settings or {}, binaries=BINARIES)


def create_database(server: EmbeddedPostgres, name: str, *, template: str = "template1") -> str:
    """A copy of `template`, to which nobody may be connected; gives SQLAlchemy's URL."""
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return server.url(name)


def drop_database(server: EmbeddedPostgres, name: str) -> None:
    """Whoever is connected to it."""
    statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(statement)


@contextmanager
def fresh_database(server: EmbeddedPostgres, *, template: str = "template1") -> Iterator[str]:
    """A database of its own, dropped afterwards whoever is still connected; gives SQLAlchemy's URL."""
    name = f"test_{next(_numbers)}"
    create_database(server, name, template=template)
    try:
        yield server.url(name)
    finally:
        drop_database(server, name)


def database_template(server: EmbeddedPostgres, migrate: Callable[[str], None]) -> str:
    """Migrate one database, once, and close it for everybody; gives its name, for `fresh_database`.

    `migrate` gets SQLAlchemy's URL and must have closed its connections when it returns.
    """
    name = f"template_{next(_numbers)}"
    migrate(create_database(server, name))
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        connection.execute(
            # Not even autovacuum connects now, so a clone never finds its template in use.
            sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(sql.Identifier(name))
        )
    return name


def libpq_url(url: str) -> str:
    """psycopg's form of SQLAlchemy's URL."""
    return url.replace("postgresql+psycopg:", "postgresql:", 1)
