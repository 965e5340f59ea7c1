"""What the main thread does with the threads' turns: feed the watchdog, or say who is stuck."""

import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from structlog.testing import capture_logs

from ingestor import daemon
from ingestor.adapters.systemd import Notifier
from ingestor.app.daemon_status import status_line
from ingestor.domain.errors import Fatal
from tests.support.daemon_status import daemon_status


class Threads:
    """What `daemon.run` uses of an `Ingestor`. Its turns are what the test says: nothing real gets stuck on
    demand."""

    def __init__(self) -> None:
        self.ages = {"writer": 0.1, "link": 0.2}
        self.ended: str | None = None
        self.stopped = False

    def start(self, stop: threading.Event, waiting: Callable[[str], object]) -> None:
        waiting("waiting for the database: it is away")

    def stop(self, drain_seconds: float) -> bool:
        self.stopped = True
        return drain_seconds > 0

    def dead(self) -> str | None:
        return self.ended

    def failure(self) -> BaseException | None:
        return None

    def turns(self) -> Mapping[str, float]:
        return self.ages

    def status_line(self) -> str:
        return status_line(daemon_status(turns=self.ages))


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(str(Path(directory) / "notify"))
        receiver.settimeout(5)
        yield receiver


@pytest.fixture
def threads(manager: socket.socket, monkeypatch: pytest.MonkeyPatch) -> Iterator[Threads]:
    """Running, with a quick tick, until the test ends."""
    monkeypatch.setattr(daemon, "_TICK_SECONDS", 0.01)
    stop = threading.Event()
    running = Threads()
    codes: list[int] = []
    notifier = Notifier(manager.getsockname())
    thread = threading.Thread(
        target=lambda: codes.append(daemon.run(cast("Any", running), notifier, 1.0, stop))
    )
    thread.start()
    yield running
    stop.set()
    thread.join(5)
    assert codes == [0]
    assert running.stopped


def notified(manager: socket.socket, wanted: str) -> list[str]:
    """All lines up to the first that begins so."""
    lines: list[str] = []
    while not any(line.startswith(wanted) for line in lines):
        lines += manager.recv(4096).decode().split("\n")
    return lines


def test_the_watchdog_is_fed_while_all_turn_and_not_while_one_is_stuck(
    manager: socket.socket, threads: Threads
) -> None:
    """Invariant I15."""
    notified(manager, "WATCHDOG=1")
    threads.ages = {"writer": 0.1, "link": 31.0}
    notified(manager, "STATUS=link stuck for 31 s · up · sequence 25609")
    lines = notified(manager, "STATUS=link stuck") + notified(manager, "STATUS=link stuck")
    assert "WATCHDOG=1" not in lines
    threads.ages = {"writer": 0.1, "link": 0.1}
    notified(manager, "WATCHDOG=1")


def test_a_watchdog_that_is_quicker_than_our_list_is_fed_in_time(manager: socket.socket) -> None:
    """Invariant I15."""
    stop = threading.Event()
    running: Any = Threads()
    notifier = Notifier(manager.getsockname(), watchdog_interval_seconds=0.02)
    thread = threading.Thread(target=daemon.run, args=(running, notifier, 1.0, stop))
    began = time.monotonic()
    thread.start()
    for _ in range(3):
        notified(manager, "WATCHDOG=1")
    took = time.monotonic() - began
    stop.set()
    thread.join(5)
    assert took < daemon._TICK_SECONDS


def test_a_stuck_thread_is_logged_once(manager: socket.socket, threads: Threads) -> None:
    threads.ages = {"writer": 45.0}
    with capture_logs() as logs:
        for _ in range(3):
            notified(manager, "STATUS=writer stuck for 45 s")
    assert [each["event"] for each in logs].count("thread_stuck") == 1


def test_threads_that_are_all_late_once_because_the_process_was_stopped_are_not_logged(
    manager: socket.socket, threads: Threads
) -> None:
    looks = iter([{"writer": 45.0, "link": 45.0}])
    threads.turns = lambda: next(looks, {"writer": 0.1, "link": 0.2})  # type: ignore[method-assign]
    with capture_logs() as logs:
        for _ in range(3):
            notified(manager, "WATCHDOG=1")
    assert next(looks, None) is None
    assert logs == []


def test_a_start_that_fails_stops_what_it_has_started(manager: socket.socket) -> None:
    running: Any = Threads()
    running.start = lambda _stop, _waiting: Path("/no/such/file").stat()
    with pytest.raises(FileNotFoundError):
        daemon.run(running, Notifier(manager.getsockname()), 1.0, threading.Event())
    assert running.stopped


def test_a_start_that_waits_asks_for_more_time(manager: socket.socket, threads: Threads) -> None:
    lines = notified(manager, "READY=1")
    assert lines.index("EXTEND_TIMEOUT_USEC=60000000") < lines.index("READY=1")


def test_a_dead_thread_ends_it_after_a_drain(manager: socket.socket) -> None:
    running = Threads()
    running.ended = "link"
    notifier = Notifier(manager.getsockname())
    with pytest.raises(Fatal, match="link thread has ended"):
        daemon.run(cast("Any", running), notifier, 1.0, threading.Event())
    assert running.stopped
