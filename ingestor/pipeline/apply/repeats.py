"""How a record is stored: whole, or as its difference from an earlier one (decision 0013).

The snapshots of an idle account repeat each other. A duplicate that differs from a whole record of its
stream in one run of bytes refers to that record, and stores only the run. So does an answer that differs in
our request's id as well, which is stored as a number.
"""

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from ingestor.domain.records import Decoded, Fact, Record
from ingestor.pipeline.apply.finding import Arrived
from ingestor.pipeline.batch import Change
from ingestor.pipeline.rows import RawEventRow


def whole(record: Record) -> RawEventRow:
    """The record with all its bytes."""
    return RawEventRow(
        record.session, record.ordinal, record.received_at, record.size, record.sha256, record.raw
    )


def difference(base: Decoded | None, arrived: Arrived) -> RawEventRow | None:
    """The row of a duplicate that refers to `base`; None where it has to be stored whole.

    Such a row stores its outcome too, so all values of the outcome must be the same, except the id of the
    request. The base is of the same session and of the same day (UTC): what is kept or deleted by the
    day is kept or deleted with all that it refers to.

    Args:
        base: a record that is stored whole, with one event, of the stream's present version.
    """
    if base is None or arrived.alone is None or not _is_of(base, arrived):
        return None
    record, event = arrived.record, arrived.event
    raw, known, request_id = record.raw, base.record.raw, None
    if event.client_id is None:
        head = len(raw) if raw == known else _common_head(known, raw)
        rest = raw[head:]
    else:
        request_id, head = _request_id(arrived, event.client_id), raw.find(event.client_id.encode())
        if request_id is None or head < 0 or not known.startswith(raw[:head]):
            return None
        rest = raw[head + len(event.client_id) :]
    return RawEventRow(
        record.session,
        record.ordinal,
        record.received_at,
        record.size,
        None,
        _without_tail(known, rest),
        base.record.ordinal,
        head,
        request_id,
    )


class Repeat(NamedTuple):
    """A record that refers to another one, and whose row is all that it has led to.

    It may have moved the time until which its stream is confirmed, to its own receipt. After that, the same
    bytes at the same time have nothing left to change: a flood of them needs no decision for each.
    """

    record: Record
    row: RawEventRow

    def comes_again(self, record: Record) -> bool:
        """Whether that record has its bytes and its time of receipt, in the same session."""
        mine = self.record
        return (
            record.raw == mine.raw
            and record.received_at == mine.received_at
            and record.session is mine.session
        )


def repeat_of(item: Decoded | Fact, changes: Sequence[Change]) -> Repeat | None:
    """The item as a `Repeat`, if it is one with these changes."""
    if len(changes) != 1 or not isinstance(item, Decoded):
        return None
    (row,) = changes
    return Repeat(item.record, row) if isinstance(row, RawEventRow) and row.base_ordinal is not None else None


def _is_of(base: Decoded, arrived: Arrived) -> bool:
    """Same session, day and subject; the stream is the same, because the base is that stream's."""
    record, before = arrived.record, base.record
    return (
        before.session == record.session
        and before.received_at.date() == record.received_at.date()
        and base.events[0].subject == arrived.event.subject
    )


def _request_id(arrived: Arrived, client_id: str) -> UUID | None:
    """The id of the request that this answers, if its text can be made of it again."""
    try:
        request_id = None if arrived.request is None else UUID(client_id)
    except ValueError:
        return None
    return request_id if str(request_id) == client_id else None


def _common_head(one: bytes, other: bytes) -> int:
    """With how many equal bytes both begin."""
    known, limit = 0, min(len(one), len(other))
    while known < limit:
        middle = (known + limit + 1) // 2
        if one[known:middle] == other[known:middle]:
            known = middle
        else:
            limit = middle - 1
    return known


def _without_tail(base: bytes, rest: bytes) -> bytes:
    """What `rest` has before that with which both end."""
    if base.endswith(rest):  # nearly always
        return b""
    return rest[: len(rest) - _common_head(base[::-1], rest[::-1])]
