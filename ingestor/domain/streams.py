"""A stream is one ordered line of snapshots: (kind, user). This is what we know about where it stands."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ingestor.domain.content import Content


class Kind(StrEnum):
    """What a stream tells."""

    BALANCES = "balances"
    PAIRS = "pairs"


class StreamKey(Struct, frozen=True, gc=False):
    """Identity of a stream within the account. Pairs belong to no user: `user_id` is empty."""

    kind: Kind
    user_id: str


class EventKey(Struct, frozen=True, gc=False):
    """Identity of an event, given by us at the socket, before decoding."""

    session: UUID
    ordinal: int
    position: int


class Mark(Struct, frozen=True, order=True, gc=False):
    """Where a stream stands. Marks of one stream are compared field by field and only ever grow (I4)."""

    epoch: int
    """Grows when the source's counter was seen to start over."""
    sequence: int
    """The source's number; for streams without one, our own count of applied versions."""
    revision: int
    """0, and one more for each different content received under the same sequence."""


class Watermark(Struct, frozen=True, gc=False):
    """The newest version of a stream, changed only in the transaction that writes that version."""

    mark: Mark
    content: Content
    """The part that the sequence governs."""
    event: EventKey
    valid_from: datetime
    """When this version was first seen; never before the version it follows, whatever the clock does."""
    confirmed_until: datetime
    """When the hub last said the same again: until then nothing had changed."""
    deleted: bool
    line: int
    """The writer's count of items at which it was set; orders it against the asking of a command."""


class Doubt(StrEnum):
    """What makes us ask for another witness. Each is a row in `ingest.doubt` with its resolution."""

    RESET = "reset_suspected"
    CONFLICT = "conflict"
    MASS_DELETE = "mass_delete"


class Resolution(StrEnum):
    """How a doubt ended."""

    CONFIRMED = "confirmed"
    """A fresh answer agrees: it was so."""
    REFUTED = "refuted"
    """A fresh answer disagrees: the doubted event stays without effect."""
    SUPERSEDED = "superseded"
    """Something newer made the question moot."""
    ABANDONED = "abandoned"
    """The process ended first; the question is asked anew if it arises again."""


class Suspicion(Struct, frozen=True, gc=False):
    """An open doubt: the event that raised it, and those that have supported it so far."""

    doubt: Doubt
    raised_by: EventKey
    raised_at: datetime
    line: int
    """Only an answer asked for after this line counts as fresh."""
    witnesses: tuple[tuple[EventKey, int], ...] = ()
    """(event, its sequence), oldest first."""


class StreamState(Struct, frozen=True, gc=False):
    """All that a decision depends on."""

    watermark: Watermark | None = None
    doubts: tuple[Suspicion, ...] = ()
    """Open doubts, at most one of each sort."""
    epochs: tuple[datetime, ...] = ()
    """When the most recent epochs were opened, the first one not counted."""
    heard_in: UUID | None = None
    """The session in which the stream was last heard, whatever came of it; None after a start."""

    def doubt(self, sort: Doubt) -> Suspicion | None:
        """The open doubt of this sort."""
        for suspicion in self.doubts:
            if suspicion.doubt is sort:
                return suspicion
        return None

    def doubting(self, suspicion: Suspicion) -> "StreamState":
        """The same with this doubt open, in place of one of its sort."""
        return replace(self, doubts=(*self.trusting(suspicion.doubt).doubts, suspicion))

    def trusting(self, sort: Doubt) -> "StreamState":
        """The same without a doubt of this sort."""
        return replace(self, doubts=tuple(each for each in self.doubts if each.doubt is not sort))
