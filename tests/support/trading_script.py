"""Scripts for the sequencer, as FIX engines have them: one line in, one line out.

    push 7                 a snapshot with sequence 7 that nobody requested
    answer 7               the answer to a request that was sent just before
    late 7                 the answer to a request that was sent before the line before came
    … c=x                  its content; by default the content belongs to the sequence
    … shrinks, deleted, session=B, +600 (seconds later than usual)

The result is `outcome epoch/sequence/revision`, then what else was decided, in order: `passed over N`,
`missed`, `overtaken`, `epoch N`, `epoch N after N` (snapshots stored as stale before it),
`raised REASON`, `resolved REASON HOW`, `request CAUSE`, `degraded`.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import assert_never
from uuid import UUID

from msgspec.structs import astuple

from ingestor.domain.content import Content
from ingestor.domain.decision import (
    ConfirmationRaised,
    ConfirmationResolved,
    Decision,
    EpochOpened,
    Fact,
    Incoming,
    Policy,
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
    arrival: int = 0
    ordinal: int = 0
    now: datetime = START

    def play(self, text: str) -> str:
        """One line in, one line out."""
        return as_line(self.decide(parse(self, text)))

    def decide(self, incoming: Incoming) -> Decision:
        """The same for a snapshot."""
        decision = (
            decide(self.state, incoming, self.policy)
            if self.sequenced
            else decide_by_arrival(self.state, incoming)
        )
        self.state = decision.state
        return decision


def parse(script: Script, text: str) -> Incoming:
    """A line as the sequencer sees it. Arrival numbers between two lines are those of requests."""
    verb, sequence, *words = text.split()
    script.arrival += 2
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
    requested = {"push": None, "answer": script.arrival - 1, "late": script.arrival - 3}[verb]
    return Incoming(
        key=EventKey(UUID(int=session), script.ordinal, 0),
        received_at=script.now,
        arrival=script.arrival,
        sequence=int(sequence),
        content=Content.stored(hashlib.sha256(content.encode()).digest()),
        deleted=deleted,
        shrinks=shrinks,
        requested=requested,
    )


def as_line(decision: Decision) -> str:
    """A decision as a line."""
    watermark = decision.state.watermark
    number = "none" if watermark is None else "/".join(map(str, astuple(watermark.number)))
    words = [f"{decision.outcome.value} {number}"]
    if decision.passed_over:
        words.append(f"passed over {decision.passed_over}")
    if decision.missed:
        words.append("missed")
    if decision.overtaken:
        words.append("overtaken")
    words += map(_fact, decision.facts)
    if decision.request is not None:
        words.append(f"request {decision.request.value}")
    if decision.degraded:
        words.append("degraded")
    return ", ".join(words)


def _fact(fact: Fact) -> str:
    match fact:
        case EpochOpened():
            return f"epoch {fact.epoch}" + (f" after {fact.stale_snapshots}" if fact.stale_snapshots else "")
        case ConfirmationRaised():
            return f"raised {fact.confirmation.reason.value}"
        case ConfirmationResolved():
            return f"resolved {fact.confirmation.reason.value} {fact.resolution.value}"
        case _:
            assert_never(fact)
