"""The data of a statement. Amounts are exact; times are aware, and shown in the statement's zone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Balance:
    """An asset at the start and at the end of the period. None: it had not been seen yet."""

    user_id: str
    asset: str
    opening: Decimal | None
    opening_certainty: str
    closing: Decimal | None
    closing_available: Decimal | None
    closing_allocated: Decimal | None
    closing_certainty: str
    observed_at: datetime | None
    """Receipt of the version that holds at the end."""
    is_former: bool
    change: Decimal | None
    """By the database: a difference in Python has 28 digits."""


@dataclass(frozen=True, slots=True)
class Point:
    """The total of an asset at a moment."""

    at: datetime
    total: Decimal


@dataclass(frozen=True, slots=True)
class Series:
    """What is drawn of an asset: the total holds from each point until the next one."""

    user_id: str
    asset: str
    points: Sequence[Point]


@dataclass(frozen=True, slots=True)
class GapShown:
    """An interval in which something may have been missed, cut to the period."""

    kind: str
    cause: str
    missed_from: datetime
    until: datetime | None
    """When the state was confirmed; None: not yet."""
    affects: Sequence[str]


@dataclass(frozen=True, slots=True)
class Day:
    """Coverage of the balances on one local day. The parts add up to its length."""

    day: date
    length: timedelta
    parts: Mapping[str, timedelta]
    """By cause; `known` is the share in which the state was known."""

    @property
    def known(self) -> float:
        """0 to 1."""
        return self.parts.get("known", timedelta()) / self.length if self.length else 0.0


@dataclass(frozen=True, slots=True)
class Movement:
    """A change of an asset's total."""

    observed_at: datetime
    asset: str
    change: Decimal
    total: Decimal
    certainty: str


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One changed field of a pair; None: there was none."""

    at: datetime
    pair: str
    what: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class LatencyDay:
    """How fast the hub answered on one local day; milliseconds."""

    day: date
    command: str
    requests: int
    unanswered: int
    median_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True, slots=True)
class Proof:
    """What lets a reader hold the statement against the tables."""

    records: int
    """Those whose snapshot, of balances or of pairs, became state in the period."""
    first_position: str
    """Session and ordinal of the first of them."""
    last_position: str
    versions: int
    rows_sha256: str
    """Of the balances above, one line for each asset; the page explains how they are computed."""


@dataclass(frozen=True, slots=True)
class Figures:
    """All of a statement."""

    account: str
    environment: str
    since: datetime
    until: datetime
    zone: ZoneInfo
    known_at: datetime
    software_version: str
    contract_version: str
    balances: Sequence[Balance]
    series: Sequence[Series]
    gaps: Sequence[GapShown]
    days: Sequence[Day]
    movements: Sequence[Movement]
    limit_changes: Sequence[LimitChange]
    latency: Sequence[LatencyDay]
    proof: Proof

    @property
    def known(self) -> float:
        """The share of the period in which the balances were known, 0 to 1."""
        length = sum((day.length for day in self.days), timedelta())
        known = sum((day.parts.get("known", timedelta()) for day in self.days), timedelta())
        return known / length if length else 0.0
