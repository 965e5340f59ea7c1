"""The ingest state: what the writer knows between two batches, and loads after a restart (I9)."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

from msgspec import Struct

from ingestor.domain.events import Asset, Pair
from ingestor.domain.gaps import Gap
from ingestor.domain.records import Decoded, SessionClosed, SessionOpened
from ingestor.domain.requests import RequestOutcome, RequestSent
from ingestor.domain.streams import Kind, StreamKey, StreamState, Watermark

EARLIEST = datetime.min.replace(tzinfo=UTC)


class Holding(Struct, frozen=True, gc=False):
    """One asset in the newest version."""

    available: Decimal
    allocated: Decimal
    reported: bool
    """False: the asset was in an earlier version and is not in this one (absent is not the same as zero)."""


class Exposure(Struct, frozen=True, gc=False):
    """The newest exposure of one asset; unlike the amounts it changes with prices."""

    current: Decimal | None
    maximum: Decimal | None


class ExposureTotal(Struct, frozen=True, gc=False):
    """The newest exposure of the whole account."""

    base_currency: str | None
    current: Decimal | None
    maximum: Decimal | None


class Stream(Struct, frozen=True, gc=False):
    """A stream's state and the content of its newest version."""

    state: StreamState = StreamState()
    holdings: Mapping[str, Holding] = MappingProxyType({})
    exposures: Mapping[str, Exposure] = MappingProxyType({})
    exposure_total: ExposureTotal | None = None
    observed_at: datetime = EARLIEST
    """No exposure gets an earlier stamp, even if a clock is set back, because stamps define the newest. As
    loaded, it is later than all stored ones, which are of other sessions."""
    pairs: Mapping[str, Pair] = MappingProxyType({})
    """Listed ones only."""
    assets: tuple[Asset, ...] = ()
    """The objects of the newest version in this process: the decoder reuses those that do not change."""
    base: Decoded | None = None
    """The last record of this version that this process stored whole: a repeat may refer to it."""


class Request(Struct, frozen=True, gc=False):
    """A request that may still be answered."""

    sent: RequestSent
    arrival: int
    outcome: RequestOutcome | None = None
    """None while it is open. A late answer replaces every other outcome."""


class OpenSession(Struct, frozen=True, gc=False):
    """A session, and the position up to which it is stored."""

    opened: SessionOpened
    committed_ordinal: int = 0
    last_received_at: datetime | None = None


class EndedSession(Struct, frozen=True, gc=False):
    """A session that is stored and closed."""

    session: OpenSession
    closed: SessionClosed


REMEMBERED_SESSIONS = 1_000
"""Ended ones that can be stored again after the server has lost them."""


class State(Struct, frozen=True):
    """Everything that `apply` depends on. It is immutable, so after a rejected batch nothing has to be
    undone."""

    streams: Mapping[StreamKey, Stream] = MappingProxyType({})
    requests: Mapping[str, Request] = MappingProxyType({})
    """By request id."""
    gaps: tuple[Gap, ...] = ()
    """Open ones; those of kind `unanswered` come first."""
    sessions: Mapping[UUID, OpenSession] = MappingProxyType({})
    """Those that are stored and not closed."""
    ended: tuple[EndedSession, ...] = ()
    """The newest ones, oldest first."""
    arrivals: int = 0
    """Items applied so far; orders snapshots and requests without a clock."""
    account_since: datetime | None = None
    """When this account was registered: the start of its first gap."""
    ever_connected: bool = False

    def newest(self, kind: Kind) -> Watermark | None:
        """The watermark of this kind that was confirmed last, of whatever user."""
        marks = [each.state.watermark for key, each in self.streams.items() if key.kind is kind]
        return max(filter(None, marks), key=lambda mark: mark.confirmed_until, default=None)
