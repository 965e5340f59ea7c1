"""Input and output of the sequencer as values: a snapshot (`Incoming`) and the `Decision` on it."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from ingestor.domain.content import Content
from ingestor.domain.requests import RequestCause
from ingestor.domain.streams import EventKey, PendingConfirmation, Resolution, StreamState


class Outcome(StrEnum):
    """The result of applying an event: exactly one per event (I1)."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    CONFLICT = "conflict"
    PENDING = "pending"
    QUARANTINED = "quarantined"
    IGNORED = "ignored"
    DROPPED = "dropped"


class Origin(StrEnum):
    """Why the hub sent a snapshot."""

    PUSHED = "pushed"
    """The hub sent it by itself."""
    ANSWERED = "answered"
    """It answers one of our requests."""


class Step(StrEnum):
    """How the counter rises (`sequence.step` in the configuration)."""

    RISING = "rising"
    """By any step: skipped numbers are recorded, and are no loss."""
    CONTIGUOUS = "contiguous"
    """By one: the hub pushes every number, so a skipped one was missed."""


class EpochCause(StrEnum):
    """Why an epoch was opened."""

    FIRST_SEEN = "first_seen"
    SUSPECTED_SERVER_RESET = "suspected_server_reset"


class Policy(Struct, frozen=True, gc=False):
    """The settings `[sequence]`."""

    step: Step = Step.RISING
    reset_confirmations: int = 2
    """Answers needed before a lower sequence is accepted, the first one included."""
    epochs_per_hour: int = 3
    """More resets than this within an hour are not applied: the state stays unchanged until one of them is an
    hour old."""


class Incoming(Struct, frozen=True, gc=False):
    """A snapshot as input of the sequencer."""

    key: EventKey
    received_at: datetime
    arrival: int
    """Arrival number of its record."""
    sequence: int
    """Ignored by `decide_by_arrival`."""
    content: Content
    deleted: bool
    shrinks: bool
    """Most assets or pairs of the current version are missing from this one (rule 12)."""
    requested: int | None
    """Arrival number of the request that this snapshot answers; None for a push."""

    def is_fresh(self, arrival: int) -> bool:
        """Whether it answers a request that was sent after that arrival."""
        return self.requested is not None and self.requested > arrival


class EpochOpened(Struct, frozen=True, gc=False):
    """A counter has begun, or begun again."""

    cause: EpochCause
    epoch: int
    first_sequence: int
    previous_sequence: int | None
    evidence: tuple[EventKey, ...]
    """The answers that prove it, oldest first; for a first epoch its first event."""
    stale_snapshots: int
    """Snapshots of the new counter that were stored and not applied before it was confirmed."""
    first_stale_at: datetime | None


class ConfirmationRaised(Struct, frozen=True, gc=False):
    """A snapshot needs confirmation."""

    confirmation: PendingConfirmation


class ConfirmationResolved(Struct, frozen=True, gc=False):
    """A pending confirmation has ended."""

    confirmation: PendingConfirmation
    resolution: Resolution


Fact = EpochOpened | ConfirmationRaised | ConfirmationResolved
"""What is stored in addition to the outcome."""

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
    """The skipped numbers were missed, because the hub pushes every number."""
    overtaken: bool = False
    """An answer that was requested before a newer push arrived: our state is at least as new (rule 6)."""
    degraded: bool = False
    """A reset is confirmed and not applied, because there were too many within an hour (rule 9)."""
