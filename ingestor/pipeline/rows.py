"""The rows of one transaction, by type.

The field names are the column names of schema `ingest`, and the field types define those of the columns. The
store adds the account, because one process has exactly one, and decides the table of each type and what
happens if its key exists already.
"""

from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar
from uuid import UUID

from msgspec import Struct

from ingestor.domain.decision import Origin, Outcome
from ingestor.domain.streams import Kind

Int4 = Annotated[int, "int4"]
"""A column of four bytes, whose values are limited to less than 2**31. Other numbers have eight bytes."""


class Row(Struct, frozen=True, gc=False):
    """Base of all rows."""


class RawEventRow(Row, frozen=True, gc=False):
    """A record as received; or, with `base_ordinal`, its difference from that record of its session. Then it
    is a duplicate, and has no `OutcomeRow`.
    """

    session_id: UUID
    ordinal: int
    received_at: datetime
    size: Int4
    sha256: bytes | None
    raw: bytes
    base_ordinal: int | None = None
    head: Int4 | None = None
    request_id: UUID | None = None


class OutcomeRow(Row, frozen=True, gc=False):
    """The outcome of one event, and the version of its stream that it became, if any."""

    session_id: UUID
    ordinal: int
    position: Int4
    received_at: datetime
    outcome: Outcome
    reason: str | None
    subject: str | None
    request_id: str | None
    kind: Kind | None
    user_id: str | None
    epoch: Int4 | None
    sequence: int | None
    revision: Int4 | None
    valid_from: datetime | None = None
    """None unless the event became a version; then all fields from `kind` to `passed_over` are set."""
    deleted: bool | None = None
    origin: Origin | None = None
    passed_over: int | None = None
    """Sequence numbers between the version before and this one."""
    previous_confirmed_until: datetime | None = None


class BalanceRow(Row, frozen=True, gc=False):
    """From this version on, this asset has these amounts. Written only when they change."""

    user_id: str
    asset: str
    valid_from: datetime
    epoch: Int4
    sequence: int
    revision: Int4
    available: Decimal
    allocated: Decimal
    reported: bool


class ExposureRow(Row, frozen=True, gc=False):
    """From this moment on, this asset has this exposure. It changes with prices and has no sequence."""

    user_id: str
    asset: str
    observed_at: datetime
    session_id: UUID
    ordinal: int
    position: Int4
    current_exposure: Decimal | None
    max_exposure: Decimal | None


class ExposureTotalRow(Row, frozen=True, gc=False):
    """From this moment on, the account has this exposure."""

    user_id: str
    observed_at: datetime
    session_id: UUID
    ordinal: int
    position: Int4
    base_currency: str | None
    total_current_exposure: Decimal | None
    total_max_exposure: Decimal | None


class PairRow(Row, frozen=True, gc=False):
    """From this version on, this pair has these limits, or is no longer listed."""

    name: str
    valid_from: datetime
    epoch: Int4
    sequence: int
    revision: Int4
    asset: str
    currency: str
    min_size: Decimal | None
    max_size: Decimal | None
    min_quote_size: Decimal | None
    max_quote_size: Decimal | None
    listed: bool


class _SessionPart(Row, frozen=True, gc=False):
    """The part of a session in a batch, whether or not the session is stored already."""

    session_id: UUID
    opened_at: datetime
    committed_ordinal: int
    committed_records: int
    """In this batch, as `dropped_records`."""
    dropped_records: int
    last_received_at: datetime | None
    closed_at: datetime | None
    last_message_at: datetime | None
    received: int | None
    ending: str | None
    cause: str | None
    detail: str | None


class SessionRow(_SessionPart, frozen=True, gc=False):
    """A session that begins in this batch."""

    url: str
    attempts: Int4
    connection_errors: tuple[str, ...]
    software_version: str
    clock_offset_seconds: float | None


class SessionProgressRow(_SessionPart, frozen=True, gc=False):
    """The part of a session that is stored already; rejected unless it continues at the stored position."""

    first_ordinal: int
    """The first ordinal that this batch adds: one above the stored one."""


class WatermarkRow(Row, frozen=True, gc=False):
    """The watermark of a stream after this batch, and what it must be before (null: none)."""

    kind: Kind
    user_id: str
    epoch: Int4
    sequence: int
    revision: Int4
    content: bytes
    session_id: UUID
    ordinal: int
    position: Int4
    valid_from: datetime
    confirmed_until: datetime
    deleted: bool
    old_epoch: Int4 | None
    old_sequence: int | None
    old_revision: Int4 | None


class EpochRow(Row, frozen=True, gc=False):
    """A counter has begun, or begun again."""

    kind: Kind
    user_id: str
    epoch: Int4
    opened_at: datetime
    cause: str
    first_sequence: int
    previous_sequence: int | None
    evidence: Int4
    """Number of answers that prove the lower counter."""
    first_evidence_session_id: UUID
    first_evidence_ordinal: int
    last_evidence_session_id: UUID
    last_evidence_ordinal: int
    stale_snapshots: int
    """Snapshots with a lower sequence that were stored and not applied before the epoch was opened."""
    first_stale_at: datetime | None
    """Receipt of the first of them."""


class ConfirmationRow(Row, frozen=True, gc=False):
    """A snapshot that needed confirmation; written when it arrived, completed when it was resolved."""

    key: ClassVar = ("session_id", "ordinal", "position", "reason", "raised_at")
    session_id: UUID
    ordinal: int
    position: Int4
    reason: str
    raised_at: datetime
    kind: Kind
    user_id: str
    sequence: int
    resolution: str | None
    resolved_at: datetime | None
    resolved_by_session_id: UUID | None
    resolved_by_ordinal: int | None


class DeadLetterRow(Row, frozen=True, gc=False):
    """An event that could not be applied; its bytes are in `raw_event`. If the same cause occurs again
    while its gap is open, the row is written again with its count."""

    key: ClassVar = ("session_id", "ordinal", "position", "received_at")
    session_id: UUID
    ordinal: int
    position: Int4
    received_at: datetime
    stage: str
    reason: str
    detail: str
    subject: str | None
    software_version: str
    occurrences: Int4
    last_received_at: datetime


class RequestRow(Row, frozen=True, gc=False):
    """A request and its end so far; written when it is sent, completed when it has ended."""

    key: ClassVar = ("request_id", "requested_at")
    request_id: Annotated[str, "uuid"]
    requested_at: datetime
    command: str
    cause: str
    attempt: Int4
    argument_form: str
    session_id: UUID
    outcome: str | None
    ended_at: datetime | None
    answer_ordinal: int | None
    error: str | None


class GapRow(Row, frozen=True, gc=False):
    """A gap so far; written when it opens, completed when it ends."""

    key: ClassVar = ("session_id", "ordinal", "position", "kind", "opened_at")
    session_id: UUID
    ordinal: int
    position: Int4
    kind: str
    opened_at: datetime
    cause: str
    missed_from: datetime
    missed_until: datetime | None
    connection_errors: tuple[str, ...]
    affects: tuple[str, ...]
    """Kinds of stream."""
    user_id: str | None
    first_missing: int | None
    last_missing: int | None
    occurrences: int
    last_occurred_at: datetime
    balances_confirmed_at: datetime | None
    balances_confirmed_by_session_id: UUID | None
    balances_confirmed_by_ordinal: int | None
    pairs_confirmed_at: datetime | None
    pairs_confirmed_by_session_id: UUID | None
    pairs_confirmed_by_ordinal: int | None
    ended_at: datetime | None
