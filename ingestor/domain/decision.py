"""Input and output of the sequencer as values: a snapshot (`Incoming`) and the `Decision` on it."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from ingestor.domain.content import Content
from ingestor.domain.requests import RequestCause
from ingestor.domain.streams import EventKey, PendingConfirmation, Resolution, StreamState


class Outcome(StrEnum):
    """What became of an event: exactly one per event (I1)."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    CONFLICT = "conflict"
    PENDING = "pending"
    QUARANTINED = "quarantined"
    IGNORED = "ignored"
    DROPPED = "dropped"


class Origin(StrEnum):
    """How a snapshot came."""

    PUSHED = "pushed"
    """The hub sent it by itself."""
    ANSWERED = "answered"
    """We had requested it."""


class Step(StrEnum):
    """What an operator knows of the counter (`sequence.step` in the configuration)."""

    RISING = "rising"
    """Each new snapshot has a higher number, by any step: skipped numbers are recorded and no loss."""
    CONTIGUOUS = "contiguous"
    """The hub pushes every number: a skipped one was missed."""


class EpochCause(StrEnum):
    """Why an epoch was opened."""

    FIRST_SEEN = "first_seen"
    SUSPECTED_SERVER_RESET = "suspected_server_reset"


class Policy(Struct, frozen=True, gc=False):
    """What an operator may set (`[sequence]` in the configuration)."""

    step: Step = Step.RISING
    reset_confirmations: int = 2
    """Answers needed before a lower sequence is accepted, the first one included."""
    epochs_per_hour: int = 3
    """More resets than this within an hour are not followed: the stream keeps its state until one of them is
    an hour old."""


class Incoming(Struct, frozen=True, gc=False):
    """A snapshot as the sequencer sees it."""

    key: EventKey
    received_at: datetime
    arrival: int
    """Arrival number of the record that carries it."""
    sequence: int
    """Ignored by `decide_by_arrival`."""
    content: Content
    deleted: bool
    shrinks: bool
    """Most of what the current version holds is missing from this one (rule 12)."""
    requested: int | None
    """Arrival number of the request that this snapshot answers; None for a push."""

    def is_fresh(self, arrival: int) -> bool:
        """Whether it answers a request that was sent after that arrival."""
        return self.requested is not None and self.requested > arrival


class EpochOpened(Struct, frozen=True, gc=False):
    """A counter was seen to begin, or to begin again."""

    cause: EpochCause
    epoch: int
    first_sequence: int
    previous_sequence: int | None
    evidence: tuple[EventKey, ...]
    """The answers that showed it, oldest first; for a first epoch its first event."""
    passed_over: int
    """Snapshots of the new counter that were stored and not applied before it was confirmed."""
    passed_over_from: datetime | None


class ConfirmationRaised(Struct, frozen=True, gc=False):
    """A snapshot needs confirmation."""

    confirmation: PendingConfirmation


class ConfirmationResolved(Struct, frozen=True, gc=False):
    """A pending confirmation has ended."""

    confirmation: PendingConfirmation
    resolution: Resolution


Fact = EpochOpened | ConfirmationRaised | ConfirmationResolved
"""Something that is stored with the decision."""

Facts = tuple[Fact, ...]


class Decision(Struct, frozen=True, gc=False):
    outcome: Outcome
    state: StreamState
    facts: Facts = ()
    request: RequestCause | None = None
    """A fresh snapshot is needed, and why."""
    passed_over: int = 0
    """Sequence numbers between the version before and this one."""
    missed: bool = False
    """The skipped numbers were missed: the hub pushes every number, and did not push these to us."""
    overtaken: bool = False
    """An answer that newer pushes have overtaken: our state is at least as new as a fresh answer (rule 6)."""
    degraded: bool = False
    """A reset is confirmed and not followed, because there were too many within an hour (rule 9)."""
