"""A record that repeats another one is stored by what it has that the other has not (I8)."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from ingestor.domain.decision import Outcome
from ingestor.domain.records import Record
from ingestor.domain.requests import Command
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.rows import (
    BalanceRow,
    ExposureRow,
    ExposureTotalRow,
    OutcomeRow,
    PairRow,
    RawEventRow,
)
from tests.support.feed import Feed, outcomes
from tests.support.items import balances, envelope, invocation, pairs
from tests.support.repeats import bytes_of, outcomes_of

FIRST, SECOND = "01234567-89ab-4cde-8f01-23456789abcd", "fedcba98-7654-4321-8fed-cba987654321"
OTHER = UUID(int=77)
SNAPSHOT = "account.balances.snapshot"


class Kept(Feed):
    """A feed that keeps its rows, and holds them against what arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.arrived: dict[tuple[UUID, int], bytes] = {}
        self.raw: list[RawEventRow] = []
        self.said: list[OutcomeRow] = []
        self.apply(self.opened())

    def take(self, raw: bytes, **more: float) -> tuple[RawEventRow, Batch]:
        record = self.received(raw, **more)
        return self.take_record(record)

    def take_record(self, record: Record) -> tuple[RawEventRow, Batch]:
        batch = self.apply(record)
        self.arrived[record.session, record.ordinal] = record.raw
        (row,) = batch.all(RawEventRow)
        self.raw.append(row)
        self.said += batch.all(OutcomeRow)
        assert bytes_of(self.raw) == self.arrived
        return row, batch

    def answer(self, request_id: str, raw: bytes, command: Command = Command.GET_BALANCES) -> RawEventRow:
        self.apply(self.requested(request_id, command))
        return self.take(raw)[0]


@pytest.fixture
def feed() -> Kept:
    return Kept()


def test_the_same_bytes_again_are_a_reference_and_no_other_row(feed: Kept) -> None:
    raw = balances(5)
    feed.take(raw)
    row, batch = feed.take(raw)

    assert (row.size, row.raw, row.base_ordinal, row.head, row.request_id) == (
        *(len(raw), b"", 1, len(raw), None),
    )
    assert outcomes(batch) == ["duplicate"]
    assert batch.outcomes() == {"duplicate": 1}
    for kind in (OutcomeRow, BalanceRow, ExposureRow, ExposureTotalRow):
        assert not batch.all(kind)


def test_an_answer_that_differs_in_our_id_alone_has_the_id_as_a_number(feed: Kept) -> None:
    feed.answer(FIRST, balances(5, client_id=FIRST))
    row = feed.answer(SECOND, balances(5, client_id=SECOND))

    assert (row.raw, row.base_ordinal, row.request_id) == (b"", 1, UUID(SECOND))
    assert [(each.outcome, each.request_id) for each in outcomes_of(feed.raw, feed.said)] == [
        (Outcome.APPLIED, FIRST),
        (Outcome.DUPLICATE, SECOND),
    ]


def test_no_reference_refers_to_a_reference(feed: Kept) -> None:
    rows = [feed.take(balances(5))[0] for _ in range(4)]

    assert [row.base_ordinal for row in rows] == [None, 1, 1, 1]


def test_a_list_of_pairs_that_did_not_change_is_a_reference_and_no_other_row(feed: Kept) -> None:
    feed.answer(FIRST, pairs(["AAAUSDT"], client_id=FIRST), Command.GET_PAIRS)
    feed.apply(feed.requested(SECOND, Command.GET_PAIRS))
    row, batch = feed.take(pairs(["AAAUSDT"], client_id=SECOND))

    assert (row.raw, row.base_ordinal) == (b"", 2 - 1)
    assert not batch.all(PairRow)
    assert [(each.outcome, each.sequence) for each in outcomes_of(feed.raw, feed.said)] == [
        (Outcome.APPLIED, 1),
        (Outcome.DUPLICATE, None),
    ]


def exposed(sequence: int, current: str, client_id: str | None = None, total: str = "10") -> bytes:
    data = {
        "userId": "user-1",
        "sequence": sequence,
        "assets": [{"name": "BTC", "available": 1, "allocated": 0, "currentExposure": float(current)}],
        "baseCurrency": "USD",
        "totalCurrentExposure": float(total),
        "deleted": False,
    }
    return invocation(envelope(SNAPSHOT, data, client_id))


