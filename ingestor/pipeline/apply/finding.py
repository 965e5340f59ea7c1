"""What one event means for gaps and requests."""

from datetime import datetime

from msgspec import Struct

from ingestor.domain.decision import Outcome
from ingestor.domain.events import Event
from ingestor.domain.records import Decoded, Record
from ingestor.domain.requests import RequestCause
from ingestor.domain.streams import EventKey, Kind, StreamKey
from ingestor.pipeline.rows import DeadLetterRow
from ingestor.pipeline.state import Request


class Arrived(Struct, frozen=True, gc=False):
    """An event with its place."""

    record: Record
    event: Event
    arrival: int
    """Arrival number of its record."""
    request: Request | None
    """The request of ours whose id it carries, if any, in this session."""
    alone: Decoded | None = None
    """The record with its events, where this is the only one."""

    @property
    def key(self) -> EventKey:
        return EventKey(self.record.session, self.record.ordinal, self.event.position)

    def answers(self, kind: Kind) -> Request | None:
        """The request, if it was one for this kind."""
        request = self.request
        return request if request is not None and request.sent.command.kind is kind else None


class Skipped(Struct, frozen=True, gc=False):
    """Sequence numbers that the hub did not push to us, inclusive."""

    first: int
    last: int
    since: datetime
    """Until then the version before was confirmed: nothing was missed earlier."""


class Finding(Struct, frozen=True, gc=False):
    """What became of an event."""

    arrived: Arrived
    outcome: Outcome
    affects: tuple[Kind, ...]
    """The kinds of stream that it is, or may be, about."""
    stream: StreamKey | None = None
    needed: RequestCause | None = None
    """Why a fresh snapshot of these kinds is needed."""
    skipped: Skipped | None = None
    overtaken: bool = False
    """An answer older than our state, which a push has set since it was requested."""
    dead_letter: DeadLetterRow | None = None
    """Where it could not be read."""
    failure: str | None = None
    """Why it is no answer to the request whose id it carries."""
    refused: bool = False
    """The hub refused the request."""

    @property
    def confirms(self) -> bool:
        """Whether our state of the stream is what the hub has just sent, or newer."""
        return self.overtaken or self.outcome in _CONFIRMING


_CONFIRMING = frozenset({Outcome.APPLIED, Outcome.DUPLICATE, Outcome.CONFLICT})
