"""Our own negotiate: a POST with a deadline over all of it, a size limit, and no HTTP redirects.

signalrcore's has no deadline, follows redirects with the key in hand, forgets cookies, and speaks version 0
only. The redirect of the protocol itself (`url` and `accessToken` in the answer) is followed once, without
our key: https://github.com/dotnet/aspnetcore/blob/main/src/SignalR/docs/specs/TransportProtocols.md
"""

import http.client
import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from http.cookiejar import CookieJar
from urllib.parse import urlsplit
from urllib.request import Request

from ingestor import __version__
from ingestor.adapters.hub.address import http_url, is_safe, shown, websocket_url
from ingestor.adapters.hub.causes import LinkCause, LinkFailure, Step, http_failure
from ingestor.adapters.hub.tcp import SocketConnection
from ingestor.domain.redaction import Redactor

_MOST_BYTES = 64 * 1024
_USER_AGENT = f"hercle-ingestor/{__version__}"
_WEBSOCKETS = "websockets"

# The first that fits counts, so the special ones stand before the general one.
_CAUSES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], LinkCause], ...] = (
    (ssl.SSLError, LinkCause.TLS),
    (socket.gaierror, LinkCause.DNS),
    (ConnectionRefusedError, LinkCause.REFUSED),
    (http.client.RemoteDisconnected, LinkCause.EOF),
    ((ConnectionResetError, BrokenPipeError), LinkCause.RESET),
    (OSError, LinkCause.UNREACHABLE),
)


@dataclass(frozen=True, slots=True)
class Target:
    """Where the WebSocket is to be opened, and what goes with the upgrade."""

    hub_url: str
    """Of the hub that answers: a redirect may have changed it."""
    credential: str | None
    """Sent as bearer token."""
    token: str | None = None
    """Of the negotiated connection."""
    cookie: str | None = None
    """What the hub, or a balancer before it, set at negotiate: it leads to the same server again."""

    @property
    def url(self) -> str:
        return websocket_url(self.hub_url, self.token)

    @property
    def headers(self) -> dict[str, str]:
        secrets = {"Authorization": self.credential and f"Bearer {self.credential}", "Cookie": self.cookie}
        return {"User-Agent": _USER_AGENT, **{name: text for name, text in secrets.items() if text}}

    @property
    def step(self) -> Step:
        return Step.UPGRADE if self.token is None else Step.UPGRADE_WITH_TOKEN


Connect = Callable[[str], SocketConnection]
"""A connection to the host of this URL that has not been opened yet."""


def negotiate(hub_url: str, key: str, seconds: float, connect: Connect) -> Target:
    """Negotiate a connection.

    Args:
        hub_url: http(s) or ws(s).
        key: sent as bearer token, to this host only.
        seconds: deadline of the whole exchange, however slowly the bytes arrive.
        connect: cutting the connection that it gives ends the exchange at once.

    Raises:
        LinkFailure: with the cause.
    """
    with closing(_Exchange(seconds, connect)) as exchange:
        target = Target(hub_url, key)
        answer = exchange.post(target)
        if "url" in answer:
            target = _redirected(answer)
            try:
                answer = exchange.post(target)
            except LinkFailure as failure:  # nobody else knows this token, so it is masked here
                raise failure.cleaned(partial(without, target.credential)) from None
            if "url" in answer:
                raise LinkFailure(LinkCause.REDIRECT, "the hub redirected negotiate twice; not followed")
        return replace(target, token=_token(answer), cookie=exchange.cookie(target.hub_url))


def fits_a_header(key: str) -> bool:
    """Whether the key can be sent as a bearer token at all: visible ASCII, and not empty."""
    return bool(key) and all("!" <= char <= "~" for char in key)


def without(credential: str | None, text: str) -> str:
    """`text` with the credential masked, whole and in pieces: a hub may quote a part of what it was sent."""
    redactor = Redactor(shortest=1)
    redactor.register(credential or "")
    return redactor.redact(text)


