"""Scripts for the sequencer, as FIX engines have them: one line in, one line out.

    push 7                 a snapshot with sequence 7 that nobody asked for
    reply 7                the answer to a command asked just before
    late 7                 the answer to a command asked before the line before
    replay 7               fed again from the raw log
    … c=x                  its content; by default the content belongs to the sequence
    … shrinks, deleted, session=B, +600 (seconds later than usual)

The answer is `outcome epoch/sequence/revision`, then what else was decided, in order:
`skip 5-6 CAUSE`, `epoch 2`, `raised NAME`, `resolved NAME HOW`, `ask CAUSE`, `degraded`.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from uuid import UUID

from msgspec.structs import astuple

from ingestor.domain.content import Content
from ingestor.domain.decision import (
    Decision,
    DoubtRaised,
    DoubtResolved,
    EpochOpened,
    Note,
    Offer,
    Policy,
    Skip,
)
from ingestor.domain.sequencer import decide, decide_by_arrival
from ingestor.domain.streams import EventKey, StreamState

START = datetime(2026, 3, 1, 9, tzinfo=UTC)


@dataclass
class Script:
    """Plays lines against one stream."""

    policy: Policy = field(default_factory=Policy)
    sequenced: bool = True
    state: StreamState = field(default_factory=StreamState)
    line: int = 0
    ordinal: int = 0
    now: datetime = START

    def play(self, text: str) -> str:
        """One line in, one line out."""
        return told(self.offer(parse(self, text)))

    def offer(self, offer: Offer) -> Decision:
        """The same for an offer."""
        decision = (
            decide(self.state, offer, self.policy) if self.sequenced else decide_by_arrival(self.state, offer)
        )
        self.state = decision.state
        return decision


def parse(script: Script, text: str) -> Offer:
    """A line as the sequencer sees it."""
    verb, sequence, *words = text.split()
    script.line += 2
    script.ordinal += 1
    content, session, shrinks, deleted, later = f"content of {sequence}", 1, False, False, 1.0
    for word in words:
        match word.partition("="):
            case ("c", _, value):
                content = value
            case ("session", _, value):
                session = ord(value)
            case ("shrinks", _, _):
                shrinks = True
            case ("deleted", _, _):
                deleted = True
            case (seconds, _, _):
                later = float(seconds)
    script.now += timedelta(seconds=later)
    asked = {"reply": script.line - 1, "late": script.line - 3}.get(verb)
    return Offer(
        key=EventKey(UUID(int=session), script.ordinal, 0),
        received_at=script.now,
        line=script.line,
        sequence=int(sequence),
        content=Content.stored(hashlib.sha256(content.encode()).digest()),
        deleted=deleted,
        shrinks=shrinks,
        asked_line=asked,
        replayed=verb == "replay",
    )


def told(decision: Decision) -> str:
    """A decision as a line."""
    mark = decision.state.watermark
    words = [decision.outcome.value]
    words.append("none" if mark is None else "/".join(map(str, astuple(mark.mark))))
    words += [_note(note) for note in decision.notes]
    if decision.ask is not None:
        words.append(f"ask {decision.ask.value}")
    if decision.degraded:
        words.append("degraded")
    return ", ".join([" ".join(words[:2]), *words[2:]])


def _note(note: Note) -> str:
    match note:
        case Skip():
            return f"skip {note.first}-{note.last} {note.cause.value}"
        case EpochOpened():
            return f"epoch {note.epoch}"
        case DoubtRaised():
            return f"raised {note.suspicion.doubt.value}"
        case DoubtResolved():
            return f"resolved {note.suspicion.doubt.value} {note.resolution.value}"
