"""The rows of sessions and watermarks, which guard a batch: the difference that it makes to the state."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ingestor.domain.records import CommitsLost, Decoded, Dropped, Fact, SessionClosed, SessionOpened
from ingestor.domain.streams import Watermark
from ingestor.pipeline.rows import SessionProgressRow, SessionRow, WatermarkRow
from ingestor.pipeline.state import REMEMBERED_SESSIONS, EndedSession, OpenSession, State, Stream


class _Part(Struct, gc=False):
    """What a batch holds of one session."""

    opened: SessionOpened | None = None
    closed: SessionClosed | None = None
    last_ordinal: int = 0
    records: int = 0
    dropped: int = 0
    last_received_at: datetime | None = None


def advance_sessions(
    before: State, items: Sequence[Decoded | Fact], software_version: str
) -> tuple[Mapping[UUID, OpenSession], tuple[EndedSession, ...], list[SessionRow | SessionProgressRow]]:
    """The sessions that are open after these items, those that have ended, and a row for each touched."""
    sessions, ended_sessions = dict(before.sessions), before.ended
    rows: list[SessionRow | SessionProgressRow] = []
    for session_id, part in _parts(items).items():
        known = sessions.get(session_id)
        ended = _ended(part.closed)
        if part.opened is not None:
            rows.append(_new(part.opened, part, software_version, ended))
            known = OpenSession(part.opened)
        elif known is None:
            raise AssertionError(f"records of session {session_id}, which was never opened")
        last_ordinal = part.last_ordinal or known.committed_ordinal
        # It must not go back from one batch to the next, even if a clock does.
        last_received_at = max(filter(None, (known.last_received_at, part.last_received_at)), default=None)
        if part.opened is None:
            rows.append(
                SessionProgressRow(
                    session_id,
                    known.opened.opened_at,
                    last_ordinal,
                    part.records,
                    part.dropped,
                    last_received_at,
                    *ended,
                    known.committed_ordinal + 1,
                )
            )
        known = replace(known, committed_ordinal=last_ordinal, last_received_at=last_received_at)
        if part.closed is None:
            sessions[session_id] = known
        else:
            sessions.pop(session_id, None)
            ended_sessions = (*ended_sessions, EndedSession(known, part.closed))[-REMEMBERED_SESSIONS:]
    return sessions, ended_sessions, rows


def _parts(items: Sequence[Decoded | Fact]) -> dict[UUID, _Part]:
    parts: dict[UUID, _Part] = {}
    current, part = None, _Part()
    for item in items:
        if isinstance(item, Decoded):
            record = item.record
            if record.session is not current:
                current = record.session
                part = parts.setdefault(current, _Part())
            part.last_ordinal = record.ordinal
            part.records += 1
            at = record.received_at
            if part.last_received_at is None or at > part.last_received_at:
                part.last_received_at = at
            continue
        if isinstance(item, SessionOpened | SessionClosed | Dropped | CommitsLost):
            current = item.session
            part = parts.setdefault(current, _Part())
        if isinstance(item, SessionOpened):
            part.opened = item
        elif isinstance(item, SessionClosed):
            part.closed = item
        elif isinstance(item, Dropped | CommitsLost):
            part.last_ordinal = item.last_ordinal
            part.dropped += item.count
            until = max(item.first_received_at, item.last_received_at)
            part.last_received_at = max(part.last_received_at or until, until)
    return parts


_Ended = tuple[datetime | None, datetime | None, int | None, str | None, str | None, str | None]


def _ended(closed: SessionClosed | None) -> _Ended:
    if closed is None:
        return None, None, None, None, None, None
    return (
        closed.closed_at,
        closed.last_message_at,
        closed.received,
        closed.end.value,
        closed.cause,
        closed.detail,
    )


def _new(opened: SessionOpened, part: _Part, software_version: str, ended: _Ended) -> SessionRow:
    return SessionRow(
        opened.session,
        opened.opened_at,
        part.last_ordinal,
        part.records,
        part.dropped,
        part.last_received_at,
        *ended,
        opened.url,
        opened.attempts,
        opened.connection_errors,
        software_version,
        opened.clock_offset_seconds,
    )


def watermark_rows(before: State, after: State) -> list[WatermarkRow]:
    """One compare-and-set for each stream that has moved."""
    rows = []
    for key, stream in after.streams.items():
        old, new = before.streams.get(key, _NO_STREAM).state.watermark, stream.state.watermark
        if new is None or new is old:
            continue
        rows.append(
            WatermarkRow(
                kind=key.kind,
                user_id=key.user_id,
                epoch=new.number.epoch,
                sequence=new.number.sequence,
                revision=new.number.revision,
                content=new.content.digest,
                session_id=new.event.session,
                ordinal=new.event.ordinal,
                position=new.event.position,
                valid_from=new.valid_from,
                confirmed_until=new.confirmed_until,
                deleted=new.deleted,
                **_old_number(old),
            )
        )
    return rows


_NO_STREAM = Stream()


def _old_number(old: Watermark | None) -> dict[str, int | None]:
    if old is None:
        return {"old_epoch": None, "old_sequence": None, "old_revision": None}
    number = old.number
    return {
        "old_epoch": number.epoch,
        "old_sequence": number.sequence,
        "old_revision": number.revision,
    }
