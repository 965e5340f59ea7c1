"""A database that keeps us waiting is cut off, every time and not only the first, at whatever step."""

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self

import psycopg
import pytest

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.connecting import DatabaseTiming, backend_pid
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.deadline import DeadlineGuard
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.domain.errors import OutcomeUnknown, Transient
from tests.support.fake_server import FakeServer, logged_in
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

LIMIT = 0.3


@pytest.fixture
def guard() -> Iterator[DeadlineGuard]:
    made = DeadlineGuard(LIMIT, DatabaseClock())
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


@pytest.fixture
def session(empty_database: str) -> Iterator[DatabaseSession]:
    made = DatabaseSession(
        empty_database, DatabaseTiming(connect_seconds=1, transaction_seconds=1), DatabaseClock()
    )
    yield made
    made.close()


def test_a_server_that_freezes_before_it_is_told_to_roll_back_is_cut_off(session: DatabaseSession) -> None:
    with session.use() as connection:
        backend = backend_pid(connection)
    try:
        with pytest.raises(OutcomeUnknown), session.use() as connection:  # noqa: PT012 - one transaction
            connection.execute("BEGIN")
            os.kill(backend, signal.SIGSTOP)
            raise OverflowError("a value that cannot be encoded, met while the server stops answering")
    finally:
        os.kill(backend, signal.SIGCONT)


def test_a_server_that_freezes_right_after_the_login_is_cut_off() -> None:
    """It accepts, says that all is well, and answers nothing from then on."""

    with FakeServer(logged_in) as url:
        session = DatabaseSession(url, DatabaseTiming(connect_seconds=1), DatabaseClock())
        began = time.monotonic()
        with pytest.raises(Transient), session.use():
            pass
        assert time.monotonic() - began < 10
        session.close()


class FreezingProxy:
    """In front of a real server: hands on so many of its answers, and then nothing, with the socket open."""

    def __init__(self, url: str, answers: int) -> None:
        address = psycopg.conninfo.conninfo_to_dict(libpq_url(url))
        self._server = f"{address['host']}/.s.PGSQL.{address['port']}"
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        port = self._listener.getsockname()[1]
        where = f"127.0.0.1:{port}/{address['dbname']}?sslmode=disable&gssencmode=disable"
        self.url = f"postgresql+psycopg://postgres@{where}"
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                self._open += [client, server]
                threading.Thread(target=self._pump, args=(client, server, None), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, self._answers), daemon=True).start()

    def _pump(self, source: socket.socket, to: socket.socket, limit: int | None) -> None:
        handed_on = 0
        with suppress(OSError):
            while handed_on != limit and (data := source.recv(65536)):
                to.sendall(data)
                handed_on += 1


def test_a_server_that_freezes_at_any_step_of_a_start_is_cut_off(database: str) -> None:
    """Whatever is asked between the login and the loaded state: nothing of it waits for ever."""
    timing = DatabaseTiming(connect_seconds=1, lock_seconds=1, statement_seconds=1, transaction_seconds=2)

    def start(answers: int) -> tuple[str, float]:
        clock = DatabaseClock()
        began = time.monotonic()
        with FreezingProxy(database, answers) as proxy:
            session = DatabaseSession(proxy.url, timing, clock)
            # An account each: they start at the same time.
            store = PostgresStore(session, f"account {answers}", "custom", "0", clock)
            try:
                store.open()
            except Transient:
                return "cut off", time.monotonic() - began
            finally:
                store.close()
        return "started", time.monotonic() - began

    steps = range(0, 64, 2)
    with ThreadPoolExecutor(len(steps)) as threads:
        ends = dict(zip(steps, threads.map(start, steps), strict=True))
    assert ends[0][0] == "cut off"
    assert ends[62][0] == "started"
    assert max(seconds for _, seconds in ends.values()) < 15, ends
