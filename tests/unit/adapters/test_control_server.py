"""The local socket: who may open it, what it answers, and whose it is."""

import socket
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestor.adapters import loopback_http
from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.loopback_http import ControlServer, Page, ask
from tests.support.waiting import eventually

Make = Callable[[bytes], ControlServer]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ingestor" / "main.sock"


@pytest.fixture
def make(path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    monkeypatch.setattr(loopback_http, "_RETRY_SECONDS", 0.05)
    made: list[ControlServer] = []

    def start(says: bytes) -> ControlServer:
        server = ControlServer(
            path,
            {
                "GET /state": lambda _: Page(200, says),
                "POST /act": lambda _: Page(200, b"done"),
                "GET /find": lambda query: Page(200, query.encode()),
            },
            DatabaseClock(),
        )
        made.append(server)
        server.start()
        return server

    yield start
    for server in made:
        server.stop(3.0)
    assert "control" not in {thread.name for thread in threading.enumerate()}


def state(path: Path) -> bytes | None:
    return ask(path, "GET", "/state", 2.0)


def test_only_its_user_and_group_may_open_it(path: Path, make: Make) -> None:
    server = make(b"x")
    assert eventually(lambda: state(path) == b"x")
    assert stat.S_IMODE(path.stat().st_mode) == 0o660
    assert stat.S_IMODE(path.parent.stat().st_mode) & 0o007 == 0
    assert [each.name for each in path.parent.iterdir()] == [path.name]

    server.stop(3.0)
    assert not path.exists()
    assert state(path) is None


def test_it_acts_by_post_and_only_as_it_was_told_to(path: Path, make: Make) -> None:
    make(b"x")
    eventually(lambda: state(path))
    assert ask(path, "POST", "/act", 2.0) == b"done"
    for method, target in (("GET", "/act"), ("POST", "/state"), ("POST", "/Withdraw"), ("PUT", "/act")):
        assert ask(path, method, target, 2.0) is None


def test_a_page_may_be_asked_for_something(path: Path, make: Make) -> None:
    make(b"x")
    eventually(lambda: state(path))
    assert ask(path, "GET", "/find?a=1&b=%20", 2.0) == b"a=1&b=%20"
    assert ask(path, "GET", "/find", 2.0) == b""
    assert ask(path, "POST", "/find", 2.0) is None


def test_a_socket_that_a_killed_process_left_is_replaced(path: Path, make: Make) -> None:
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    make(b"x")
    assert eventually(lambda: state(path) == b"x")


def test_it_leaves_no_file_however_soon_it_is_stopped(path: Path, make: Make) -> None:
    for _ in range(50):
        make(b"").stop(5.0)
        assert not list(path.parent.glob("*"))


def test_a_second_process_waits_for_the_end_of_the_first(
    path: Path, make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    first = make(b"first")
    eventually(lambda: state(path) == b"first")
    second = make(b"second")
    eventually(lambda: second._failing)
    assert state(path) == b"first"

    first.stop(3.0)
    assert eventually(lambda: state(path) == b"second")
    out = capsys.readouterr().out
    assert out.count("control_failed") == 1
    assert "another process listens on" in out


def test_a_client_that_sends_nothing_delays_only_the_next(
    path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback_http, "_DEADLINE_SECONDS", 0.3)
    make(b"x")
    eventually(lambda: state(path))
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path))
        assert ask(path, "GET", "/state", 5.0) == b"x"
