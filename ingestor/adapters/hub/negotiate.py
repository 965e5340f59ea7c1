"""Our own negotiate: a POST that can be cut, with a size limit and without HTTP redirects.

signalrcore's cannot be ended, sends the key to the target of a redirect, drops cookies, and uses version 0
only. The redirect of the protocol itself (`url` and `accessToken` in the answer) is followed once, without
our key: https://github.com/dotnet/aspnetcore/blob/main/src/SignalR/docs/specs/TransportProtocols.md
"""

import http.client
import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from http.cookiejar import CookieJar
from urllib.parse import urlsplit
from urllib.request import Request

from ingestor import __version__
from ingestor.adapters.hub.address import http_url, is_safe, shown, websocket_url
from ingestor.adapters.hub.causes import LinkCause, LinkFailure, Step, cause_of, http_failure
from ingestor.adapters.hub.tcp import SocketConnection
from ingestor.domain.redaction import Redactor

_MOST_BYTES = 64 * 1024
_USER_AGENT = f"hercle-ingestor/{__version__}"
_WEBSOCKETS = "websockets"


@dataclass(frozen=True, slots=True)
class Target:
    """Where the WebSocket is to be opened, and what is sent with the upgrade."""

    hub_url: str
    """Of the hub that answers: a redirect may have changed it."""
    credential: str | None
    """Sent as bearer token."""
    token: str | None = None
    """Of the negotiated connection."""
    cookie: str | None = None
    """Set by the hub, or a load balancer before it, at negotiate, so that the upgrade reaches the same
    server."""
    date: str | None = None
    """The header `Date` of the answer to negotiate: the time of the hub's clock."""

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
    """Negotiate a connection. Ends at once when the connection that `connect` returned is cut.

    Args:
        hub_url: http(s) or ws(s).
        key: sent as bearer token, to this host only.
        seconds: the longest wait for the next bytes. The caller limits the whole duration.

    Raises:
        LinkFailure: with the cause.
    """
    cookies = CookieJar()
    target = Target(hub_url, key)
    answer, date = _post(target, seconds, connect, cookies)
    if "url" in answer:
        target = _redirected(answer)
        try:
            answer, date = _post(target, seconds, connect, cookies)
        except LinkFailure as failure:  # nobody else knows this token, so it is masked here
            raise failure.cleaned(partial(without, target.credential)) from None
        if "url" in answer:
            raise LinkFailure(LinkCause.REDIRECT, "the hub redirected negotiate twice; not followed")
    return replace(target, token=_token(answer), cookie=_cookie(cookies, target.hub_url), date=date)


def fits_a_header(key: str) -> bool:
    """Whether the key can be sent as a bearer token at all: visible ASCII, and not empty."""
    return bool(key) and all("!" <= char <= "~" for char in key)


def without(credential: str | None, text: str) -> str:
    """`text` with the credential masked, whole and in pieces: a hub may quote a part of what it was sent."""
    redactor = Redactor(shortest=1)
    redactor.register(credential or "")
    return redactor.redact(text)


def _post(
    target: Target, seconds: float, connect: Connect, cookies: CookieJar
) -> tuple[dict[str, object], str | None]:
    """The answer of one hub, whose cookies go into the jar, and its date. Raises LinkFailure."""
    url = http_url(target.hub_url)
    parts = urlsplit(url)
    request = http.client.HTTPConnection(parts.hostname or "")
    query = "&".join(filter(None, [parts.query, "negotiateVersion=1"]))
    path = f"{parts.path.rstrip('/')}/negotiate?{query}"
    headers = {"Host": parts.netloc, "Accept": "application/json", "Content-Length": "0", **target.headers}
    with closing(connect(target.hub_url)) as connection:
        try:
            request.sock = connection.open(seconds)
            request.request("POST", path, body=b"", headers=headers)
            with closing(request.getresponse()) as response:
                body = response.read(_MOST_BYTES + 1)
        except TimeoutError:
            raise LinkFailure(LinkCause.TIMEOUT_NEGOTIATE, f"nothing received for {seconds:g} s") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise LinkFailure(cause_of(error), text[:200]) from None
    if len(body) > _MOST_BYTES:
        raise LinkFailure(LinkCause.TOO_LARGE, f"negotiate answered with more than {_MOST_BYTES} bytes")
    if response.status != 200:
        raise http_failure(Step.NEGOTIATE, response.status, response.headers, body)
    cookies.extract_cookies(response, Request(url))  # noqa: S310 - the jar's form of an address; nothing opens it
    return _answer(body), response.headers.get("Date")


def _cookie(cookies: CookieJar, hub_url: str) -> str | None:
    """The `Cookie` header that belongs to this address."""
    request = Request(http_url(hub_url))  # noqa: S310 - as in `_post`
    cookies.add_cookie_header(request)
    cookie = request.get_header("Cookie")
    return cookie if cookie is not None and cookie.isascii() and cookie.isprintable() else None


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
        raise LinkFailure(LinkCause.NOT_JSON, "negotiate redirected with a token that no header can contain")
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
