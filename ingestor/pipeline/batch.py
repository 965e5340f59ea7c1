"""What one transaction writes, as rows.

The field names are the column names of schema `ingest`; the store adds the account, because one process has
exactly one.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec import Struct

from ingestor.domain.commands import Cause, Command
from ingestor.domain.decision import Outcome
from ingestor.domain.gaps import Gap
from ingestor.domain.records import SessionClosed, SessionOpened
from ingestor.domain.streams import Kind, Mark, StreamKey, Watermark


class RawEventRow(Struct, frozen=True, gc=False):
    """A record as received."""

    session_id: UUID
    ordinal: int
    received_at: datetime
    size: int
    sha256: bytes | None
    raw: bytes


class OutcomeRow(Struct, frozen=True, gc=False):
    """What became of one event."""

    session_id: UUID
    ordinal: int
    position: int
    received_at: datetime
    outcome: Outcome
    reason: str | None
    subject: str | None
    command_id: str | None
    kind: Kind | None
    user_id: str | None
    epoch: int | None
    sequence: int | None
    revision: int | None


class VersionRow(Struct, frozen=True, gc=False):
    """A snapshot that became state."""

    kind: Kind
    user_id: str
    valid_from: datetime
    epoch: int
    sequence: int
    revision: int
    session_id: UUID
    ordinal: int
    position: int
    received_at: datetime
    deleted: bool
    previous_confirmed_until: datetime | None


class BalanceRow(Struct, frozen=True, gc=False):
    """From this version on, this asset has these amounts. Written only when they change."""

    user_id: str
    asset: str
    valid_from: datetime
    epoch: int
    sequence: int
    revision: int
    available: Decimal
    allocated: Decimal
    reported: bool


class ExposureRow(Struct, frozen=True, gc=False):
    """From this moment on, this asset has this exposure. It moves with prices, under no sequence."""

    user_id: str
    asset: str
    observed_at: datetime
    session_id: UUID
    ordinal: int
    position: int
    current_exposure: Decimal | None
    max_exposure: Decimal | None


class ExposureTotalRow(Struct, frozen=True, gc=False):
    """From this moment on, the account has this exposure."""

    user_id: str
    observed_at: datetime
    session_id: UUID
    ordinal: int
    position: int
    base_currency: str | None
    total_current_exposure: Decimal | None
    total_max_exposure: Decimal | None


class PairRow(Struct, frozen=True, gc=False):
    """From this version on, this pair has these limits, or is no longer listed."""

    name: str
    valid_from: datetime
    epoch: int
    sequence: int
    revision: int
    asset: str
    currency: str
    min_size: Decimal | None
    max_size: Decimal | None
    min_quote_size: Decimal | None
    max_quote_size: Decimal | None
    listed: bool


class EpochRow(Struct, frozen=True, gc=False):
    """A counter was seen to begin (again)."""

    kind: str
    user_id: str
    epoch: int
    opened_at: datetime
    cause: str
    first_sequence: int
    previous_sequence: int | None
    first_witness_session_id: UUID
    first_witness_ordinal: int
    last_witness_session_id: UUID
    last_witness_ordinal: int
    witnesses: int


class DoubtRow(Struct, frozen=True, gc=False):
    """A decision that needed another witness; written when raised, completed when resolved."""

    doubt: str
    session_id: UUID
    ordinal: int
    position: int
    kind: str
    user_id: str
    sequence: int
    raised_at: datetime
    resolution: str | None
    resolved_at: datetime | None
    resolved_by_session_id: UUID | None
    resolved_by_ordinal: int | None


class DeadLetterRow(Struct, frozen=True, gc=False):
    """An event that could not be applied; its bytes are in `raw_event`."""

    session_id: UUID
    ordinal: int
    position: int
    received_at: datetime
    stage: str
    reason: str
    detail: str
    subject: str | None
    software_version: str


class CommandRow(Struct, frozen=True, gc=False):
    """One ask and its end so far."""

    command_id: str
    command: str
    cause: str
    attempt: int
    argument_form: str
    session_id: UUID
    asked_at: datetime
    outcome: str | None
    settled_at: datetime | None
    answer_ordinal: int | None
    error: str | None


class SessionProgress(Struct, gc=False):
    """What this batch adds to a session. The store refuses it unless it continues where that stands."""

    session_id: UUID
    first_ordinal: int
    last_ordinal: int
    records: int
    shed: int
    last_received_at: datetime


class WatermarkMove(Struct, frozen=True, gc=False):
    """A compare-and-set: the stream must still stand at `old` (None: be unknown)."""

    stream: StreamKey
    old: Mark | None
    new: Watermark


class Want(Struct, frozen=True, gc=False):
    """A command that the batch's decisions call for."""

    command: Command
    cause: Cause


class Notice(Struct, frozen=True, gc=False):
    """A log event that becomes true when the batch commits."""

    event: str
    facts: dict[str, Any]


@dataclass(slots=True)
class Batch:
    """All rows of one transaction, and what follows from its commit."""

    opened: list[SessionOpened] = field(default_factory=list)
    closed: list[SessionClosed] = field(default_factory=list)
    progress: dict[UUID, SessionProgress] = field(default_factory=dict)
    raw_events: list[RawEventRow] = field(default_factory=list)
    outcomes: list[OutcomeRow] = field(default_factory=list)
    versions: list[VersionRow] = field(default_factory=list)
    balances: list[BalanceRow] = field(default_factory=list)
    exposures: list[ExposureRow] = field(default_factory=list)
    exposure_totals: list[ExposureTotalRow] = field(default_factory=list)
    pairs: list[PairRow] = field(default_factory=list)
    watermarks: list[WatermarkMove] = field(default_factory=list)
    epochs: list[EpochRow] = field(default_factory=list)
    doubts: list[DoubtRow] = field(default_factory=list)
    dead_letters: list[DeadLetterRow] = field(default_factory=list)
    gaps: dict[tuple[UUID, int, int, str], Gap] = field(default_factory=dict)
    commands: dict[str, CommandRow] = field(default_factory=dict)

    packed: Any = None
    """The event rows in the store's own form, if it has packed them ahead."""

    wants: list[Want] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    """(command id, the hub's scrubbed text)"""
    notices: list[Notice] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    """Events by outcome."""
