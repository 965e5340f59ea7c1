"""Our own negotiate: one POST with a deadline over all of it, a size limit, and no redirects.

signalrcore's has no deadline, follows redirects with the key in hand, and speaks version 0 only.
"""

import http.client
import json
import socket
import ssl
import threading
from contextlib import closing
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from ingestor.adapters.hub.causes import LinkCause, LinkFailure
from ingestor.adapters.hub.line import Line

_MOST_BYTES = 64 * 1024
_LONGEST_RETRY_AFTER_SECONDS = 3600.0


# The first that fits counts, so the special ones stand before the general one.
_CAUSES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], LinkCause], ...] = (
    (ssl.SSLError, LinkCause.TLS),
    (socket.gaierror, LinkCause.DNS),
    (ConnectionRefusedError, LinkCause.REFUSED),
    (http.client.RemoteDisconnected, LinkCause.EOF),
    ((ConnectionResetError, BrokenPipeError), LinkCause.RESET),
    (OSError, LinkCause.UNREACHABLE),
)


def websocket_url(hub_url: str, token: str | None = None) -> str:
    """The hub's address for WebSockets, with this connection token if there is one."""
    parts = urlsplit(hub_url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    query = parts.query if token is None else "&".join(filter(None, [parts.query, urlencode({"id": token})]))
    return urlunsplit((scheme, parts.netloc, parts.path or "/", query, ""))


def negotiate(hub_url: str, key: str, seconds: float, line: Line) -> str:
    """Ask for a connection token; gives the WebSocket address that it opens.

    Args:
        hub_url: http(s) or ws(s).
        key: sent as bearer token, to this host only.
        seconds: deadline of the whole exchange, however slowly the bytes drip.
        line: not yet open; closed in the end. Cutting it ends the exchange at once.

    Raises:
        LinkFailure: with the cause.
    """
    # Cutting the line from a timer bounds the exchange as a whole; a socket timeout bounds each read only.
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        line.cut()

    timer = threading.Timer(seconds, expire)
    timer.name, timer.daemon = "negotiate deadline", True
    timer.start()
    try:
        status, headers, body = _exchange(line.open(seconds), urlsplit(hub_url), key)
    except LinkFailure:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        if expired.is_set() or isinstance(error, TimeoutError):
            raise LinkFailure(LinkCause.TIMEOUT_NEGOTIATE, f"no answer within {seconds:g} s") from None
        raise LinkFailure(cause_of(error), _plain(error)) from None
    finally:
        timer.cancel()
        line.close()
    if expired.is_set():
        raise LinkFailure(LinkCause.TIMEOUT_NEGOTIATE, f"no whole answer within {seconds:g} s")
    return websocket_url(hub_url, _token(status, headers, body))


def cause_of(error: BaseException) -> LinkCause:
    """The cause that a socket or TLS error stands for."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return LinkCause.EOF
    return next((cause for kinds, cause in _CAUSES if isinstance(error, kinds)), LinkCause.NOT_JSON)


def _exchange(
    sock: socket.socket, parts: SplitResult, key: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection(parts.hostname or "")
    connection.sock = sock
    query = "&".join(filter(None, [parts.query, "negotiateVersion=1"]))
    connection.request(
        "POST",
        f"{parts.path.rstrip('/')}/negotiate?{query}",
        body=b"",
        headers={
            "Host": parts.netloc.rpartition("@")[2],
            "Authorization": f"Bearer {key}",
            "Accept": "application/json",
            "Content-Length": "0",
        },
    )
    body = b""
    with closing(connection.getresponse()) as response:
        while len(body) <= _MOST_BYTES:
            piece = response.read1(_MOST_BYTES)
            if not piece:
                return response.status, response.headers, body
            body += piece
    raise LinkFailure(LinkCause.TOO_LARGE, f"negotiate answered with more than {_MOST_BYTES} bytes")


def _token(status: int, headers: http.client.HTTPMessage, body: bytes) -> str:
    if 300 <= status < 400:
        raise LinkFailure(LinkCause.REDIRECT, f"negotiate answered {status}; not followed")
    if status != 200:
        raise LinkFailure(
            f"http_{status}",
            f"negotiate answered {status}",
            retry_after_seconds=retry_after(headers.get("Retry-After")),
        )
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise LinkFailure(LinkCause.NOT_JSON, "negotiate answered with something else than JSON") from None
    if not isinstance(answer, dict):
        raise LinkFailure(LinkCause.NOT_JSON, "negotiate answered with JSON that is not an object")
    if "url" in answer:
        raise LinkFailure(LinkCause.REDIRECT, "negotiate pointed to another address; not followed")
    if answer.get("error"):
        raise LinkFailure(LinkCause.NEGOTIATE_ERROR, "the hub refused to negotiate")
    token = answer.get("connectionToken") or answer.get("connectionId")
    if not isinstance(token, str) or not token:
        raise LinkFailure(LinkCause.NOT_JSON, "negotiate answered without a connection token")
    return token


def retry_after(value: str | None) -> float | None:
    """Seconds; the date form of the header is not used by hubs and is passed over."""
    if value is None or not value.strip().isdigit():
        return None
    return min(float(value), _LONGEST_RETRY_AFTER_SECONDS)


def _plain(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
