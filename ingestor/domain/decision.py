"""What the sequencer is given (an event as an `Offer`) and what it says (a `Decision`), as values."""

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from ingestor.domain.commands import Cause
from ingestor.domain.content import Content
from ingestor.domain.streams import EventKey, Resolution, StreamState, Suspicion


class Outcome(StrEnum):
    """What became of an event: exactly one per event (I1)."""

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    STALE = "stale"
    CONFLICT = "conflict"
    HELD = "held"
    QUARANTINED = "quarantined"
    IGNORED = "ignored"
    SHED = "shed"


class EpochCause(StrEnum):
    """Why an epoch was opened."""

    FIRST_SEEN = "first_seen"
    SUSPECTED_SERVER_RESET = "suspected_server_reset"


class Policy(Struct, frozen=True, gc=False):
    """What an operator may set (`[sequence]` in the configuration)."""

    reset_confirmations: int = 2
    """Witnesses needed before a lower sequence is believed, the event that raised the doubt included."""
    epochs_per_hour: int = 3
    """More resets than this within an hour are not followed: the stream holds its state until one of them is
    an hour old."""


class Offer(Struct, frozen=True, gc=False):
    """An event as the sequencer sees it."""

    key: EventKey
    received_at: datetime
    line: int
    """The writer's count of items at this event."""
    sequence: int
    """Ignored by `decide_by_arrival`."""
    content: Content
    deleted: bool
    shrinks: bool
    """Most of what the current version holds is missing from this one (rule 15)."""
    asked_line: int | None
    """Line at which the command that this event answers was asked; None for a push."""
    replayed: bool = False
    """Fed again from the raw log: it can enrich the history but raises no doubts (rule 17)."""


class SkipCause(StrEnum):
    """Why sequence numbers were passed over. All but `PUSHED` explain it: nothing needs to be asked."""

    RECONNECTED = "reconnected"
    """It is the stream's first word in a session: what went before has the link's own gap row."""
    POLLING = "polling"
    """We asked, and do not hear what happens between two answers."""
    REPLAYED = "replayed"
    """Fed again from the raw log."""
    PUSHED = "pushed"
    """The hub sent it by itself, within a session: something is missing."""


class Skip(Struct, frozen=True, gc=False):
    """Sequence numbers that were passed over."""

    first: int
    last: int
    since: datetime
    """Until then the version before was confirmed: nothing was missed earlier."""
    cause: SkipCause


class EpochOpened(Struct, frozen=True, gc=False):
    """A counter was seen to begin (again)."""

    cause: EpochCause
    epoch: int
    first_sequence: int
    previous_sequence: int | None
    witnesses: tuple[EventKey, ...]


class DoubtRaised(Struct, frozen=True, gc=False):
    suspicion: Suspicion
    sequence: int


class DoubtResolved(Struct, frozen=True, gc=False):
    suspicion: Suspicion
    resolution: Resolution


Note = Skip | EpochOpened | DoubtRaised | DoubtResolved
"""A fact that goes on record with the decision."""

Notes = tuple[Note, ...]


class Decision(Struct, frozen=True, gc=False):
    outcome: Outcome
    state: StreamState
    notes: Notes = ()
    ask: Cause | None = None
    """A fresh snapshot is needed, and why."""
    degraded: bool = False
    """A reset has its witnesses and is not followed, because there were too many within an hour (rule 11)."""