def test_an_exposure_that_moves_is_the_run_of_bytes_that_differs_and_one_that_does_not_is_no_row(
    feed: Kept,
) -> None:
    feed.take(exposed(5, "1.25"))
    moved, batch = feed.take(exposed(5, "1.75"))
    same, after = feed.take(exposed(5, "1.75"))

    assert (moved.raw, moved.base_ordinal) == (b"7", 1)
    assert len(batch.all(ExposureRow)) == 1
    assert same.raw == b"7"
    assert not after.all(ExposureRow)
    assert not after.all(ExposureTotalRow)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 100])
def test_what_is_longer_or_shorter_comes_back_as_it_was(feed: Kept, length: int) -> None:
    feed.take(exposed(5, "1.1"))

    assert feed.take(exposed(5, "1.1" + "1" * length))[0].base_ordinal == 1
    assert feed.take(exposed(5, "1.1").replace(b" ", b"") + b" " * length)[0].base_ordinal == 1


def test_an_answer_whose_exposure_moved_has_its_id_and_the_run_after_it(feed: Kept) -> None:
    feed.answer(FIRST, exposed(5, "1.25", FIRST))
    row = feed.answer(SECOND, exposed(5, "1.75", SECOND))

    assert row.request_id == UUID(SECOND)
    assert row.base_ordinal == 1
    assert b"1.7" in row.raw
    assert len(row.raw) < row.size - 36


def test_pushes_and_answers_may_take_turns(feed: Kept) -> None:
    feed.take(balances(5))
    assert feed.answer(FIRST, balances(5, client_id=FIRST)).base_ordinal is None
    assert feed.take(balances(5))[0].base_ordinal == 2
    assert feed.answer(SECOND, balances(5, client_id=SECOND)).base_ordinal == 2


def whole(row: RawEventRow, raw: bytes) -> bool:
    return (row.raw, row.base_ordinal, row.head, row.request_id) == (raw, None, None, None)


@pytest.mark.parametrize(
    "client_id",
    ["mine", FIRST.upper(), FIRST.replace("-", "")],
    ids=["none of ours", "not as we write it", "no hyphens"],
)
def test_an_id_that_is_not_made_of_its_number_again_is_stored_whole(feed: Kept, client_id: str) -> None:
    feed.take(balances(5))
    raw = balances(5, client_id=client_id)

    assert whole(feed.answer(client_id, raw), raw)


def test_an_answer_to_no_request_of_this_session_is_stored_whole(feed: Kept) -> None:
    feed.take(balances(5))
    raw = balances(5, client_id=FIRST)

    assert whole(feed.take(raw)[0], raw)


def test_an_id_whose_letters_are_escaped_is_stored_whole(feed: Kept) -> None:
    feed.answer(FIRST, balances(5, client_id=FIRST))
    raw = balances(5, client_id=SECOND).replace(b"fedcba98-", b"\\u0066edcba98-")
    assert b"\\u0066" in raw

    assert whole(feed.answer(SECOND, raw), raw)


def test_a_change_before_the_id_is_stored_whole(feed: Kept) -> None:
    feed.answer(FIRST, balances(5, client_id=FIRST))
    raw = b" " + balances(5, client_id=SECOND)

    assert whole(feed.answer(SECOND, raw), raw)


def test_another_spelling_of_the_subject_is_stored_whole(feed: Kept) -> None:
    feed.take(balances(5))
    raw = balances(5).replace(b"account.balances", b"ACCOUNT.balances")
    row, batch = feed.take(raw)

    assert outcomes(batch) == ["duplicate"]
    assert whole(row, raw)


def test_what_is_no_duplicate_is_stored_whole_and_a_new_version_is_the_next_base(feed: Kept) -> None:
    feed.take(balances(5))
    stale = feed.take(balances(4))[0]
    higher = feed.take(balances(6))[0]
    conflict = feed.take(balances(6, {"BTC": 7}))[0]
    again = feed.take(balances(6, {"BTC": 7}))[0]

    assert [row.base_ordinal for row in (stale, higher, conflict, again)] == [None, None, None, 4]


def test_of_several_events_none_refers_and_none_is_referred_to(feed: Kept) -> None:
    one, two = json_of(5), json_of(6)
    feed.take(invocation(one, two))
    assert feed.take(invocation(one, two))[0].base_ordinal is None
    assert feed.take(invocation(two))[0].base_ordinal is None
    assert feed.take(invocation(two))[0].base_ordinal == 3
    assert feed.take(invocation(two, two))[0].base_ordinal is None
    assert feed.take(invocation(two))[0].base_ordinal == 3


def json_of(sequence: int) -> dict[str, object]:
    data = {"userId": "user-1", "sequence": sequence, "assets": [], "deleted": False}
    return envelope(SNAPSHOT, data)


