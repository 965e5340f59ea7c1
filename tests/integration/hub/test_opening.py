"""What can go wrong before a session opens: each has its name, and none keeps the link from the next try.

Invariant I14.
"""

import socket
import threading
import time
from collections.abc import Callable

import pytest

from tests.support.fault_hub import END, Act, FaultHub, Peer, frame, http_answer, negotiated, stay
from tests.support.hub_listener import KEY, RecordingListener, linked, quick
from tests.support.waiting import eventually


def answers(status: str, body: bytes = b"", *headers: str) -> Act:
    return lambda peer: peer.raw(http_answer(status, body, *headers))


def sends(data: bytes) -> Act:
    return lambda peer: peer.raw(data)


def drips(head: bytes) -> Act:
    def act(peer: Peer) -> None:
        peer.raw(head)
        while True:
            peer.raw(b" ")
            time.sleep(0.05)

    return act


def hangs(peer: Peer) -> None:
    peer.until_gone()


def connection_errors(hub: FaultHub, **timing: float) -> tuple[str, ...]:
    """The connection_errors that a session reports which opened after the first act had its way."""
    listener = RecordingListener()
    with hub, linked(hub.url, listener, quick(**timing)):
        eventually(lambda: listener.opened)
    return listener.opened[0].connection_errors


ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n"
UNSAID = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        (answers("401 Unauthorized"), "http_401"),
        (answers("403 Forbidden"), "http_403"),
        (answers("429 Too Many Requests", b"", "Retry-After: 0"), "http_429"),
        (answers("500 Oh"), "http_500"),
        (answers("503 Away"), "http_503"),
        (answers("200 OK", b"<html>maintenance</html>"), "not_json"),
        (answers("200 OK"), "not_json"),
        (answers("200 OK", b"[1]"), "not_json"),
        (answers("200 OK", b'{"negotiateVersion":1}'), "not_json"),
        (answers("200 OK", b"[" * 50_000), "not_json"),
        (answers("200 OK", b'{"error":"no"}'), "negotiate_error"),
        (answers("200 OK", b" " * 70_000), "too_large"),
        (sends(b"\x00\x01 what is this \r\n\r\n"), "not_json"),
        (sends(b""), "eof"),
        (lambda peer: peer.reset(), "reset"),
        (hangs, "timeout_negotiate"),
        (drips(ENDLESS), "timeout_negotiate"),
        (drips(UNSAID), "timeout_negotiate"),
        (drips(b"HTTP/1.1 200 OK\r\nX:"), "timeout_negotiate"),
    ],
)
def test_a_failed_negotiate_is_named_and_tried_again(act: Act, cause: str) -> None:
    hub = FaultHub(negotiations=[act, negotiated])
    assert connection_errors(hub, negotiate_seconds=0.4) == (cause,)


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        (answers("401 Unauthorized"), "http_401"),
        (answers("403 Forbidden", b"x" * 101), "http_403"),
        (answers("302 Found", b"", "Location: http://127.0.0.1:1/"), "redirect"),
        (sends(b"garbage without a head\r\n\r\n"), "upgrade_refused"),
        (sends(b"x" * 200_000), "upgrade_refused"),
        (sends(b""), "upgrade_refused"),
        (lambda peer: peer.raw(peer.accept_answer("bm90IHJpZ2h0")), "upgrade_refused"),
        (lambda peer: peer.reset(), "reset"),
        (hangs, "timeout_upgrade"),
        (drips(b"HTTP/1.1 101 Switching Protocols\r\nX:"), "timeout_upgrade"),
    ],
)
def test_a_failed_upgrade_is_named_and_tried_again(act: Act, cause: str) -> None:
    assert connection_errors(FaultHub([act, stay]), start_seconds=0.4) == (cause,)


