"""A database that keeps the writer waiting is cut off, every time and not only the first."""

import os
import signal
import socket
import time
from collections.abc import Iterator, Sequence

import psycopg
import pytest
from msgspec import Struct
from typing_extensions import override

from ingestor.adapters.clock import SystemClock
from ingestor.adapters.postgres.deadline import DeadlineGuard
from ingestor.adapters.postgres.engine import DatabaseTiming, make_engine
from ingestor.adapters.postgres.packing import Packed, Packer
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.domain.errors import OutcomeUnknown
from tests.support.items import balances
from tests.support.line import Line
from tests.support.postgres import libpq_url
from tests.support.rows import Query
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


class FreezingPacker(Packer):
    """Meets a value that it cannot pack, at the very moment at which the server stops answering."""

    backend = 0

    @override
    def table(self, rows: Sequence[Struct]) -> Packed:
        if self.backend:
            os.kill(self.backend, signal.SIGSTOP)
        raise OverflowError("no column holds this")


def test_a_server_that_freezes_before_it_is_told_to_roll_back_is_cut_off(database: str, sql: Query) -> None:
    store = PostgresStore(make_engine(database, DatabaseTiming()), "main", "custom", "0", 2.0, SystemClock())
    store.open()
    line = Line()
    batch = line.book(line.opened(), *(line.heard(balances(number)) for number in range(100)))
    store._packer = packer = FreezingPacker("main")
    store.pack(batch)
    ((packer.backend,),) = sql(
        "SELECT pid FROM pg_stat_activity "
        "WHERE application_name = 'hercle-ingestor' AND datname = current_database()"
    )
    try:
        with pytest.raises(OutcomeUnknown):
            store.write(batch)
    finally:
        os.kill(packer.backend, signal.SIGCONT)
        store.close()
