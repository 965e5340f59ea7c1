"""The small HTTP server: what it answers, and that no client can hold it up for long."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection

import pytest

from ingestor.adapters import loopback_http
from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.loopback_http import LoopbackServer, Page
from tests.support.waiting import eventually


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def fails(_: str) -> Page:
    raise ValueError("a bug")


@pytest.fixture
def make() -> Iterator[Callable[[str, int], LoopbackServer]]:
    made: list[LoopbackServer] = []

    def start(host: str, port: int) -> LoopbackServer:
        pages = {"GET /metrics": lambda _: Page(200, b"x 1\n", "text/special"), "GET /fails": fails}
        made.append(LoopbackServer(host, port, pages, DatabaseClock()))
        made[-1].start()
        return made[-1]

    yield start
    for server in made:
        server.stop(3.0)
    assert "metrics" not in {thread.name for thread in threading.enumerate()}


def ask(
    port: int, target: str = "/metrics", method: str = "GET", host: str = "127.0.0.1"
) -> tuple[int, bytes]:
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request(method, target)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def is_up(port: int, host: str = "127.0.0.1") -> bool:
    try:
        return ask(port, host=host) == (200, b"x 1\n")
    except OSError:
        return False


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_it_listens_there(host: str, port: int, make: Callable[[str, int], LoopbackServer]) -> None:
    try:
        socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET).close()
    except OSError as error:
        pytest.skip(f"this machine has no {host}: {error}")
    make(host, port)
    assert eventually(lambda: is_up(port, host))


def test_it_answers_get_of_its_pages_and_nothing_else(
    port: int, make: Callable[[str, int], LoopbackServer], capsys: pytest.CaptureFixture[str]
) -> None:
    make("127.0.0.1", port)
    eventually(lambda: is_up(port))
    assert ask(port, "/metrics?name=x") == (200, b"x 1\n")
    assert ask(port, "/") == (404, b"GET /metrics\nGET /fails\n")
    assert [ask(port, method=method)[0] for method in ("POST", "HEAD", "OPTIONS")] == [405] * 3
    assert ask(port, "/fails") == (503, b"this page failed; see metrics_failed in the log\n")
    assert ask(port, "/fails")[0] == 503
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")
    out = capsys.readouterr().out
    assert out.count("metrics_failed") == 1
    assert "ValueError: a bug" in out


def test_clients_that_say_too_little_too_slowly_or_too_much_are_left(
    port: int, make: Callable[[str, int], LoopbackServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loopback_http, "_DEADLINE_SECONDS", 0.3)
    make("127.0.0.1", port)
    eventually(lambda: is_up(port))
    stop = threading.Event()

    def drip() -> None:
        with socket.create_connection(("127.0.0.1", port)) as client:
            while not stop.wait(0.05):
                try:
                    client.sendall(b"G")
                except OSError:
                    return

    with (
        socket.create_connection(("127.0.0.1", port)),
        socket.create_connection(("127.0.0.1", port), timeout=5) as flooding,
    ):
        dripping = threading.Thread(target=drip)
        dripping.start()
        flooding.sendall(b"GET /" + b"x" * 9_000)
        began = time.monotonic()
        assert ask(port) == (200, b"x 1\n")
        assert time.monotonic() - began < 3 * 0.3 + 3.0
    dripping.join(5)
    assert not dripping.is_alive(), "the server has not left it"
    stop.set()


def test_an_address_that_is_taken_is_tried_again_until_it_is_free(
    make: Callable[[str, int], LoopbackServer],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(loopback_http, "_RETRY_SECONDS", 0.02)
    attempts, listening, logged = [], LoopbackServer._listening, ""

    def attempt(server: LoopbackServer) -> socket.socket:
        attempts.append(server)
        return listening(server)

    monkeypatch.setattr(LoopbackServer, "_listening", attempt)

    def said(event: str) -> bool:
        nonlocal logged
        logged += capsys.readouterr().out
        return event in logged

    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        make("127.0.0.1", port)
        eventually(lambda: said("metrics_failed"))
        eventually(lambda: len(attempts) > 5)
    eventually(lambda: is_up(port))
    eventually(lambda: said("metrics_listening"))
    assert logged.count("metrics_failed") == 1


def test_a_server_that_cannot_listen_can_be_stopped(make: Callable[[str, int], LoopbackServer]) -> None:
    make("127.999.0.1", 9464)
