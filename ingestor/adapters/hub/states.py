"""The link's states and transitions: the link runs by this table, and STATES.md is drawn from it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from ingestor.adapters.hub.causes import LinkFailure


class LinkState(StrEnum):
    """Shown in `ingest.heartbeat.link_state`, `ingestor status` and the systemd status line."""

    IDLE = "idle"
    NEGOTIATING = "negotiating"
    CONNECTING = "connecting"
    HANDSHAKING = "handshaking"
    UP = "up"
    CLOSING = "closing"
    WAITING = "waiting"
    PAUSED = "paused"
    """An operator has paused the account."""
    STOPPED = "stopped"


class LinkEvent(StrEnum):
    """What can happen to the link."""

    START = "start"
    NEGOTIATED = "negotiated"
    UPGRADED = "upgraded"
    HANDSHAKE_ANSWERED = "handshake answered"
    FAILED = "failed, lost or silent"
    TORN_DOWN = "torn down"
    DUE = "wait is over"
    PAUSE = "an operator pauses"
    RESUME = "an operator resumes"
    STOP = "stop"


TRANSITIONS: dict[tuple[LinkState, LinkEvent], LinkState] = {
    (LinkState.IDLE, LinkEvent.START): LinkState.NEGOTIATING,
    (LinkState.NEGOTIATING, LinkEvent.NEGOTIATED): LinkState.CONNECTING,
    (LinkState.CONNECTING, LinkEvent.UPGRADED): LinkState.HANDSHAKING,
    (LinkState.HANDSHAKING, LinkEvent.HANDSHAKE_ANSWERED): LinkState.UP,
    (LinkState.NEGOTIATING, LinkEvent.FAILED): LinkState.CLOSING,
    (LinkState.CONNECTING, LinkEvent.FAILED): LinkState.CLOSING,
    (LinkState.HANDSHAKING, LinkEvent.FAILED): LinkState.CLOSING,
    (LinkState.UP, LinkEvent.FAILED): LinkState.CLOSING,
    (LinkState.CLOSING, LinkEvent.TORN_DOWN): LinkState.WAITING,
    (LinkState.WAITING, LinkEvent.DUE): LinkState.NEGOTIATING,
    (LinkState.IDLE, LinkEvent.PAUSE): LinkState.PAUSED,
    (LinkState.WAITING, LinkEvent.PAUSE): LinkState.PAUSED,
    (LinkState.NEGOTIATING, LinkEvent.PAUSE): LinkState.CLOSING,
    (LinkState.CONNECTING, LinkEvent.PAUSE): LinkState.CLOSING,
    (LinkState.HANDSHAKING, LinkEvent.PAUSE): LinkState.CLOSING,
    (LinkState.UP, LinkEvent.PAUSE): LinkState.CLOSING,
    (LinkState.PAUSED, LinkEvent.RESUME): LinkState.NEGOTIATING,
    (LinkState.PAUSED, LinkEvent.STOP): LinkState.STOPPED,
    (LinkState.IDLE, LinkEvent.STOP): LinkState.STOPPED,
    (LinkState.WAITING, LinkEvent.STOP): LinkState.STOPPED,
    (LinkState.NEGOTIATING, LinkEvent.STOP): LinkState.CLOSING,
    (LinkState.CONNECTING, LinkEvent.STOP): LinkState.CLOSING,
    (LinkState.HANDSHAKING, LinkEvent.STOP): LinkState.CLOSING,
    (LinkState.UP, LinkEvent.STOP): LinkState.CLOSING,
}


def after(state: LinkState, event: LinkEvent) -> LinkState:
    """The next state. Raises KeyError for a transition that is not in the table, which is a bug."""
    return TRANSITIONS[state, event]


@dataclass(frozen=True, slots=True)
class LinkStatus:
    """The link at one moment."""

    name: str
    generation: int
    session: UUID | None
    failure: LinkFailure | None
    """Why there is no link: how the last attempt or session ended. Cleaned of credentials."""
    last_message_at: datetime | None
    attempts: int
    """Since the last session."""
    abandoned_threads: int
    next_attempt_in_seconds: float | None
    """While it waits."""
    links_lost_last_hour: int

    @property
    def connection_error(self) -> str | None:
        """The cause of `failure`."""
        return None if self.failure is None else self.failure.cause