def shaken_with(*messages: bytes) -> Act:
    def act(peer: Peer) -> None:
        peer.raw(peer.accept_answer())
        peer.message()
        for message in messages:
            peer.raw(frame(message))
        peer.until_gone()

    return act


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        (shaken_with(b'{"error":"Handshake was canceled."}' + END), "handshake_error"),
        (shaken_with(b"<html>" + END), "handshake_error"),
        (shaken_with(b'{"type":1,"target":"executionEvents","arguments":[]}' + END), "handshake_error"),
        (shaken_with(b'{"type":7,"error":"bye"}' + END), "handshake_error"),
        (shaken_with(), "timeout_handshake"),
        (shaken_with(b""), "handshake_error"),
    ],
)
def test_a_failed_handshake_is_named_and_tried_again(act: Act, cause: str) -> None:
    assert connection_errors(FaultHub([act, stay]), handshake_seconds=0.4) == (cause,)


@pytest.mark.parametrize("status", ["301", "302", "303", "307", "308"])
def test_a_redirect_is_refused_and_its_target_sees_nothing(status: str) -> None:
    """Invariant I18."""
    listener = RecordingListener()
    with FaultHub() as other:
        redirect = answers(f"{status} Moved", b"", f"Location: {other.url}/negotiate")
        with FaultHub(negotiations=[redirect, negotiated]) as hub, linked(hub.url, listener):
            eventually(lambda: listener.opened)
        assert listener.opened[0].connection_errors == ("redirect",)
        assert other.requests == []


def test_a_hub_without_a_negotiate_page_is_reached_without_it() -> None:
    listener = RecordingListener()
    with FaultHub(negotiations=[answers("404 Not Found")]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.opened)
        assert hub.upgrades[0].line == "GET /ExecutionLiveServer/v1 HTTP/1.1"


def test_a_hub_that_has_no_page_at_all_for_a_while_is_negotiated_with_again() -> None:
    """A proxy before a hub that is away answers 404 to everything."""
    listener = RecordingListener()
    missing = answers("404 Not Found")
    with FaultHub([missing, stay], negotiations=[missing, negotiated]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.opened)
        assert [request.line.split()[0] for request in hub.requests] == ["POST", "GET", "POST", "GET"]
        assert hub.upgrades[-1].line == "GET /ExecutionLiveServer/v1?id=private-token HTTP/1.1"
    assert listener.opened[0].connection_errors == ("http_404",)


def test_negotiate_can_be_left_out() -> None:
    listener = RecordingListener()
    with FaultHub() as hub, linked(hub.url, listener, negotiation="never"):
        eventually(lambda: listener.opened)
        assert all(request.line.startswith("GET") for request in hub.requests)


def test_a_hub_that_must_negotiate_but_cannot_is_not_reached() -> None:
    listener = RecordingListener()
    hub = FaultHub(negotiations=[answers("404 Not Found")])
    with hub, linked(hub.url, listener, negotiation="always") as link:
        eventually(lambda: link.state.connection_error == "http_404")
        assert hub.upgrades == []


def test_version_0_of_negotiate_is_understood() -> None:
    listener = RecordingListener()

    def old(peer: Peer) -> None:
        peer.raw(http_answer("200 OK", b'{"connectionId":"old&id","availableTransports":[]}'))

    with FaultHub(negotiations=[old]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.opened)
        assert hub.upgrades[0].line == "GET /ExecutionLiveServer/v1?id=old%26id HTTP/1.1"


def test_what_goes_out_says_version_1_and_shows_the_key_in_two_headers_only() -> None:
    """Invariant I18."""
    listener = RecordingListener()
    with FaultHub() as hub, linked(hub.url, listener):
        eventually(lambda: hub.handshakes)
        negotiate, upgrade = hub.requests
        assert negotiate.line == "POST /ExecutionLiveServer/v1/negotiate?negotiateVersion=1 HTTP/1.1"
        assert upgrade.line == "GET /ExecutionLiveServer/v1?id=private-token HTTP/1.1"
        for request in hub.requests:
            assert request.headers["host"] == f"127.0.0.1:{hub.port}"
            assert request.headers["authorization"] == f"Bearer {KEY}"
        assert hub.handshakes == [b'{"protocol": "json", "version": 1}\x1e']


