"""Why an attempt failed or a session ended, and what an operator can do about it.

The causes are names from a fixed list, so that gap rows can be grouped.
"""

import socket
import ssl
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from enum import StrEnum
from http.client import HTTPMessage, RemoteDisconnected

from typing_extensions import override
from websockets.datastructures import Headers

_LONGEST_RETRY_AFTER_SECONDS = 3600.0
_SHOWN_BODY = 200


class LinkCause(StrEnum):
    """Stored in `gap.cause`, `gap.connection_errors`, `session.cause`. HTTP statuses are `http_<status>`."""

    STOPPED = "stopped"
    """We closed it."""
    PAUSED = "paused"
    """An operator has paused the account: we closed it, and stay away."""
    RECONNECT = "reconnect"
    """`ingestor reconnect` asked for it."""
    NO_KEY = "no_key"
    """The API key could not be read."""
    DNS = "dns"
    REFUSED = "refused"
    """Nobody listens at that port."""
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMEOUT_NEGOTIATE = "timeout_negotiate"
    NOT_JSON = "not_json"
    """Negotiate was answered with something other than the protocol says, such as a maintenance page."""
    TOO_LARGE = "too_large"
    REDIRECT = "redirect"
    """An HTTP redirect, or a second or unsafe redirect in the answer to negotiate; not followed."""
    NEGOTIATE_ERROR = "negotiate_error"
    NO_WEBSOCKETS = "no_websockets"
    """Negotiate offered other transports only."""
    TIMEOUT_UPGRADE = "timeout_upgrade"
    UPGRADE_REFUSED = "upgrade_refused"
    TIMEOUT_HANDSHAKE = "timeout_handshake"
    HANDSHAKE_ERROR = "handshake_error"
    SILENT = "silent"
    """Nothing was received for longer than the receive deadline."""
    RESET = "reset"
    EOF = "eof"
    """The hub closed TCP without a Close record or a close frame."""
    CLOSED_BY_HUB = "closed_by_hub"
    """A Close record or a WebSocket close frame."""
    BAD_FRAME = "bad_frame"
    FRAME_TOO_LARGE = "frame_too_large"
    """A message so long that reading it to its end would take as long as a silence does."""
    SEND_FAILED = "send_failed"


ASKED = frozenset({LinkCause.STOPPED, LinkCause.PAUSED})
"""What is no failure: the link closes in good order, because somebody wants no link."""


class Step(StrEnum):
    """Which HTTP request was answered: one status means different things at each."""

    NEGOTIATE = "negotiate"
    UPGRADE = "upgrade"
    UPGRADE_WITH_TOKEN = "upgrade_with_token"  # noqa: S105 - the name of a step
    """The upgrade of a connection that the hub has just negotiated."""


@dataclass(eq=False)
class LinkFailure(Exception):
    """An attempt or a session is over."""

    cause: str
    """A `LinkCause` or `http_<status>`."""
    detail: str = ""
    """For people. May quote the hub; what leaves the adapter has gone through `cleaned`."""
    _: KW_ONLY
    step: Step | None = None
    """For an HTTP status, what it was the answer to."""
    before_hub: bool = False
    """The answer comes from something before the hub: it is an HTML page."""
    retry_after_seconds: float | None = None
    """What the hub asked for, if it did."""

    def __post_init__(self) -> None:
        self.cause = str(self.cause)  # a driver would store an enum's member by its name

    @override
    def __str__(self) -> str:
        return f"{self.cause}: {self.detail}" if self.detail else self.cause

    @property
    def refuses_key(self) -> bool:
        """Whether the hub itself said that this key is not allowed in."""
        return self.cause in {"http_401", "http_403"} and not self.before_hub

    def cleaned(self, clean: Callable[[str], str]) -> "LinkFailure":
        """The same with a detail that has gone through `clean`."""
        return replace(self, detail=clean(self.detail))


# The first that fits counts, so the special ones stand before the general one.
_CAUSES = (
    (ssl.SSLEOFError, LinkCause.EOF),
    (ssl.SSLZeroReturnError, LinkCause.EOF),
    (ssl.SSLError, LinkCause.TLS),
    (socket.gaierror, LinkCause.DNS),
    (ConnectionRefusedError, LinkCause.REFUSED),
    (RemoteDisconnected, LinkCause.EOF),
    (ConnectionResetError, LinkCause.RESET),
    (BrokenPipeError, LinkCause.RESET),
    (OSError, LinkCause.UNREACHABLE),
)


def cause_of(error: Exception) -> LinkCause:
    """The cause that an error of the socket, of TLS or of HTTP stands for."""
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), LinkCause.NOT_JSON)


