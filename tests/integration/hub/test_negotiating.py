"""Negotiate and the upgrade after it: cookies, tokens, redirects, and what answers before the hub."""

import itertools
import json
import threading
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from ingestor import __version__
from ingestor.adapters.hub.causes import advice
from ingestor.adapters.hub.link import HubLink
from tests.support.fault_hub import Act, FaultHub, Peer, http_answer, negotiated, stay
from tests.support.hub_listener import KEY, RecordingListener, linked, quick
from tests.support.waiting import eventually


def answers(status: str, body: bytes = b"", *headers: str) -> Act:
    return lambda peer: peer.raw(http_answer(status, body, *headers))


def says(**answer: object) -> Act:
    return lambda peer: peer.negotiate(**answer)


def negotiated_with(*headers: str) -> Act:
    body = json.dumps({"negotiateVersion": 1, "connectionId": "i", "connectionToken": "t"}).encode()
    return answers("200 OK", body, *headers)


def failed(link: HubLink, cause: str) -> str:
    """The advice about a failure, once an attempt has failed for this cause."""
    eventually(lambda: link.state.connection_error == cause)
    failure = link.state.failure
    assert failure is not None
    return advice(failure)


MISSING = answers("404 Not Found")


# --- cookies ---


@pytest.mark.parametrize(
    ("cookies", "sent"),
    [
        (["AWSALB=abc+/=; Expires=Wed, 01 Jan 2098 00:00:00 GMT; Path=/"], "AWSALB=abc+/="),
        (["route=a; Path=/", "ARRAffinity=b; Path=/; HttpOnly; Domain=127.0.0.1"], "route=a; ARRAffinity=b"),
        (["route=a; Path=/ExecutionLiveServer"], "route=a"),
        (["route=a"], "route=a"),
        (["route=a; Path=/", "route=b; Path=/"], "route=b"),
        (["route=a; Path=/elsewhere"], None),
        (["route=gone; Path=/; Max-Age=0"], None),
        (["route=a; Path=/; Domain=elsewhere.example"], None),
        (["route=gr\u00fcn; Path=/"], None),
        ([], None),
    ],
)
def test_a_cookie_of_negotiate_goes_with_the_upgrade(cookies: list[str], sent: str | None) -> None:
    listener = RecordingListener()
    act = negotiated_with(*(f"Set-Cookie: {each}" for each in cookies))
    with FaultHub(negotiations=[act]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.opened)
        assert hub.upgrades[0].headers.get("cookie") == sent


def test_a_cookie_belongs_to_its_attempt() -> None:
    listener = RecordingListener()
    acts = [negotiated_with("Set-Cookie: route=a; Path=/"), negotiated]
    with FaultHub([answers("503 Away"), stay], acts) as hub, linked(hub.url, listener):
        eventually(lambda: listener.opened)
        assert [each.headers.get("cookie") for each in hub.requests] == [None, "route=a", None, None]


class Balancer:
    """Two hubs that each know only their own connections; a cookie decides between them, or else the turn."""

    def __init__(self, stack: ExitStack) -> None:
        self._turn = itertools.cycle("ab")
        self._known: dict[str, set[str]] = {"a": set(), "b": set()}
        self._lock = threading.Lock()
        self.hub = stack.enter_context(FaultHub([self._upgrade], [self._negotiate]))

    def _server(self, peer: Peer) -> str:
        cookie = peer.request.headers.get("cookie", "")
        with self._lock:
            return cookie.removeprefix("route=") if cookie else next(self._turn)

    def _negotiate(self, peer: Peer) -> None:
        server = self._server(peer)
        token = f"{server}-{len(self._known[server])}"
        self._known[server].add(token)
        body = json.dumps({"negotiateVersion": 1, "connectionId": "i", "connectionToken": token}).encode()
        peer.raw(http_answer("200 OK", body, f"Set-Cookie: route={server}; Path=/"))

    def _upgrade(self, peer: Peer) -> None:
        token = peer.request.line.split("id=")[-1].split()[0]
        if token not in self._known[self._server(peer)]:
            MISSING(peer)
            return
        peer.shake()  # and gone: the next session follows


def test_a_sticky_balancer_is_passed_every_time() -> None:
    listener = RecordingListener()
    with ExitStack() as stack:
        balancer = Balancer(stack)
        with linked(balancer.hub.url, listener):
            eventually(lambda: len(listener.opened) > 10)
    assert {opened.connection_errors for opened in listener.opened} == {()}


# --- a token that is not known ---


