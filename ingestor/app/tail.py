"""The committed events that a reader of `ingestor tail` has asked for, with secrets masked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, unquote

import msgspec

from ingestor.app.masking import cleaned, masked
from ingestor.domain.events import BalanceSnapshot, PairList
from ingestor.domain.streams import Kind
from ingestor.pipeline.tail import Committed, Tail

_MOST_EVENTS = 400
_MOST_WITH_RECORDS = 100
"""Fewer, because masking a record takes a tenth of a millisecond of CPU from the writer's thread."""
_HEAD_BYTES = 1024
"""Bytes of a record that are masked; less is shown."""


@dataclass(frozen=True, slots=True)
class TailEvent:
    """A committed event: a line of `ingestor tail --json`."""

    number: int
    """Number of its record, among those committed since the start of the daemon: 1, 2, 3 …"""
    session_id: str
    ordinal: int
    position: int
    received_at: datetime
    size: int
    """Bytes of its record on the wire."""
    outcome: str
    reason: str | None
    subject: str | None
    stream: str | None
    """`balances` or `pairs`, if it belongs to one."""
    epoch: int | None
    sequence: int | None
    request_id: str | None
    """Id of the request that it answers."""
    record: str | None
    """The record's text if it was asked for: at most 500 characters, masked."""
    missed: int = 0
    """Records before this one that are not shown, because the reader was too slow."""


@dataclass(frozen=True, slots=True)
class TailPart:
    """The daemon's answer to one query."""

    cursor: str
    """To be sent with the next query."""
    missed: int
    """Records since the last query that are no longer kept."""
    more: bool
    """More events can be read now."""
    events: list[TailEvent]


@dataclass(frozen=True, slots=True)
class TailQuery:
    """The filters: an event passes one if it matches any of its words, or if the filter is empty."""

    subjects: Sequence[str] = ()
    streams: Sequence[str] = ()
    outcomes: Sequence[str] = ()
    with_record: bool = False
    cursor: str = ""
    """The cursor of the part before; empty: from now on."""

    def encoded(self) -> str:
        """As a query string, for the socket."""
        return quote(msgspec.json.encode(self))

    def matches(self, each: Committed) -> bool:
        """Whether this event passes all filters."""
        return (
            (not self.outcomes or each.outcome in self.outcomes)
            and (not self.streams or _stream(each) in self.streams)
            and (not self.subjects or (each.event.subject or "").lower() in map(str.lower, self.subjects))
        )


def part(tail: Tail, process: str, encoded: str) -> TailPart:
    """The next events for a reader.

    Args:
        process: identifies this process; cursors of an earlier one are not valid here.
        encoded: a `TailQuery` as a query string.
    """
    query = msgspec.json.decode(unquote(encoded), type=TailQuery)
    known, _, number = query.cursor.partition(":")
    after = int(number) if known == process and number.isdecimal() else None
    newest, missed, events = tail.read(after)
    most, shown = _MOST_WITH_RECORDS if query.with_record else _MOST_EVENTS, list[TailEvent]()
    for each in events:
        # All events of a record are in one part, because the cursor is a number of a record.
        if len(shown) >= most and each.number != shown[-1].number:
            return TailPart(f"{process}:{each.number - 1}", missed, more=True, events=shown)
        if query.matches(each):
            shown.append(_shown(each, with_record=query.with_record))
    return TailPart(f"{process}:{newest}", missed, more=False, events=shown)


def _stream(each: Committed) -> str | None:
    body, row = each.event.body, each.row
    if isinstance(body, BalanceSnapshot):
        return Kind.BALANCES.value
    if isinstance(body, PairList):
        return Kind.PAIRS.value
    return None if row is None or row.kind is None else row.kind.value


def _sequence(each: Committed) -> int | None:
    """Pairs have our own count as sequence, which only their row has."""
    body = each.event.body
    if isinstance(body, BalanceSnapshot):
        return body.sequence
    return None if each.row is None else each.row.sequence


def _shown(each: Committed, *, with_record: bool) -> TailEvent:
    record, event, row = each.record, each.event, each.row
    return TailEvent(
        number=each.number,
        session_id=str(record.session),
        ordinal=record.ordinal,
        position=event.position,
        received_at=record.received_at,
        size=record.size,
        outcome=each.outcome.value,
        reason=None if row is None else row.reason,
        subject=None if event.subject is None else cleaned(event.subject),
        stream=_stream(each),
        epoch=None if row is None else row.epoch,
        sequence=_sequence(each),
        request_id=None if event.client_id is None else cleaned(event.client_id),
        record=masked(record.raw[:_HEAD_BYTES]) if with_record else None,
    )
