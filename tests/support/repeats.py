"""The views `ingest.record` and `ingest.event_outcome`, for rows that are not in a database."""

from collections.abc import Iterable
from uuid import UUID

from msgspec.structs import replace

from ingestor.domain.streams import Kind
from ingestor.pipeline.rows import OutcomeRow, RawEventRow

Place = tuple[UUID, int]
"""Session and ordinal."""


def bytes_of(rows: Iterable[RawEventRow]) -> dict[Place, bytes]:
    """Every record as it was received."""
    stored = {(row.session_id, row.ordinal): row for row in rows}
    return {place: _bytes(row, stored) for place, row in stored.items()}


def _bytes(row: RawEventRow, stored: dict[Place, RawEventRow]) -> bytes:
    if row.base_ordinal is None:
        return row.raw
    base = stored[row.session_id, row.base_ordinal]
    assert base.base_ordinal is None, "a base is stored whole"
    assert base.ordinal < row.ordinal
    request_id = "" if row.request_id is None else str(row.request_id)
    begin = base.raw[: row.head] + request_id.encode() + row.raw
    return begin + base.raw[len(base.raw) - (row.size - len(begin)) :]


def outcomes_of(raw: Iterable[RawEventRow], outcomes: Iterable[OutcomeRow]) -> list[OutcomeRow]:
    """The outcome of every event, in the order of the records; a record that refers is a duplicate."""
    rows = list(raw)
    by_place: dict[Place, list[OutcomeRow]] = {}
    for said in outcomes:
        by_place.setdefault((said.session_id, said.ordinal), []).append(said)
    refers = [row for row in rows if row.base_ordinal is not None]
    for row in refers:
        assert (row.session_id, row.ordinal) not in by_place, "one outcome for each event"
        assert row.base_ordinal is not None
        (base,) = by_place[row.session_id, row.base_ordinal]
        by_place[row.session_id, row.ordinal] = [
            replace(
                base,
                ordinal=row.ordinal,
                received_at=row.received_at,
                outcome=type(base.outcome).DUPLICATE,
                request_id=None if row.request_id is None else str(row.request_id),
                epoch=None,
                sequence=base.sequence if base.kind is Kind.BALANCES else None,
                revision=None,
                valid_from=None,
                deleted=None,
                origin=None,
                passed_over=None,
                previous_confirmed_until=None,
            )
        ]
    return [each for row in rows for each in by_place[row.session_id, row.ordinal]]