def test_after_a_404_at_the_upgrade_one_try_without_a_token_follows() -> None:
    listener = RecordingListener()
    with FaultHub([MISSING, stay]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.opened)
        assert [each.line.split()[1].rpartition("/")[2] for each in hub.requests] == [
            "negotiate?negotiateVersion=1",
            "v1?id=private-token",
            "v1",
        ]
        assert listener.opened[0].connection_errors == ()


def test_a_404_with_and_without_a_token_ends_the_attempt_and_blames_the_balancer() -> None:
    listener = RecordingListener()
    with FaultHub([MISSING, MISSING, answers("503 Away")]) as hub, linked(hub.url, listener) as link:
        eventually(lambda: len(hub.upgrades) > 2)
        # The first attempt: with its token, and once without. The second one negotiates again.
        methods = [each.line.partition(" ")[0] for each in hub.requests[:5]]
        assert methods == ["POST", "GET", "GET", "POST", "GET"]
    with FaultHub([MISSING]) as hub, linked(hub.url, listener) as link:
        assert "load balancer" in failed(link, "http_404")


def test_where_a_token_is_a_must_no_try_without_follows() -> None:
    listener = RecordingListener()
    with FaultHub([MISSING]) as hub, linked(hub.url, listener, negotiation="always") as link:
        assert "load balancer" in failed(link, "http_404")
        assert all("id=private-token" in each.line for each in hub.upgrades)


def test_a_404_without_negotiate_blames_the_address() -> None:
    listener = RecordingListener()
    with FaultHub([MISSING]) as hub, linked(hub.url, listener, negotiation="never") as link:
        assert "no hub at this address" in failed(link, "http_404")


# --- redirects of the protocol ---


@pytest.mark.parametrize("token", ["other-token", None])
def test_a_redirect_is_followed_with_its_own_token_and_never_with_our_key(token: str | None) -> None:
    """Invariant I18."""
    listener = RecordingListener()
    with FaultHub() as other:
        redirect = says(url=f"{other.url}?hub=live&x=1", accessToken=token)
        with FaultHub(negotiations=[redirect]) as hub, linked(hub.url, listener):
            eventually(lambda: listener.opened)
            assert len(hub.requests) == 1
    assert [each.line.split()[1] for each in other.requests] == [
        "/ExecutionLiveServer/v1/negotiate?hub=live&x=1&negotiateVersion=1",
        "/ExecutionLiveServer/v1?hub=live&x=1&id=private-token",
    ]
    for request in other.requests:
        assert request.headers.get("authorization") == (token and f"Bearer {token}")
        assert request.headers["host"] == f"127.0.0.1:{other.port}"
        assert KEY not in json.dumps([request.line, request.headers])
    assert listener.opened[0].url == hub.url


def test_a_cookie_does_not_follow_a_redirect_to_another_host() -> None:
    listener = RecordingListener()
    with FaultHub() as other:
        url = other.url.replace("127.0.0.1", "localhost")
        body = json.dumps({"url": url, "accessToken": "other-token"}).encode()
        redirect = answers("200 OK", body, "Set-Cookie: route=a; Path=/")
        with FaultHub(negotiations=[redirect]) as hub, linked(hub.url, listener):
            eventually(lambda: listener.opened)
    assert [each.headers.get("cookie") for each in other.requests] == [None, None]


@pytest.mark.parametrize(
    "url",
    ["http://hub.example/v1", "ws://10.0.0.1/", "ftp://localhost/", "https://", "https://h:x/", 7, None],
)
def test_a_redirect_to_what_is_not_https_is_not_followed(url: object) -> None:
    listener = RecordingListener()
    hub = FaultHub(negotiations=[says(url=url, accessToken="t")])
    with hub, linked(hub.url, listener) as link:
        eventually(lambda: link.state.connection_error == "redirect")
        assert hub.upgrades == []


def test_a_second_redirect_is_not_followed() -> None:
    listener = RecordingListener()
    slow = quick(backoff_base_seconds=60, backoff_cap_seconds=60)
    hub = FaultHub(negotiations=[lambda peer: peer.negotiate(url=peer.hub.url)])
    with hub, linked(hub.url, listener, slow) as link:
        eventually(lambda: link.state.connection_error == "redirect")
        assert len(hub.requests) == 2


def test_one_deadline_bounds_negotiate_and_its_redirect() -> None:
    listener = RecordingListener()
    with FaultHub(negotiations=[lambda peer: peer.until_gone()]) as other:
        hub = FaultHub(negotiations=[says(url=other.url)])
        with hub, linked(hub.url, listener, quick(negotiate_seconds=0.3)) as link:
            eventually(lambda: link.state.connection_error == "timeout_negotiate")


