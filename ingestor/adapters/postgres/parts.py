"""The parts of a batch as the statements take them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from msgspec import Struct

from ingestor.adapters.postgres import statements
from ingestor.adapters.postgres.statements import Guarded
from ingestor.domain.gaps import Gap
from ingestor.pipeline.batch import Batch, WatermarkMove

_COPY_FROM_ROWS = 250
"""From this many rows on, COPY is cheaper than JSON in spite of its round trips (decision 0008)."""
_COPY_FROM_BYTES = 256 * 1024
"""As received; JSON would carry them as base64."""


class Changes(NamedTuple):
    """Rows of which none may fail to take place."""

    change: Guarded
    rows: Sequence[Struct]


class _WatermarkRow(Struct):
    """A stream's new place, and the mark of the old one if there was one."""

    kind: str
    user_id: str
    epoch: int
    sequence: int
    revision: int
    content: bytes
    session_id: UUID
    ordinal: int
    position: int
    valid_from: datetime
    confirmed_until: datetime
    deleted: bool
    old_epoch: int | None = None
    old_sequence: int | None = None
    old_revision: int | None = None


def is_large(batch: Batch) -> bool:
    """Whether COPY is the better way for what every event adds to."""
    rows = sum(map(len, event_rows(batch)))
    return rows >= _COPY_FROM_ROWS or sum(len(row.raw) for row in batch.raw_events) >= _COPY_FROM_BYTES


def event_rows(batch: Batch) -> tuple[Sequence[Struct], ...]:
    """What every event adds to, in the order of writing."""
    return (
        batch.raw_events,
        batch.outcomes,
        batch.versions,
        batch.balances,
        batch.exposures,
        batch.exposure_totals,
        batch.pairs,
    )


def rare_rows(batch: Batch) -> tuple[Sequence[Struct], ...]:
    """What only few events add to. A doubt that was raised and resolved in this batch is one row."""
    doubts = {(row.session_id, row.ordinal, row.position, row.doubt): row for row in batch.doubts}
    return (batch.epochs, batch.dead_letters, list(doubts.values()), list(batch.commands.values()))


def progress(batch: Batch) -> Changes:
    """How far each session has come."""
    return Changes(statements.ADVANCE_SESSIONS, list(batch.progress.values()))


def watermarks(batch: Batch) -> tuple[Changes, Changes]:
    """The streams that were known, and those that begin."""
    moved = [_watermark(move) for move in batch.watermarks if move.old is not None]
    begun = [_watermark(move) for move in batch.watermarks if move.old is None]
    return Changes(statements.MOVE_WATERMARKS, moved), Changes(statements.BEGIN_WATERMARKS, begun)


def _watermark(move: WatermarkMove) -> _WatermarkRow:
    old, new = move.old, move.new
    return _WatermarkRow(
        kind=move.stream.kind.value,
        user_id=move.stream.user_id,
        epoch=new.mark.epoch,
        sequence=new.mark.sequence,
        revision=new.mark.revision,
        content=new.content.digest,
        session_id=new.event.session,
        ordinal=new.event.ordinal,
        position=new.event.position,
        valid_from=new.valid_from,
        confirmed_until=new.confirmed_until,
        deleted=new.deleted,
        old_epoch=None if old is None else old.epoch,
        old_sequence=None if old is None else old.sequence,
        old_revision=None if old is None else old.revision,
    )


def gap_values(gap: Gap) -> tuple[Any, ...]:
    """Parameters of `WRITE_GAP`, without the account."""
    return (
        gap.session,
        gap.ordinal,
        gap.position,
        gap.kind.value,
        gap.missed_from,
        gap.missed_until,
        gap.opened_at,
        gap.cause,
        list(gap.obstacles),
        None if gap.stream is None else gap.stream.value,
        gap.user_id,
        gap.first_missing,
        gap.last_missing,
        sorted(kind.value for kind in gap.awaiting),
        None if gap.end is None else gap.end.value,
        gap.ended_at,
        None if gap.proof is None else gap.proof.session,
        None if gap.proof is None else gap.proof.ordinal,
    )
