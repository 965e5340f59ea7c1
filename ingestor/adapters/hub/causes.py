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
    """An operator has paused the account: we closed it, and do not connect."""
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
    """Negotiate was answered with something that the protocol does not define, such as a maintenance page."""
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
"""Causes that are no failure: the link was closed on request."""


class Step(StrEnum):
    """The HTTP request that was answered; the same status has a different meaning for each."""

    NEGOTIATE = "negotiate"
    UPGRADE = "upgrade"
    UPGRADE_WITH_TOKEN = "upgrade_with_token"  # noqa: S105 - the name of a step
    """The upgrade of a connection that the hub has just negotiated."""


@dataclass(eq=False)
class LinkFailure(Exception):
    """An attempt or a session has ended."""

    cause: str
    """A `LinkCause` or `http_<status>`."""
    detail: str = ""
    """Details as text. May quote the hub; outside of the adapter it is masked by `cleaned`."""
    _: KW_ONLY
    step: Step | None = None
    """The HTTP request that was answered with a status."""
    before_hub: bool = False
    """The answer is an HTML page, so it comes from a proxy or firewall before the hub."""
    retry_after_seconds: float | None = None
    """The pause that the hub requested; None if it did not."""

    def __post_init__(self) -> None:
        self.cause = str(self.cause)  # because a driver would store the name of an enum's member

    @override
    def __str__(self) -> str:
        return f"{self.cause}: {self.detail}" if self.detail else self.cause

    @property
    def refuses_key(self) -> bool:
        """Whether the hub itself refused the key."""
        return self.cause in {"http_401", "http_403"} and not self.before_hub

    def cleaned(self, clean: Callable[[str], str]) -> "LinkFailure":
        """A copy whose detail is masked by `clean`."""
        return replace(self, detail=clean(self.detail))


# The first matching class is used, so subclasses come before their bases.
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
    """The cause for an error of the socket, of TLS or of HTTP."""
    return next((cause for kind, cause in _CAUSES if isinstance(error, kind)), LinkCause.NOT_JSON)


def http_failure(step: Step, status: int, headers: HTTPMessage | Headers, body: bytes) -> LinkFailure:
    """The failure for an HTTP status other than success.

    Args:
        body: the part of it that was read.
    """
    page = "html" in (headers.get("Content-Type") or "").lower() or body.lstrip()[:1] == b"<"
    # 401 is always about the key: servers of hubs send it with an HTML page themselves.
    before_hub = page and 400 <= status < 500 and status != 401
    request = "negotiate" if step is Step.NEGOTIATE else "the upgrade"
    detail = f"{request} was answered {status}"
    if before_hub:
        detail += " with an HTML page, which comes from something before the hub (a proxy or a firewall)"
    elif body and not page and step is Step.NEGOTIATE:  # that of the upgrade is incomplete and not decoded
        detail += f": {body[:_SHOWN_BODY].decode(errors='replace')}"
    if 300 <= status < 400:
        return LinkFailure(LinkCause.REDIRECT, f"{detail}; not followed", step=step)
    retry_after = _seconds(headers.get("Retry-After"))
    return LinkFailure(
        f"http_{status}", detail, step=step, before_hub=before_hub, retry_after_seconds=retry_after
    )


def _seconds(retry_after: str | None) -> float | None:
    """The header in seconds. Its date form, which hubs do not use, is ignored."""
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
    LinkCause.REFUSED: f"no server listens at this address: check hub.url; {_MAINTENANCE}",
    LinkCause.NO_WEBSOCKETS: "this software uses WebSockets only: check hub.url, or ask Hercle",
    LinkCause.NEGOTIATE_ERROR: "the hub does not accept the connection, for the reason that it gives",
    LinkCause.REDIRECT: "the hub has moved: set hub.url to its new address",
    LinkCause.NOT_JSON: f"the server at this address is not a SignalR hub: check hub.url; {_MAINTENANCE}",
    LinkCause.UPGRADE_REFUSED: f"the server at this address offers no WebSockets: check hub.url; {_PROXY}",
    LinkCause.HANDSHAKE_ERROR: "the hub does not accept the SignalR handshake, for the reason that it gives",
}
_BY_STATUS: dict[int | tuple[int, Step | None], str] = {
    401: "the hub refuses the key: check that it belongs to hub.environment and has not expired",
    403: "the key may not open this hub: check its permissions and your KYC state",
    404: "there is no hub at this address: check hub.url or hub.environment",
    (404, Step.NEGOTIATE): "the hub has no negotiate page here: check hub.url, or set hub.negotiate to auto",
    (405, Step.NEGOTIATE): "this address accepts no negotiate request: check hub.url",
    (404, Step.UPGRADE_WITH_TOKEN): (
        "the hub does not know the connection that it has just negotiated: a load balancer sends the two "
        "requests to different servers, and must send both to the same one"
    ),
    429: "the hub limits connections or requests: stop other programs that use this key; the daemon "
    "tries again by itself",
}


def advice(failure: LinkFailure) -> str:
    """What to do about a failed attempt: one sentence, without text of the hub."""
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
    return f"the server at this address opens no WebSocket: {_PROXY}"