def test_the_token_of_a_redirect_is_masked_like_the_key() -> None:
    """Invariant I18."""
    listener = RecordingListener()
    echo = answers("403 Forbidden", b"bad token hunter2-hunter2!")
    with FaultHub(negotiations=[echo]) as other:
        hub = FaultHub(negotiations=[says(url=other.url, accessToken="hunter2-hunter2")])
        with hub, linked(hub.url, listener) as link:
            failed(link, "http_403")
            assert "hunter2" not in str(link.state.failure)


# --- what ordinary clients send, and who else answers ---


def test_every_request_names_the_software() -> None:
    listener = RecordingListener()
    with FaultHub() as hub, linked(hub.url, listener):
        eventually(lambda: listener.opened)
        assert {each.headers["user-agent"] for each in hub.requests} == {f"hercle-ingestor/{__version__}"}
        assert len(hub.requests) == 2


PAGE = b"<html><head><title>Forbidden</title></head></html>"


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "407 Proxy", "451 Blocked"])
@pytest.mark.parametrize("headers", [["Content-Type: text/html; charset=utf-8"], []])
def test_a_page_at_negotiate_comes_from_before_the_hub(status: str, headers: list[str]) -> None:
    listener = RecordingListener()
    hub = FaultHub(negotiations=[answers(status, PAGE, *headers)])
    with hub, linked(hub.url, listener, quick(refused_seconds=60.0), negotiation="always") as link:
        assert "before the hub" in failed(link, f"http_{status[:3]}")
        assert "before the hub" in str(link.state.failure)
        eventually(lambda: len(hub.requests) > 3)  # which says nothing of the key: the pauses are short


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found"])
def test_a_page_at_the_upgrade_comes_from_before_the_hub(status: str) -> None:
    listener = RecordingListener()
    hub = FaultHub([answers(status, PAGE, "Content-Type: text/html")])
    with hub, linked(hub.url, listener, negotiation="never") as link:
        assert "before the hub" in failed(link, f"http_{status[:3]}")


def test_a_refusal_of_the_hub_itself_says_why() -> None:
    listener = RecordingListener()
    hub = FaultHub(negotiations=[answers("403 Forbidden", f"KYC is not complete for {KEY}".encode())])
    with hub, linked(hub.url, listener) as link:
        assert "KYC state" in failed(link, "http_403")
        text = str(link.state.failure)
        assert "KYC is not complete for [redacted]" in text


@pytest.mark.parametrize("names", [["ServerSentEvents"], ["ServerSentEvents", "LongPolling"]])
def test_a_hub_without_websockets_is_named(names: list[str]) -> None:
    listener = RecordingListener()
    offered = [{"transport": name, "transferFormats": ["Text"]} for name in names]
    hub = FaultHub(negotiations=[says(availableTransports=offered)])
    with hub, linked(hub.url, listener) as link:
        assert "WebSockets only" in failed(link, "no_websockets")
        assert ", ".join(names) in str(link.state.failure)
        assert hub.upgrades == []


Step = Callable[[Act], FaultHub]


def at_negotiate(act: Act) -> FaultHub:
    return FaultHub(negotiations=[act])


def at_upgrade(act: Act) -> FaultHub:
    return FaultHub([act])


@pytest.mark.parametrize(
    ("step", "status", "words"),
    [
        (at_negotiate, "400 Bad Request", "does not understand the negotiate"),
        (at_negotiate, "405 Not Allowed", "no negotiate request"),
        (at_negotiate, "429 Too Many Requests", "limits connections"),
        (at_negotiate, "500 Oh", "fails"),
        (at_negotiate, "504 Gateway Timeout", "gateway"),
        (at_upgrade, "200 OK", "opens no WebSocket"),
        (at_upgrade, "400 Bad Request", "opens no WebSocket"),
        (at_upgrade, "426 Upgrade Required", "opens no WebSocket"),
        (at_upgrade, "429 Too Many Requests", "limits connections"),
        (at_upgrade, "503 Away", "gateway"),
        (at_upgrade, "401 Unauthorized", "refuses the key"),
    ],
)
def test_one_status_has_the_advice_of_its_step(step: Step, status: str, words: str) -> None:
    listener = RecordingListener()
    with step(answers(status)) as hub, linked(hub.url, listener) as link:
        assert words in failed(link, f"http_{status[:3]}")
