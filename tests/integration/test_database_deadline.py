"""A database that keeps the writer waiting is cut off, every time and not only the first."""

import os
import socket
import time
from collections.abc import Iterator

import psycopg
import pytest

from ingestor.adapters.clock import SystemClock
from ingestor.adapters.postgres.deadline import DeadlineGuard
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

LIMIT = 0.3


@pytest.fixture
def guard() -> Iterator[DeadlineGuard]:
    made = DeadlineGuard(LIMIT, SystemClock())
    yield made
    made.close()


def hang(guard: DeadlineGuard, url: str) -> float:
    """Ask for what takes a minute; gives the seconds until that broke off."""
    began = time.monotonic()
    with (
        psycopg.connect(libpq_url(url)) as connection,
        pytest.raises(psycopg.OperationalError),
        guard.watch(connection),
    ):
        connection.execute("SELECT pg_sleep(60)")
    assert connection.closed
    return time.monotonic() - began


def test_a_transaction_above_the_limit_is_cut_off(guard: DeadlineGuard, empty_database: str) -> None:
    assert LIMIT <= hang(guard, empty_database) < 20
    assert LIMIT <= hang(guard, empty_database) < 20


def test_a_connection_that_the_network_has_reset_already_does_not_end_the_guard(
    guard: DeadlineGuard, empty_database: str
) -> None:
    """Shutting down a socket that is no longer connected is an error."""
    with psycopg.connect(libpq_url(empty_database)) as connection, socket.socket() as unconnected:
        os.dup2(unconnected.fileno(), connection.fileno())  # what the kernel makes of a socket after a reset
        with guard.watch(connection):
            eventually(lambda: guard._watched is None)
    assert hang(guard, empty_database) < 20
