"""Why an attempt failed or a session ended: names from a fixed list, so that gap rows can be grouped."""

from enum import StrEnum


class LinkCause(StrEnum):
    """Stored in `gap.cause`, `gap.obstacles` and `session.cause`. HTTP statuses are `http_<status>`."""

    STOPPED = "stopped"
    """We closed it."""
    NO_KEY = "no_key"
    """The API key could not be read."""
    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    TLS = "tls"
    TIMEOUT_NEGOTIATE = "timeout_negotiate"
    NOT_JSON = "not_json"
    """Negotiate answered with something else than what the protocol says, such as a maintenance page."""
    TOO_LARGE = "too_large"
    REDIRECT = "redirect"
    """Negotiate pointed elsewhere; the key goes nowhere but to the configured host."""
    NEGOTIATE_ERROR = "negotiate_error"
    TIMEOUT_UPGRADE = "timeout_upgrade"
    UPGRADE_REFUSED = "upgrade_refused"
    TIMEOUT_HANDSHAKE = "timeout_handshake"
    HANDSHAKE_ERROR = "handshake_error"
    SILENT = "silent"
    """Nothing was heard for longer than the receive deadline."""
    RESET = "reset"
    EOF = "eof"
    """The hub closed TCP without a word."""
    CLOSED_BY_HUB = "closed_by_hub"
    """A Close record or a WebSocket close frame."""
    BAD_FRAME = "bad_frame"
    FRAME_TOO_LARGE = "frame_too_large"
    """A message so long that waiting for its end would be no better than silence."""
    SEND_FAILED = "send_failed"


class LinkFailure(Exception):
    """An attempt or a session is over.

    Args:
        cause: a `LinkCause` or `http_<status>`.
        detail: for people; never holds the key.
        retry_after_seconds: what the hub asked for, if it did.
    """

    def __init__(self, cause: str, detail: str = "", *, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{cause}: {detail}" if detail else cause)
        self.cause = str(cause)
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds

    @property
    def refuses_key(self) -> bool:
        """Whether the hub said that this key does not open it."""
        return self.cause in {"http_401", "http_403"}