def http_failure(step: Step, status: int, headers: HTTPMessage | Headers, body: bytes) -> LinkFailure:
    """What an HTTP status other than success says.

    Args:
        body: as much of it as has been read.
    """
    page = "html" in (headers.get("Content-Type") or "").lower() or body.lstrip()[:1] == b"<"
    # 401 stays a word about the key: servers that host hubs send an HTML page with it themselves.
    before_hub = page and 400 <= status < 500 and status != 401
    request = "negotiate" if step is Step.NEGOTIATE else "the upgrade"
    detail = f"{request} was answered {status}"
    if before_hub:
        detail += " with an HTML page, which comes from something before the hub (a proxy or a firewall)"
    elif body and not page and step is Step.NEGOTIATE:  # the upgrade's is read as far as it came, undecoded
        detail += f": {body[:_SHOWN_BODY].decode(errors='replace')}"
    if 300 <= status < 400:
        return LinkFailure(LinkCause.REDIRECT, f"{detail}; not followed", step=step)
    retry_after = _seconds(headers.get("Retry-After"))
    return LinkFailure(
        f"http_{status}", detail, step=step, before_hub=before_hub, retry_after_seconds=retry_after
    )


def _seconds(retry_after: str | None) -> float | None:
    """The date form of the header is not used by hubs and is ignored."""
    if retry_after is None or not retry_after.strip().isdecimal():
        return None
    return min(float(retry_after), _LONGEST_RETRY_AFTER_SECONDS)


_MAINTENANCE = "the hub has maintenance on Wednesday mornings, UTC"
_NOT_HUB = (
    "something before the hub answers (a proxy, a firewall, or a block of this machine's address): "
    "check hub.url and the network path"
)
_PROXY = "check that a proxy before the hub passes `Upgrade` and `Connection` on"
_BY_CAUSE: dict[str, str] = {
    LinkCause.DNS: "the name of the host is unknown: check hub.url and this machine's DNS",
    LinkCause.TLS: "the certificate is not trusted: check the clock, hub.url and hub.ca_file",
    LinkCause.NO_KEY: "the key cannot be read: see the line `key` of `ingestor check`",
    LinkCause.REFUSED: f"nobody listens at this address: check hub.url; {_MAINTENANCE}",
    LinkCause.NO_WEBSOCKETS: "this software speaks WebSockets only: check hub.url, or ask Hercle",
    LinkCause.NEGOTIATE_ERROR: "the hub does not accept the connection, for the reason that it gives",
    LinkCause.REDIRECT: "set hub.url to the address that the hub has moved to",
    LinkCause.NOT_JSON: f"what answers is not a SignalR hub: check hub.url; {_MAINTENANCE}",
    LinkCause.UPGRADE_REFUSED: f"what answers is not a WebSocket server: check hub.url; {_PROXY}",
    LinkCause.HANDSHAKE_ERROR: "the hub does not accept the SignalR handshake, for the reason that it gives",
}
_BY_STATUS: dict[int | tuple[int, Step | None], str] = {
    401: "the hub refuses the key: check that it belongs to hub.environment and has not expired",
    403: "the key may not open this hub: check its permissions and your KYC state",
    404: "there is no hub at this address: check hub.url or hub.environment",
    (404, Step.NEGOTIATE): "the hub has no negotiate page here: check hub.url, or set hub.negotiate to auto",
    (405, Step.NEGOTIATE): "this address takes no negotiate request: check hub.url",
    (404, Step.UPGRADE_WITH_TOKEN): (
        "the hub does not know the connection that it has just negotiated: a load balancer sends the two "
        "requests to different servers, and must keep them together"
    ),
    429: "the hub limits connections or requests: see that nothing else connects with this key; the daemon "
    "tries again by itself",
}


def advice(failure: LinkFailure) -> str:
    """What can be done about a failed attempt: one sentence, without the hub's own words."""
    if failure.before_hub:
        return _NOT_HUB
    if not failure.cause.startswith("http_"):
        return _BY_CAUSE.get(failure.cause, f"check the network path; {_MAINTENANCE}")
    status, step = int(failure.cause.removeprefix("http_")), failure.step
    known = _BY_STATUS.get((status, step)) or _BY_STATUS.get(status)
    if known is not None:
        return known
    if status >= 500:
        return f"the hub, or a gateway before it, fails; the daemon tries again by itself ({_MAINTENANCE})"
    if step is Step.NEGOTIATE:
        return "the hub does not understand the negotiate request: check hub.url"
    return f"the address answers as a web server and opens no WebSocket: {_PROXY}"