def test_a_session_and_a_day_begin_with_a_whole_record(feed: Kept) -> None:
    feed.take(balances(5))
    assert feed.take(balances(5), later=80_000)[0].base_ordinal == 1
    assert feed.take(balances(5), later=10_000)[0].base_ordinal is None  # past midnight
    assert feed.take(balances(5))[0].base_ordinal == 3
    feed.apply(feed.closed(), feed.opened(OTHER))
    assert feed.take(balances(5))[0].base_ordinal is None
    assert feed.take(balances(5))[0].base_ordinal == 1


def test_a_restart_knows_no_base(feed: Kept) -> None:
    feed.take(balances(5))
    streams = {key: replace(stream, assets=(), base=None) for key, stream in feed.state.streams.items()}
    feed.state = replace(feed.state, streams=streams)

    assert feed.take(balances(5))[0].base_ordinal is None
    assert feed.take(balances(5))[0].base_ordinal == 2


def test_a_conflict_that_is_confirmed_by_a_repeat_keeps_its_rows(feed: Kept) -> None:
    """What a duplicate proves is on record, whichever way its bytes are stored."""
    feed.answer(FIRST, balances(5, client_id=FIRST))
    feed.take(balances(5, {"BTC": 9}))
    feed.apply(feed.requested(SECOND))
    row, batch = feed.take(balances(5, {"BTC": 9}, client_id=SECOND))

    assert outcomes(batch) == ["duplicate"]
    assert row.base_ordinal is None  # the conflict was pushed, and this has an id
    third = str(UUID(int=3))
    feed.apply(feed.requested(third))
    assert feed.take(balances(5, {"BTC": 9}, client_id=third))[0].base_ordinal == row.ordinal


def flood(feed: Kept, *records: Record) -> list[tuple[str, int | None]]:
    """Outcome and base of each of them, applied in one batch; as if each had been applied by itself."""
    single = Kept()
    single.state, single.decoder = feed.state, feed.decoder
    batch, parts = feed.apply(*records), [single.apply(record) for record in records]
    assert feed.state.streams == single.state.streams
    assert feed.state.arrivals == single.state.arrivals
    raw = batch.all(RawEventRow)
    assert raw == [row for part in parts for row in part.all(RawEventRow)]
    rows = {row.ordinal: row.outcome.value for row in batch.all(OutcomeRow)}
    assert rows == {row.ordinal: row.outcome.value for part in parts for row in part.all(OutcomeRow)}
    return [(rows.get(row.ordinal, "-"), row.base_ordinal) for row in raw]


def test_a_flood_of_one_moment_refers_to_the_first_record(feed: Kept) -> None:
    raw = balances(5)
    records = [feed.received(raw), *(feed.received(raw, later=0.0) for _ in range(4))]

    assert flood(feed, *records, feed.received(raw)) == [("applied", None), *[("-", 1)] * 5]
    assert feed.stream().state.watermark.confirmed_until == feed.now  # type: ignore[union-attr]


def test_in_one_moment_another_record_is_no_repeat(feed: Kept) -> None:
    def now(sequence: int) -> Record:
        return feed.received(balances(sequence), later=0.0)

    records = [now(5), now(5), now(5), now(4), now(5), now(6), now(5), now(6), now(6)]
    assert flood(feed, *records) == [
        *(("applied", None), ("-", 1), ("-", 1), ("stale", None), ("-", 1)),
        *(("applied", None), ("stale", None), ("-", 6), ("-", 6)),
    ]


def test_in_one_moment_a_repeat_that_ended_something_is_not_the_pattern_of_the_next(feed: Kept) -> None:
    """The first answer ends the request; the later ones are answers to nothing that is open."""
    feed.answer(FIRST, balances(5, client_id=FIRST))
    feed.apply(feed.requested(SECOND))
    records = [feed.received(balances(5, client_id=SECOND), later=0.0) for _ in range(4)]

    assert flood(feed, *records) == [("-", 1)] * 4


def test_in_one_moment_another_session_has_its_own_first_record(feed: Kept) -> None:
    feed.take(balances(5))
    records = [feed.received(balances(5), later=0.0) for _ in range(2)]
    feed.apply(feed.opened(OTHER))
    feed.take(balances(5))
    records.append(replace(records[0], session=OTHER, ordinal=2))

    assert flood(feed, *records) == [("duplicate", None), ("-", 2), ("duplicate", None)]
    assert feed.state.sessions[OTHER].committed_ordinal == 2