def cause_of(error: BaseException) -> LinkCause:
    """The cause that a socket or TLS error stands for."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return LinkCause.EOF
    return next((cause for kinds, cause in _CAUSES if isinstance(error, kinds)), LinkCause.NOT_JSON)


class _Exchange:
    """The requests of one negotiate, with their cookies and one deadline over all of them."""

    def __init__(self, seconds: float, connect: Connect) -> None:
        self._seconds = seconds
        self._connect = connect
        self._cookies = CookieJar()
        self._connection: SocketConnection | None = None
        # Cutting the connection from a timer bounds the whole exchange; a socket timeout bounds each read.
        self._expired = threading.Event()
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.name, self._timer.daemon = "negotiate deadline", True
        self._timer.start()

    def post(self, target: Target) -> dict[str, object]:
        """The answer of one hub. Raises LinkFailure."""
        connection = self._connection = self._connect(target.hub_url)
        if self._expired.is_set():
            connection.cut()
        try:
            status, headers, body = self._roundtrip(connection.open(self._seconds), target)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if self._expired.is_set() or isinstance(error, TimeoutError):
                raise self._late() from None
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise LinkFailure(cause_of(error), text[:200]) from None
        finally:
            connection.close()
        if self._expired.is_set():
            raise self._late()
        if status != 200:
            raise http_failure(Step.NEGOTIATE, status, headers, body)
        return _answer(body)

    def cookie(self, hub_url: str) -> str | None:
        """The `Cookie` header that belongs to this address."""
        request = Request(http_url(hub_url))  # noqa: S310 - the jar's form of an address; nothing opens it
        self._cookies.add_cookie_header(request)
        cookie = request.get_header("Cookie")
        return cookie if cookie is not None and cookie.isascii() and cookie.isprintable() else None

    def close(self) -> None:
        self._timer.cancel()

    def _expire(self) -> None:
        self._expired.set()
        if self._connection is not None:
            self._connection.cut()

    def _late(self) -> LinkFailure:
        return LinkFailure(LinkCause.TIMEOUT_NEGOTIATE, f"no whole answer within {self._seconds:g} s")

    def _roundtrip(self, sock: socket.socket, target: Target) -> tuple[int, http.client.HTTPMessage, bytes]:
        url = http_url(target.hub_url)
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname or "")
        connection.sock = sock
        query = "&".join(filter(None, [parts.query, "negotiateVersion=1"]))
        connection.request(
            "POST",
            f"{parts.path.rstrip('/')}/negotiate?{query}",
            body=b"",
            headers={
                "Host": parts.netloc,
                "Accept": "application/json",
                "Content-Length": "0",
                **target.headers,
            },
        )
        with closing(connection.getresponse()) as response:
            body = response.read(_MOST_BYTES + 1)
            if len(body) > _MOST_BYTES:
                text = f"negotiate answered with more than {_MOST_BYTES} bytes"
                raise LinkFailure(LinkCause.TOO_LARGE, text)
            self._cookies.extract_cookies(response, Request(url))  # noqa: S310 - as in `cookie`
            return response.status, response.headers, body


def _answer(body: bytes) -> dict[str, object]:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise LinkFailure(LinkCause.NOT_JSON, "negotiate answered with something other than JSON") from None
    if not isinstance(answer, dict):
        raise LinkFailure(LinkCause.NOT_JSON, "negotiate answered with JSON that is not an object")
    if answer.get("error"):
        raise LinkFailure(LinkCause.NEGOTIATE_ERROR, f"the hub refused: {answer['error']}")
    return answer


def _redirected(answer: dict[str, object]) -> Target:
    url, token = answer["url"], answer.get("accessToken")
    try:
        safe = isinstance(url, str) and is_safe(url) and (urlsplit(url).port or 0) >= 0
    except ValueError:
        safe = False
    if not safe:
        text = shown(url) if isinstance(url, str) else "something that is no address"
        raise LinkFailure(
            LinkCause.REDIRECT, f"negotiate pointed to {text}, which is not https; not followed"
        )
    if token is not None and not (isinstance(token, str) and fits_a_header(token)):
        raise LinkFailure(LinkCause.NOT_JSON, "negotiate redirected with a token that no header can carry")
    return Target(str(url), token if isinstance(token, str) else None)


def _token(answer: dict[str, object]) -> str:
    token = answer.get("connectionToken") or answer.get("connectionId")
    if not isinstance(token, str) or not token:
        raise LinkFailure(LinkCause.NOT_JSON, "negotiate answered without a connection token")
    offered = answer.get("availableTransports")
    if isinstance(offered, list) and offered:
        names = [str(each.get("transport")) if isinstance(each, dict) else str(each) for each in offered]
        if not any(name.lower() == _WEBSOCKETS for name in names):
            text = f"the hub offers no WebSockets, only {', '.join(names)}"
            raise LinkFailure(LinkCause.NO_WEBSOCKETS, text)
    return token
