"""Our own negotiate: one POST with a deadline over all of it, a size limit, and no redirects.

signalrcore's has no deadline, follows redirects with the key in hand, and speaks version 0 only.
"""

import http.client
import json
import socket
import ssl
import threading
from urllib.parse import SplitResult, urlencode, urlsplit, urlunsplit

from ingestor.adapters.hub.causes import LinkCause, LinkFailure

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
    return urlunsplit((scheme, parts.netloc, parts.path, query, ""))


def negotiate(hub_url: str, key: str, seconds: float, tls: ssl.SSLContext) -> str:
    """Ask for a connection token; gives the WebSocket address that it opens.

    Args:
        hub_url: http(s) or ws(s).
        key: sent as bearer token, to this host only.
        seconds: deadline of the whole exchange, however slowly the bytes drip.

    Raises:
        LinkFailure: with the cause.
    """
    parts = urlsplit(hub_url)
    connection = _connection(parts, seconds, tls)
    # Closing the socket from a timer bounds the exchange as a whole; a socket timeout bounds each read only.
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        if connection.sock is not None:
            try:
                connection.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return  # it has ended by itself at the same moment

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    try:
        status, headers, body = _exchange(connection, parts, key)
    except LinkFailure:
        raise
    except (OSError, http.client.HTTPException, ValueError) as error:
        if expired.is_set() or isinstance(error, TimeoutError):
            raise LinkFailure(LinkCause.TIMEOUT_NEGOTIATE, f"no answer within {seconds:g} s") from None
        raise LinkFailure(cause_of(error), _plain(error)) from None
    finally:
        timer.cancel()
        connection.close()
    if expired.is_set():
        raise LinkFailure(LinkCause.TIMEOUT_NEGOTIATE, f"no whole answer within {seconds:g} s")
    return websocket_url(hub_url, _token(status, headers, body))


def cause_of(error: BaseException) -> LinkCause:
    """The cause that a socket or TLS error stands for."""
    return next((cause for kinds, cause in _CAUSES if isinstance(error, kinds)), LinkCause.NOT_JSON)


def _connection(parts: SplitResult, seconds: float, tls: ssl.SSLContext) -> http.client.HTTPConnection:
    host = parts.hostname or ""
    if parts.scheme in {"https", "wss"}:
        return http.client.HTTPSConnection(host, parts.port, timeout=seconds, context=tls)
    return http.client.HTTPConnection(host, parts.port, timeout=seconds)


def _exchange(
    connection: http.client.HTTPConnection, parts: SplitResult, key: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    query = "&".join(filter(None, [parts.query, "negotiateVersion=1"]))
    connection.request(
        "POST",
        f"{parts.path.rstrip('/')}/negotiate?{query}",
        body=b"",
        headers={"Authorization": f"Bearer {key}", "Accept": "application/json", "Content-Length": "0"},
    )
    response = connection.getresponse()
    body = b""
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
            retry_after_seconds=_retry_after(headers.get("Retry-After")),
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


def _retry_after(value: str | None) -> float | None:
    """Seconds; the date form of the header is not used by hubs and is passed over."""
    if value is None or not value.strip().isdigit():
        return None
    return min(float(value), _LONGEST_RETRY_AFTER_SECONDS)


def _plain(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:200]
