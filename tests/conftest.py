"""Fixtures that more than one kind of test needs. Nothing starts before a test uses it."""

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib import import_module

import pytest
import structlog

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.logs.output import LineHandler
from tests.support.postgres import database_template, fresh_database, postgres_directory, server_under_test


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Puts back what a command or `logs.configure` changes in this process, or the next test meets it."""
    root = logging.getLogger()
    before = (root.level, sys.excepthook, threading.excepthook, sys.unraisablehook)
    yield
    logging.captureWarnings(capture=False)
    root.setLevel(before[0])
    for handler in [handler for handler in root.handlers if isinstance(handler, LineHandler)]:
        root.removeHandler(handler)
        handler.close()
    sys.excepthook, threading.excepthook, sys.unraisablehook = before[1:]
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[EmbeddedPostgres]:
    """One server without fsync for the session; under xdist, one for each worker."""
    with postgres_directory() as directory, server_under_test(directory) as server:
        yield server


@pytest.fixture
def empty_database(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """SQLAlchemy URL of a database without a single table, of this test alone."""
    with fresh_database(postgres_server) as url:
        yield url


@pytest.fixture(scope="session")
def migrated_template(postgres_server: EmbeddedPostgres) -> str:
    """Name of the database that has our schema; migrated once, cloned by `database`."""
    # By name, at the time of use: tests that need no schema must not need the composition root either.
    return database_template(postgres_server, import_module("ingestor.app.database").upgrade_database)


@pytest.fixture
def database(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[str]:
    """SQLAlchemy URL of a database with our schema and no rows of others, of this test alone."""
    with fresh_database(postgres_server, template=migrated_template) as url:
        yield url


@pytest.fixture
def durable_postgres() -> Iterator[Callable[[], EmbeddedPostgres]]:
    """Makes servers with fsync on, running, on a directory each; for tests that kill the postmaster.

    `server.start()` starts a killed one again.
    """
    with ExitStack() as stack:

        def start() -> EmbeddedPostgres:
            directory = stack.enter_context(postgres_directory())
            return stack.enter_context(server_under_test(directory, durable=True))

        yield start