def test_the_key_is_read_again_for_every_attempt() -> None:
    listener = RecordingListener()
    hub = FaultHub(negotiations=[answers("401 Unauthorized"), negotiated])
    with hub, linked(hub.url, listener, key=lambda: "second-key" if hub.requests else "first-key"):
        eventually(lambda: listener.opened)
        seen = [request.headers["authorization"] for request in hub.requests]
        assert seen == ["Bearer first-key", "Bearer second-key", "Bearer second-key"]


@pytest.mark.parametrize("key", ["", "two\r\nlines", "gr\u00fcn", "a b"])
def test_a_key_that_no_header_can_carry_is_never_sent(key: str) -> None:
    listener = RecordingListener()
    with FaultHub() as hub, linked(hub.url, listener, key=lambda: key) as link:
        eventually(lambda: link.state.connection_error == "no_key")
        assert hub.requests == []


def test_a_key_that_cannot_be_read_is_a_passing_connection_error() -> None:
    listener = RecordingListener()
    sources: list[Callable[[], str]] = [_no_such_file, lambda: KEY]

    with (
        FaultHub() as hub,
        linked(hub.url, listener, key=lambda: sources.pop(0)() if len(sources) > 1 else KEY),
    ):
        eventually(lambda: listener.opened)
    assert listener.opened[0].connection_errors == ("no_key",)


def _no_such_file() -> str:
    raise OSError


def test_a_bug_in_the_key_source_ends_the_link_loudly() -> None:
    listener = RecordingListener()

    def bug() -> str:
        raise ZeroDivisionError

    with FaultHub() as hub, linked(hub.url, listener, key=bug, breaks=ZeroDivisionError) as link:
        eventually(lambda: not link.alive())


@pytest.mark.parametrize("at_upgrade", [False, True])
def test_retry_after_is_obeyed(*, at_upgrade: bool) -> None:
    listener = RecordingListener()
    later = answers("429 Too Many Requests", b"", "Retry-After: 1")
    hub = FaultHub([later, stay]) if at_upgrade else FaultHub(negotiations=[later, negotiated])
    with hub, linked(hub.url, listener):
        eventually(lambda: hub.requests)
        began = time.monotonic()
        eventually(lambda: listener.opened)
        assert time.monotonic() - began >= 0.9


def test_nobody_listening_is_named_and_outlived() -> None:
    listener = RecordingListener()
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]
    with linked(f"http://127.0.0.1:{port}/hub", listener) as link:
        eventually(lambda: link.state.connection_error == "refused")
        with FaultHub(port=port) as hub:
            eventually(lambda: listener.opened)
            assert listener.opened[0].url == f"http://127.0.0.1:{hub.port}/hub"
            assert listener.opened[0].attempts >= 2
            eventually(lambda: hub.handshakes)


def test_a_tcp_connect_that_hangs_is_cut_at_its_deadline() -> None:
    listener = RecordingListener()
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        crowd = [socket.socket() for _ in range(4)]  # the queue is full: further SYNs are dropped
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}/hub"
        with linked(url, listener, quick(negotiate_seconds=0.3)) as link:
            eventually(lambda: link.state.attempts > 3)
            assert link.state.abandoned_threads == 0
            assert link.state.connection_error == "timeout_negotiate"
        for each in crowd:
            each.close()
    assert not [each for each in threading.enumerate() if each.name.startswith("hub ")]


def test_the_answer_to_the_handshake_can_carry_records() -> None:
    """Nothing is lost that is glued to the upgrade or to the handshake."""
    listener = RecordingListener()
    first, second = b'{"type":1,"n":1}', b'{"type":1,"n":2}'

    def act(peer: Peer) -> None:
        peer.raw(peer.accept_answer() + frame(b"{}" + END + first + END) + frame(second + END))
        peer.listen()

    with FaultHub([act]) as hub, linked(hub.url, listener):
        eventually(lambda: len(listener.received) == 2)
    assert listener.raws == [first, second]
