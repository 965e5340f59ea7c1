"""Streams, each an ordered sequence of snapshots of one kind and user, and their state."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ingestor.domain.content import Content


class Kind(StrEnum):
    """What a stream reports."""

    BALANCES = "balances"
    PAIRS = "pairs"

    __hash__ = str.__hash__  # that of Enum is a Python function, called for each look-up of a stream


class StreamKey(Struct, frozen=True, gc=False):
    """Identity of a stream within the account. Pairs belong to no user: `user_id` is empty."""

    kind: Kind
    user_id: str


class EventKey(Struct, frozen=True, gc=False):
    """Identity of an event, assigned at the socket, before decoding."""

    session: UUID
    ordinal: int
    position: int


class VersionNumber(Struct, frozen=True, order=True, gc=False):
    """The number of a version. Numbers of one stream are compared field by field and only increase (I4)."""

    epoch: int
    """One more for each confirmed restart of the hub's counter."""
    sequence: int
    """The hub's number; for streams without one, our own count of versions."""
    revision: int
    """0, and one more for each different content received under the same sequence."""


class Watermark(Struct, frozen=True, gc=False):
    """The newest version of a stream; changed in the transaction that writes that version."""

    number: VersionNumber
    content: Content
    """The content by which snapshots are compared."""
    event: EventKey
    valid_from: datetime
    """When this version was first seen; never before the version it follows, even if a clock steps back."""
    confirmed_until: datetime
    """When the hub last sent the same again: until then the state was unchanged."""
    deleted: bool
    arrival: int
    """Arrival number of the item that set it, to tell whether a request was sent before or after that."""


class ConfirmationReason(StrEnum):
    """Why a snapshot needs confirmation. Each case is a row in `ingest.confirmation` with its resolution."""

    RESET = "reset_suspected"
    CONFLICT = "conflict"
    MASS_DELETE = "mass_delete"


class Resolution(StrEnum):
    """How a pending confirmation ended."""

    CONFIRMED = "confirmed"
    """A fresh answer agrees."""
    REFUTED = "refuted"
    """A fresh answer disagrees: the snapshot is not applied."""
    SUPERSEDED = "superseded"
    """A newer snapshot made it irrelevant."""
    ABANDONED = "abandoned"
    """The process ended or the server lost commits first; raised again if the contradiction occurs again."""


class PendingConfirmation(Struct, frozen=True, gc=False):
    """A snapshot that waits for confirmation, and the answers that have agreed with it so far."""

    reason: ConfirmationReason
    raised_by: EventKey
    raised_at: datetime
    sequence: int
    """Of the snapshot that raised it."""
    arrival: int
    """Only an answer requested after this arrival is fresh evidence."""
    evidence: tuple[EventKey, ...]
    """The events that agree, oldest first, the one that raised it included."""


class LowerSnapshots(Struct, frozen=True, gc=False):
    """Snapshots with a sequence below the watermark's that have come since the watermark was set."""

    count: int
    since: datetime
    """Receipt of the first."""
    arrival: int
    """Of the first."""
    first_sequence: int
    rising: bool
    """A later one had a higher sequence than the first: the counter seems to have begun again."""


class StreamState(Struct, frozen=True, gc=False):
    """The state of a stream, on which decisions depend."""

    watermark: Watermark | None = None
    pending: tuple[PendingConfirmation, ...] = ()
    """At most one for each reason."""
    lower: LowerSnapshots | None = None
    epochs: tuple[datetime, ...] = ()
    """When the most recent epochs were opened, the first one not counted."""
    last_session: UUID | None = None
    """The session of the stream's last snapshot, whatever its outcome; None after a start."""

    def pending_for(self, reason: ConfirmationReason) -> PendingConfirmation | None:
        """The pending confirmation with this reason."""
        for each in self.pending:
            if each.reason is reason:
                return each
        return None

    def awaiting(self, confirmation: PendingConfirmation) -> "StreamState":
        """A copy with this confirmation pending, instead of one with the same reason."""
        return replace(self, pending=(*self.without(confirmation.reason).pending, confirmation))

    def without(self, reason: ConfirmationReason) -> "StreamState":
        """A copy with no confirmation pending for this reason."""
        return replace(self, pending=tuple(each for each in self.pending if each.reason is not reason))
