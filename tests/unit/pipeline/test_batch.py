"""A batch keeps its rows by type in their order, and of a row that was written again only the last."""

from typing import Any
from uuid import UUID

from ingestor.domain.decision import Outcome
from ingestor.domain.requests import Command, RequestCause
from ingestor.pipeline.batch import Batch, Change, Notice, RequestAnswered, SnapshotNeeded
from ingestor.pipeline.rows import ConfirmationRow, GapRow, OutcomeRow, RequestRow
from tests.support.items import SESSION, at

OTHER = UUID(int=9)


def row(of: type[Any], **values: object) -> Any:
    return of(**{**dict.fromkeys(of.__struct_fields__), **values})


GAP = {"session_id": SESSION, "ordinal": 1, "position": 0, "kind": "dropped", "opened_at": at(1)}
CONFIRMATION = {"session_id": SESSION, "ordinal": 1, "position": 0, "reason": "conflict", "raised_at": at(1)}


def test_rows_are_kept_by_type_in_their_order() -> None:
    first, second = row(OutcomeRow, ordinal=1, outcome=Outcome.APPLIED), row(OutcomeRow, ordinal=1)
    gap = row(GapRow, **GAP)
    batch = Batch([first, gap, second])

    assert batch.rows == {OutcomeRow: [first, second], GapRow: [gap]}
    assert batch.all(OutcomeRow) == [first, second]
    assert batch.all(RequestRow) == ()


def test_a_row_that_was_written_again_stands_once_as_it_was_last() -> None:
    last = row(GapRow, **GAP, occurrences=3)
    batch = Batch([row(GapRow, **GAP, occurrences=1), row(GapRow, **GAP, occurrences=2), last])

    assert batch.all(GapRow) == [last]


def test_rows_of_different_keys_all_stand_in_the_order_of_their_first_appearance() -> None:
    keys = [
        GAP,
        {**GAP, "session_id": OTHER},
        {**GAP, "ordinal": 2},
        {**GAP, "position": 1},
        {**GAP, "kind": "unanswered"},
        {**GAP, "opened_at": at(2)},
    ]
    rows = [row(GapRow, **key) for key in keys]

    assert Batch(rows).all(GapRow) == rows
    assert Batch([*rows, row(GapRow, **GAP, cause="x")]).all(GapRow) == [
        row(GapRow, **GAP, cause="x"),
        *rows[1:],
    ]


def test_requests_and_confirmations_are_rewritten_too() -> None:
    others = [
        {**CONFIRMATION, "session_id": OTHER},
        {**CONFIRMATION, "ordinal": 2},
        {**CONFIRMATION, "position": 1},
        {**CONFIRMATION, "reason": "mass_delete"},
    ]
    batch = Batch(
        [
            row(RequestRow, request_id="a"),
            row(RequestRow, request_id="b"),
            row(RequestRow, request_id="a", outcome="answered"),
            row(ConfirmationRow, **CONFIRMATION),
            *(row(ConfirmationRow, **other) for other in others),
            row(ConfirmationRow, **CONFIRMATION, resolution="confirmed"),
        ]
    )

    assert [(each.request_id, each.outcome) for each in batch.all(RequestRow)] == [
        ("a", "answered"),
        ("b", None),
    ]
    assert [each.resolution for each in batch.all(ConfirmationRow)] == ["confirmed", *[None] * 4]


def test_effects_are_kept_in_their_order_apart_from_the_rows() -> None:
    effects: list[Change] = [
        Notice("one", {}),
        RequestAnswered("a"),
        SnapshotNeeded(Command.GET_PAIRS, RequestCause.GAP),
    ]
    batch = Batch([effects[0], row(OutcomeRow), *effects[1:]])

    assert batch.effects == effects
    assert batch.effects_of(RequestAnswered) == [RequestAnswered("a")]
    assert batch.rows.keys() == {OutcomeRow}


def test_events_are_counted_by_outcome() -> None:
    rows = [row(OutcomeRow, outcome=each) for each in (Outcome.APPLIED, Outcome.STALE, Outcome.APPLIED)]

    assert Batch(rows).outcomes() == {"applied": 2, "stale": 1}
    assert Batch().outcomes() == {}
