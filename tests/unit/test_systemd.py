"""Messages to systemd, as a real datagram socket receives them."""

import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog

from ingestor.adapters.systemd import Notifier


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """A socket such as systemd's; in a short path, because socket paths are limited."""
    with (
        tempfile.TemporaryDirectory() as directory,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver,
    ):
        receiver.bind(str(Path(directory) / "notify"))
        receiver.settimeout(5)
        yield receiver


def notified(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_each_message_arrives_as_documented(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    messages: list[tuple[Callable[[], bool], list[str]]] = [
        (lambda: notifier.ready("streaming"), ["READY=1", "STATUS=streaming"]),
        (lambda: notifier.status("gap open"), ["STATUS=gap open"]),
        (notifier.watchdog, ["WATCHDOG=1"]),
        (lambda: notifier.extend_timeout(2.5), ["EXTEND_TIMEOUT_USEC=2500000"]),
        (lambda: notifier.stopping("draining"), ["STOPPING=1", "STATUS=draining"]),
    ]
    for send, expected in messages:
        assert send()
        assert notified(manager) == expected


def test_a_line_break_in_a_status_cannot_become_a_message(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    notifier.status("fine\nMAINPID=1\x1b[0m" + "x" * 500)
    (line,) = notified(manager)
    assert line.startswith("STATUS=fine MAINPID=1 [0mxxx")
    assert len(line) == len("STATUS=") + 80


@pytest.mark.skipif(not Path("/proc/net/unix").exists(), reason="abstract sockets are Linux's")
def test_abstract_sockets_are_spoken_to() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind("")  # the kernel chooses an abstract name
        receiver.settimeout(5)
        name = receiver.getsockname()[1:].decode()
        notifier = Notifier.from_environment({"NOTIFY_SOCKET": f"@{name}"}, 1)
        assert notifier.watchdog()
        assert notified(receiver) == ["WATCHDOG=1"]


def test_without_systemd_nothing_is_sent_and_nothing_fails() -> None:
    notifier = Notifier.from_environment({}, 1)
    assert not notifier.ready("x")
    assert notifier.watchdog_interval_seconds is None


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 15.0),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_interval_is_half_of_what_the_unit_allows_this_process(
    environ: dict[str, str], expected: float | None
) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": "/x", **environ}, 42)
    assert notifier.watchdog_interval_seconds == expected


def test_a_manager_that_is_gone_is_noticed_once_and_found_again(manager: socket.socket) -> None:
    address = manager.getsockname()
    notifier = Notifier(address)
    assert notifier.watchdog()
    manager.close()
    Path(address).unlink()
    with structlog.testing.capture_logs() as logged:
        assert not notifier.watchdog()
        assert not notifier.watchdog()
    assert [each["event"] for each in logged] == ["notify_failed"]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as again:
        again.bind(address)
        assert notifier.watchdog()


def test_a_manager_that_does_not_read_cannot_hold_us_up(manager: socket.socket) -> None:
    """The socket's buffer fills, and from then on sending fails at once."""
    notifier = Notifier(manager.getsockname())
    assert not all(notifier.status("x" * 200) for _ in range(100_000))
