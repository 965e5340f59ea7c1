"""The hub's address: which ones are safe, how they are shown, and what WebSockets call them."""

from urllib.parse import urlencode, urlsplit, urlunsplit

from ingestor.domain.errors import BadConfiguration

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_WEBSOCKET = {"http": "ws", "https": "wss"}
_HTTP = {"ws": "http", "wss": "https"}


def is_safe(url: str) -> bool:
    """Whether a credential may be sent there: over TLS, or in plain text to this machine."""
    parts = urlsplit(url)
    if parts.scheme in {"https", "wss"}:
        return bool(parts.hostname)
    return parts.scheme in {"http", "ws"} and (parts.hostname or "") in _LOOPBACK


def require_safe(url: str) -> None:
    """Raises BadConfiguration for an address to which the key may not be sent."""
    if not is_safe(url):
        raise BadConfiguration(
            f"hub.url {shown(url)!r} is refused\n"
            "why: the key would be sent unencrypted; plain http and ws are for loopback only\n"
            "fix: use https or wss"
        )


def shown(url: str) -> str:
    """`url` for logs and tables: without credentials, query and fragment."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def http_url(url: str) -> str:
    """The address with the scheme http or https, without credentials and fragment."""
    return _with_scheme(url, _HTTP)


def websocket_url(url: str, token: str | None = None) -> str:
    """The same with ws or wss, and with this connection token if there is one."""
    url = _with_scheme(url, _WEBSOCKET)
    if token is None:
        return url
    return f"{url}{'&' if urlsplit(url).query else '?'}{urlencode({'id': token})}"


def _with_scheme(url: str, schemes: dict[str, str]) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((schemes.get(parts.scheme, parts.scheme), host, parts.path or "/", parts.query, ""))
