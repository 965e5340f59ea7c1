"""What the writer knows between two batches, and what must be loaded to go on after a restart."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from uuid import UUID

from msgspec import Struct

from ingestor.domain.commands import CommandAsked
from ingestor.domain.events import Pair
from ingestor.domain.gaps import Gap
from ingestor.domain.streams import StreamKey, StreamState


class Holding(Struct, frozen=True, gc=False):
    """What the newest version says of one asset."""

    available: Decimal
    allocated: Decimal
    reported: bool
    """False: an earlier version named the asset, this one does not (absent is not the same as zero)."""


class Exposure(Struct, frozen=True, gc=False):
    current: Decimal | None
    maximum: Decimal | None


class ExposureTotal(Struct, frozen=True, gc=False):
    base_currency: str | None
    current: Decimal | None
    maximum: Decimal | None


class Stream(Struct, frozen=True, gc=False):
    """A stream's state and the content of its newest version. Values are replaced, never changed in place."""

    state: StreamState = StreamState()
    holdings: Mapping[str, Holding] = MappingProxyType({})
    exposures: Mapping[str, Exposure] = MappingProxyType({})
    exposure_total: ExposureTotal | None = None
    pairs: Mapping[str, Pair] = MappingProxyType({})
    """Listed ones only."""


class Ask(Struct, frozen=True, gc=False):
    """A command that may still be answered."""

    asked: CommandAsked
    line: int
    settled: bool = False
    """Its end is on record; a late answer still counts as an answer, but does not change that row."""


@dataclass(slots=True)
class Books:
    """Everything a decision may depend on. Owned by the writer; copied before each batch, so that a batch
    the database refuses can be decided anew."""

    streams: dict[StreamKey, Stream] = field(default_factory=dict)
    asks: dict[str, Ask] = field(default_factory=dict)
    open_gaps: list[Gap] = field(default_factory=list)
    line: int = 0
    """Count of items seen; orders events against asks without a clock."""
    account_since: datetime | None = None
    """When this account was first ingested: the start of its first gap."""
    left_open: tuple["LeftOpen", ...] = ()
    """Sessions that a dead process left open, to be closed through the front door."""
    ever_connected: bool = False

    def copy(self) -> "Books":
        """A snapshot to return to. Shallow: all values held are immutable or replaced as a whole."""
        return replace(self, streams=dict(self.streams), asks=dict(self.asks), open_gaps=list(self.open_gaps))


class LeftOpen(Struct, frozen=True, gc=False):
    """A session without an end, as found at start."""

    session: UUID
    committed_ordinal: int
    last_heard_at: datetime
