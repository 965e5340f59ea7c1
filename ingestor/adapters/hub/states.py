"""The link's states and what may follow what: a table to run by and to draw from.

`python -m ingestor.adapters.hub.states` draws STATES.md anew.
"""

from enum import StrEnum
from pathlib import Path


class LinkState(StrEnum):
    """Shown in `ingest.heartbeat.link_state`, `ingestor status` and the systemd status line."""

    IDLE = "idle"
    NEGOTIATING = "negotiating"
    CONNECTING = "connecting"
    HANDSHAKING = "handshaking"
    UP = "up"
    CLOSING = "closing"
    WAITING = "waiting"
    STOPPED = "stopped"


class LinkEvent(StrEnum):
    """What can happen to the link."""

    START = "start"
    NEGOTIATED = "negotiated"
    UPGRADED = "upgraded"
    HANDSHAKEN = "handshake answered"
    FAILED = "failed, lost or silent"
    TORN_DOWN = "torn down"
    DUE = "pause is over"
    STOP = "stop"


TRANSITIONS: dict[tuple[LinkState, LinkEvent], LinkState] = {
    (LinkState.IDLE, LinkEvent.START): LinkState.NEGOTIATING,
    (LinkState.NEGOTIATING, LinkEvent.NEGOTIATED): LinkState.CONNECTING,
    (LinkState.CONNECTING, LinkEvent.UPGRADED): LinkState.HANDSHAKING,
    (LinkState.HANDSHAKING, LinkEvent.HANDSHAKEN): LinkState.UP,
    (LinkState.NEGOTIATING, LinkEvent.FAILED): LinkState.CLOSING,
    (LinkState.CONNECTING, LinkEvent.FAILED): LinkState.CLOSING,
    (LinkState.HANDSHAKING, LinkEvent.FAILED): LinkState.CLOSING,
    (LinkState.UP, LinkEvent.FAILED): LinkState.CLOSING,
    (LinkState.CLOSING, LinkEvent.TORN_DOWN): LinkState.WAITING,
    (LinkState.WAITING, LinkEvent.DUE): LinkState.NEGOTIATING,
    (LinkState.IDLE, LinkEvent.STOP): LinkState.STOPPED,
    (LinkState.WAITING, LinkEvent.STOP): LinkState.STOPPED,
    (LinkState.NEGOTIATING, LinkEvent.STOP): LinkState.CLOSING,
    (LinkState.CONNECTING, LinkEvent.STOP): LinkState.CLOSING,
    (LinkState.HANDSHAKING, LinkEvent.STOP): LinkState.CLOSING,
    (LinkState.UP, LinkEvent.STOP): LinkState.CLOSING,
}


def after(state: LinkState, event: LinkEvent) -> LinkState:
    """The state that follows. Raises KeyError for what the table does not allow: a bug."""
    return TRANSITIONS[state, event]


def diagram() -> str:
    """The table as a Mermaid state diagram."""
    lines = ["stateDiagram-v2", f"    [*] --> {LinkState.IDLE}"]
    lines += [f"    {state} --> {to}: {event}" for (state, event), to in TRANSITIONS.items()]
    lines.append(f"    {LinkState.STOPPED} --> [*]")
    return "\n".join(lines)


PAGE = Path(__file__).with_name("STATES.md")
_BEGIN, _END = "<!-- drawn from states.py: begin -->", "<!-- drawn from states.py: end -->"


def drawn(page: str) -> str:
    """`page` with the diagram between its markers."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after_ = rest.partition(_END)
    return f"{before}{_BEGIN}\n```mermaid\n{diagram()}\n```\n{_END}{after_}"


if __name__ == "__main__":
    PAGE.write_text(drawn(PAGE.read_text("utf-8")), "utf-8")
