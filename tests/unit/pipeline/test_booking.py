"""From records to rows: what one transaction writes for what the hub has said."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from msgspec.structs import astuple

from ingestor.domain.commands import Cause, Command, CommandOutcome
from ingestor.domain.decision import Outcome
from ingestor.domain.gaps import GapEnd, GapKind
from ingestor.domain.streams import EventKey, Kind, Mark, StreamKey
from ingestor.pipeline.batch import Want
from ingestor.pipeline.booking import BookingRules, Bookkeeper
from tests.support.items import SESSION, at, balances, envelope, invocation, pairs
from tests.support.line import USER, Line, held, only, outcomes

OTHER = UUID("00000000-0000-7000-8000-000000000002")
WANTS_BALANCES = Want(Command.GET_BALANCES, Cause.SUSPICION)
WIDE = {"BTC": 1, "ETH": 2, "USDT": 3}


def exposed(sequence: int, assets: dict[str, dict[str, float]], **more: object) -> bytes:
    """A balance snapshot whose assets hold 1 each and have these further members."""
    rows = [{"name": name, "available": 1, "allocated": 0, **block} for name, block in assets.items()]
    data = {"userId": USER, "sequence": sequence, "assets": rows, **more}
    return invocation(envelope("account.balances.snapshot", data))


@pytest.fixture
def line() -> Line:
    """In its first session, with nothing known yet."""
    line = Line()
    line.book(line.opened())
    return line


# --- what every record adds to ---


def test_a_first_snapshot_becomes_all_its_rows(line: Line) -> None:
    raw = balances(5, {"BTC": "0.50", "USDT": "1000"})
    batch = line.book(line.heard(raw))

    assert [(row.ordinal, row.raw, row.size) for row in batch.raw_events] == [(1, raw, len(raw))]
    (outcome,) = batch.outcomes
    assert (outcome.outcome, outcome.kind, outcome.user_id) == (Outcome.APPLIED, Kind.BALANCES, USER)
    assert (outcome.epoch, outcome.sequence, outcome.revision) == (1, 5, 0)
    (version,) = batch.versions
    assert (version.valid_from, version.sequence, version.previous_confirmed_until) == (line.now, 5, None)
    assert [(row.asset, str(row.available), row.reported) for row in batch.balances] == [
        ("BTC", "0.50", True),
        ("USDT", "1000", True),
    ]
    (move,) = batch.watermarks
    assert (move.stream, move.old, move.new.mark) == (StreamKey(Kind.BALANCES, USER), None, Mark(1, 5, 0))
    assert [(row.epoch, row.cause, row.witnesses) for row in batch.epochs] == [(1, "first_seen", 1)]
    assert batch.counts == {"applied": 1}
    assert not batch.gaps
    assert not batch.wants


def test_a_duplicate_confirms_and_writes_no_version(line: Line) -> None:
    line.book(line.heard(balances(5)))
    batch = line.book(line.heard(balances(5)))

    assert outcomes(batch) == ["duplicate"]
    assert not batch.versions
    assert not batch.balances
    (move,) = batch.watermarks
    assert (move.old, move.new.mark, move.new.confirmed_until) == (Mark(1, 5, 0), Mark(1, 5, 0), line.now)


def test_only_what_changed_is_written_again(line: Line) -> None:
    line.book(line.heard(balances(5, {"BTC": 1, "USDT": 10})))
    batch = line.book(line.heard(balances(6, {"BTC": 1, "USDT": 11})))

    assert [(row.asset, row.available) for row in batch.balances] == [("USDT", Decimal(11))]
    assert batch.versions[0].previous_confirmed_until == at(2)


def test_a_batch_moves_a_stream_once_from_where_it_found_it(line: Line) -> None:
    line.book(line.heard(balances(5)))
    batch = line.book(*[line.heard(balances(sequence)) for sequence in (6, 7, 8)])

    (move,) = batch.watermarks
    assert (move.old, move.new.mark) == (Mark(1, 5, 0), Mark(1, 8, 0))
    assert [row.sequence for row in batch.versions] == [6, 7, 8]


def test_a_record_of_several_events_has_an_outcome_for_each(line: Line) -> None:
    first = envelope("account.balances.snapshot", {"userId": USER, "sequence": 1, "assets": []})
    second = envelope("execution.pairs", [])
    batch = line.book(line.heard(invocation(first, second)))

    assert [(row.position, row.kind) for row in batch.outcomes] == [(0, Kind.BALANCES), (1, Kind.PAIRS)]
    assert len(batch.raw_events) == 1


def test_the_same_items_on_the_same_books_give_the_same_rows(line: Line) -> None:
    items = (
        line.asked("mine"),
        line.heard(balances(7, client_id="mine")),
        line.heard(balances(3)),
        line.heard(balances(9)),
        line.heard(pairs(["BTCUSDT"])),
        line.heard(b"{"),
        line.closed(),
    )
    before = line.books.copy()
    once = Bookkeeper(line.books.copy(), line.rules).book(items)
    twice = Bookkeeper(line.books.copy(), line.rules).book(items)

    assert once == twice
    assert line.books == before, "a batch that is refused leaves no trace"


# --- gaps in the sequence ---


def test_a_push_that_skips_numbers_opens_a_gap_and_a_fresh_answer_heals_it(line: Line) -> None:
    line.book(line.heard(balances(5)))
    skip = line.book(line.heard(balances(9)))
    gap = only(skip)

    assert outcomes(skip) == ["applied"]
    assert (gap.kind, gap.first_missing, gap.last_missing) == (GapKind.SEQUENCE_SKIP, 6, 8)
    assert (gap.cause, gap.stream, gap.user_id, gap.end) == ("pushed", Kind.BALANCES, USER, None)
    assert skip.wants == [Want(Command.GET_BALANCES, Cause.GAP)]

    healed = only(line.book(line.asked("mine"), line.heard(balances(9, client_id="mine"))))
    assert (healed.end, healed.ended_at, healed.proof) == (GapEnd.HEALED, line.now, EventKey(SESSION, 3, 0))
    assert line.books.open_gaps == []


def test_a_skip_begins_where_the_version_before_was_last_confirmed(line: Line) -> None:
    line.book(line.heard(balances(5)), line.heard(balances(5), later=10))
    confirmed = line.now
    gap = only(line.book(line.heard(balances(9), later=20)))

    assert (gap.missed_from, gap.missed_until, gap.opened_at) == (confirmed, line.now, line.now)


def test_a_skip_under_a_clock_that_steps_back_does_not_end_before_it_begins(line: Line) -> None:
    line.book(line.heard(balances(5)))
    confirmed = line.now
    gap = only(line.book(line.heard(balances(9), later=-3600)))

    assert (gap.missed_from, gap.missed_until) == (confirmed, confirmed)


def test_an_answer_asked_for_before_the_skip_does_not_heal_it(line: Line) -> None:
    line.book(line.heard(balances(5)), line.asked("mine"), line.heard(balances(9)))
    batch = line.book(line.heard(balances(9, client_id="mine")))

    assert outcomes(batch) == ["duplicate"]
    assert len(line.books.open_gaps) == 1


def test_an_answer_for_another_user_does_not_heal_it(line: Line) -> None:
    line.book(line.heard(balances(5)), line.heard(balances(9)))
    line.book(line.asked("mine"), line.heard(balances(1, user_id="user-2", client_id="mine")))
    assert [gap.user_id for gap in line.books.open_gaps] == [USER]

    line.book(line.asked("again"), line.heard(balances(9, client_id="again")))
    assert line.books.open_gaps == []


def test_numbers_skipped_between_two_answers_are_explained_by_the_polling(line: Line) -> None:
    line.book(line.heard(balances(5)))
    batch = line.book(line.asked("mine"), line.heard(balances(9, client_id="mine")))
    gap = only(batch)

    assert (gap.cause, gap.first_missing, gap.last_missing) == ("polling", 6, 8)
    assert (gap.end, gap.ended_at) == (GapEnd.EXPLAINED, line.now)
    assert not batch.wants
    assert line.books.open_gaps == []


def test_numbers_skipped_while_the_link_was_away_are_explained_by_that(line: Line) -> None:
    line.book(line.heard(balances(5)))
    line.book(line.closed(), line.opened(OTHER))
    batch = line.book(line.heard(balances(9)))
    gap = batch.gaps[OTHER, 1, 0, "sequence_skip"]

    assert (gap.cause, gap.end) == ("reconnected", GapEnd.EXPLAINED)
    assert not batch.wants


# --- doubts ---


def test_a_lower_sequence_becomes_state_only_with_a_second_witness(line: Line) -> None:
    line.book(line.heard(balances(50)))
    doubted = line.book(line.heard(balances(1)))
    assert outcomes(doubted) == ["stale"]
    assert doubted.wants == [WANTS_BALANCES]
    assert not doubted.watermarks
    assert [(row.doubt, row.sequence, row.resolution) for row in doubted.doubts] == [
        ("reset_suspected", 1, None)
    ]

    reset = line.book(line.asked("mine"), line.heard(balances(2, client_id="mine")))
    assert outcomes(reset) == ["applied"]
    assert [(row.resolution, row.resolved_at, row.resolved_by_ordinal) for row in reset.doubts] == [
        ("confirmed", line.now, 3)
    ]
    (epoch,) = reset.epochs
    assert (epoch.epoch, epoch.cause, epoch.previous_sequence) == (2, "suspected_server_reset", 50)
    assert (epoch.first_witness_ordinal, epoch.last_witness_ordinal, epoch.witnesses) == (2, 3, 2)
    assert reset.watermarks[0].new.mark == Mark(2, 2, 0)
    assert [notice.event for notice in reset.notices] == ["doubt_resolved", "epoch_opened"]


def test_a_fresh_answer_that_is_not_lower_refutes_a_reset(line: Line) -> None:
    line.book(line.heard(balances(50)), line.heard(balances(1)))
    batch = line.book(line.asked("mine"), line.heard(balances(51, client_id="mine")))

    assert [row.resolution for row in batch.doubts] == ["refuted"]
    assert not batch.epochs


def test_more_resets_than_allowed_leave_the_stream_degraded(line: Line) -> None:
    line.book(line.heard(balances(100)))
    for lower in (50, 40, 30):
        line.book(line.heard(balances(lower)))
        line.book(line.asked(f"{lower}"), line.heard(balances(lower, client_id=f"{lower}")))
    line.book(line.heard(balances(20)))
    batch = line.book(line.asked("one too many"), line.heard(balances(20, client_id="one too many")))

    assert outcomes(batch) == ["stale"]
    assert [notice.event for notice in batch.notices] == ["stream_degraded"]


def test_one_sequence_with_two_contents_keeps_both(line: Line) -> None:
    line.book(line.heard(balances(5, {"BTC": 1})))
    batch = line.book(line.heard(balances(5, {"BTC": 2})))

    assert outcomes(batch) == ["conflict"]
    assert [(row.sequence, row.revision) for row in batch.versions] == [(5, 1)]
    assert [row.doubt for row in batch.doubts] == ["conflict"]
    assert batch.wants == [WANTS_BALANCES]
    assert held(line.stream()) == {"BTC": "2"}


def test_a_snapshot_that_loses_most_of_the_account_is_held_until_an_answer_agrees(line: Line) -> None:
    line.book(line.heard(balances(5, WIDE)))
    doubted = line.book(line.heard(balances(6, {"BTC": 1})))
    assert outcomes(doubted) == ["held"]
    assert doubted.wants == [WANTS_BALANCES]
    assert not doubted.balances
    assert held(line.stream()) == {"BTC": "1", "ETH": "2", "USDT": "3"}

    agreed = line.book(line.asked("mine"), line.heard(balances(6, {"BTC": 1}, client_id="mine")))
    assert outcomes(agreed) == ["applied"]
    assert [(row.asset, row.available, row.reported) for row in agreed.balances] == [
        ("ETH", Decimal(0), False),
        ("USDT", Decimal(0), False),
    ]
    assert held(line.stream()) == {"BTC": "1"}


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("before", [{"BTC": 1, "ETH": 2}, {"BTC": 1, "ETH": 0}, {"BTC": 0}])
def test_an_emptied_list_is_held_whatever_share_may_go(share: float, before: dict[str, float]) -> None:
    line = Line(BookingRules(mass_delete_share=share))
    line.book(line.opened(), line.heard(balances(5, before)))
    doubted = line.book(line.heard(balances(6, {})))
    agreed = line.book(line.asked("mine"), line.heard(balances(6, {}, client_id="mine")))

    assert (outcomes(doubted), outcomes(agreed)) == (["held"], ["applied"])
    assert held(line.stream()) == {}


def test_what_is_empty_already_can_lose_nothing(line: Line) -> None:
    line.book(line.heard(balances(5, WIDE)), line.heard(balances(6, {})))
    line.book(line.asked("mine"), line.heard(balances(6, {}, client_id="mine")))

    assert outcomes(line.book(line.heard(balances(7, {})))) == ["applied"]


def test_an_account_may_lose_the_share_that_the_operator_allows() -> None:
    line = Line(BookingRules(mass_delete_share=1.0))
    line.book(line.opened(), line.heard(balances(5, WIDE)))

    assert outcomes(line.book(line.heard(balances(6, {"BTC": 1})))) == ["applied"]


def test_an_emptied_pair_list_is_held_whatever_share_may_go() -> None:
    line = Line(BookingRules(mass_delete_share=1.0))
    line.book(line.opened(), line.heard(pairs(["AAAUSDT"])))

    assert outcomes(line.book(line.heard(pairs([])))) == ["held"]


def test_a_held_snapshot_proves_nothing(line: Line) -> None:
    line.book(line.heard(balances(5, WIDE)), line.heard(balances(7, WIDE)))
    batch = line.book(line.asked("mine"), line.heard(balances(8, {}, client_id="mine")))

    assert outcomes(batch) == ["held"]
    assert batch.answered == ["mine"]
    assert len(line.books.open_gaps) == 1


def test_a_pair_list_that_loses_most_is_held_until_an_answer_agrees(line: Line) -> None:
    line.book(line.heard(pairs(["AAAUSDT", "BBBUSDT", "CCCUSDT"])))
    doubted = line.book(line.heard(pairs(["AAAUSDT"])))
    agreed = line.book(
        line.asked("mine", Command.GET_PAIRS), line.heard(pairs(["AAAUSDT"], client_id="mine"))
    )

    assert (outcomes(doubted), outcomes(agreed)) == (["held"], ["applied"])
    assert [(row.name, row.listed) for row in agreed.pairs] == [("BBBUSDT", False), ("CCCUSDT", False)]


def test_pairs_are_counted_by_us_and_written_when_they_change(line: Line) -> None:
    first = line.book(line.heard(pairs(["AAAUSDT", "BBBUSDT"])))
    again = line.book(line.heard(pairs(["BBBUSDT", "AAAUSDT"])))
    more = line.book(line.heard(pairs(["AAAUSDT", "BBBUSDT", "CCCUSDT"])))

    assert [outcomes(batch) for batch in (first, again, more)] == [["applied"], ["duplicate"], ["applied"]]
    assert [(row.name, row.sequence) for row in more.pairs] == [("CCCUSDT", 2)]
    assert not again.pairs


# --- users ---


def test_another_user_is_another_stream_and_told_once(line: Line) -> None:
    line.book(line.heard(balances(50)))
    batch = line.book(line.heard(balances(1, user_id="user-2")), line.heard(balances(2, user_id="user-2")))

    assert outcomes(batch) == ["applied", "applied"]
    assert [notice.event for notice in batch.notices].count("unknown_user_seen") == 1
    assert line.stream(user_id="user-2").state.watermark is not None
    assert line.stream().state.watermark is not None


# --- what cannot be applied ---


def test_what_cannot_be_read_is_kept_aside_and_asked_for_again(line: Line) -> None:
    broken = invocation(envelope("account.balances.snapshot", "not JSON"))
    batch = line.book(line.heard(broken))

    assert outcomes(batch) == ["quarantined"]
    (letter,) = batch.dead_letters
    assert (letter.stage, letter.reason, letter.software_version) == ("decode", "not_json", "1.2.3")
    gap = only(batch)
    assert (gap.kind, gap.cause) == (GapKind.UNDECODABLE, "not_json")
    assert gap.awaiting == {Kind.BALANCES}
    assert batch.wants == [Want(Command.GET_BALANCES, Cause.UNDECODABLE)]
    assert not batch.watermarks


def test_what_names_no_stream_may_have_been_of_either_kind(line: Line) -> None:
    batch = line.book(line.heard(b"\xff"))

    assert only(batch).awaiting == frozenset(Kind)
    assert {want.command for want in batch.wants} == set(Command)


def test_an_unreadable_answer_is_left_to_the_retries_of_its_command(line: Line) -> None:
    broken = invocation(envelope("account.balances.snapshot", "not JSON", "mine"))
    batch = line.book(line.asked("mine"), line.heard(broken))

    assert batch.refused == [("mine", "unreadable answer: not_json")]
    assert not batch.wants
    assert not batch.answered


def test_an_unreadable_answer_to_a_command_that_has_ended_is_asked_for_again(line: Line) -> None:
    broken = invocation(envelope("account.balances.snapshot", "not JSON", "mine"))
    batch = line.book(line.asked("mine"), line.settled("mine"), line.heard(broken))

    assert batch.wants == [Want(Command.GET_BALANCES, Cause.UNDECODABLE)]
    assert not batch.refused


def test_a_record_that_the_database_refuses_is_quarantined_alone(line: Line) -> None:
    bad, good = line.heard(balances(5)), line.heard(balances(6))
    batch = line.book(bad, good, refused={(bad.session, bad.ordinal)})

    assert outcomes(batch) == ["quarantined", "applied"]
    (letter,) = batch.dead_letters
    assert (letter.ordinal, letter.stage, letter.reason) == (1, "store", "refused_by_database")
    assert [row.sequence for row in batch.versions] == [6]


def test_an_error_event_refuses_the_command_it_names(line: Line) -> None:
    error = invocation(envelope("preChecksError", "no permission", "mine"))
    batch = line.book(line.asked("mine"), line.heard(error))

    assert [(row.outcome, row.reason) for row in batch.outcomes] == [(Outcome.IGNORED, "hub_error")]
    assert [command_id for command_id, _ in batch.refused] == ["mine"]
    assert "no permission" in batch.refused[0][1]
    assert not batch.answered


def test_an_unknown_subject_is_kept_and_answers_nothing(line: Line) -> None:
    batch = line.book(line.asked("mine"), line.heard(invocation(envelope("trade.executed", "{}", "mine"))))

    assert [(row.outcome, row.reason) for row in batch.outcomes] == [(Outcome.IGNORED, "unhandled_subject")]
    assert batch.refused == [("mine", "answered with an unknown subject")]


# --- answers ---


def test_an_answer_settles_its_command(line: Line) -> None:
    batch = line.book(line.asked("mine"), line.heard(balances(5, client_id="mine")))

    row = batch.commands["mine"]
    assert (row.outcome, row.settled_at, row.answer_ordinal) == (CommandOutcome.ANSWERED, line.now, 1)
    assert batch.answered == ["mine"]


def test_an_answer_of_the_wrong_kind_settles_nothing_and_proves_nothing(line: Line) -> None:
    line.book(line.heard(balances(5)), line.shed())
    batch = line.book(line.asked("mine"), line.heard(pairs(["BTCUSDT"], client_id="mine")))

    assert outcomes(batch) == ["applied"]
    assert not batch.answered
    assert batch.refused == [("mine", "answered with execution.pairs")]
    assert batch.commands["mine"].outcome is None
    assert not batch.gaps

    right = line.book(line.heard(balances(5, client_id="mine")))
    assert right.answered == ["mine"]
    assert right.commands["mine"].outcome == CommandOutcome.ANSWERED


def test_an_unreadable_answer_of_the_wrong_kind_is_asked_for_too(line: Line) -> None:
    broken = invocation(envelope("execution.pairs", "not JSON", "mine"))
    batch = line.book(line.asked("mine"), line.heard(broken))

    assert batch.wants == [Want(Command.GET_PAIRS, Cause.UNDECODABLE)]
    assert batch.refused == [("mine", "answered with execution.pairs")]


def test_an_id_of_another_session_is_a_push(line: Line) -> None:
    line.book(line.asked("mine"), line.heard(balances(5)), line.closed(), line.opened(OTHER))
    batch = line.book(line.heard(balances(6, client_id="mine")))

    assert outcomes(batch) == ["applied"]
    assert not batch.answered
    assert not batch.commands


def test_a_late_answer_is_still_a_fresh_one_and_changes_no_ended_command(line: Line) -> None:
    line.book(line.heard(balances(50)), line.heard(balances(1)))
    line.book(line.asked("mine"), line.settled("mine", final=False))
    batch = line.book(line.heard(balances(2, client_id="mine")))

    assert [row.epoch for row in batch.epochs] == [2]
    assert not batch.commands


# --- exposure ---


def test_exposure_is_recorded_when_it_moves_even_if_the_sequence_does_not(line: Line) -> None:
    first = line.book(line.heard(exposed(5, {"BTC": {"currentExposure": 10, "maxExposure": 20}})))
    again = line.book(line.heard(exposed(5, {"BTC": {"currentExposure": 10, "maxExposure": 20}})))
    moved = line.book(line.heard(exposed(5, {"BTC": {"currentExposure": 11, "maxExposure": 20}})))

    assert [len(batch.exposures) for batch in (first, again, moved)] == [1, 0, 1]
    (row,) = moved.exposures
    assert astuple(row) == (USER, "BTC", line.now, SESSION, 3, 0, Decimal(11), Decimal(20))


def test_a_snapshot_without_the_exposure_block_changes_no_exposure(line: Line) -> None:
    line.book(line.heard(exposed(5, {"BTC": {"currentExposure": 10}}, baseCurrency="EUR")))
    batch = line.book(line.heard(exposed(6, {"BTC": {}})))

    assert not batch.exposures
    assert not batch.exposure_totals


def test_an_asset_that_vanishes_takes_its_exposure_with_it(line: Line) -> None:
    block = {"currentExposure": 10.0, "maxExposure": 20.0}
    line.book(line.heard(exposed(5, {"BTC": block, "ETH": block})))
    gone = line.book(line.heard(exposed(6, {"BTC": block})))
    again = line.book(line.heard(exposed(7, {"BTC": block})))

    (row,) = gone.exposures
    assert (row.asset, row.observed_at) == ("ETH", line.now - timedelta(seconds=1))
    assert (row.current_exposure, row.max_exposure) == (None, None)
    assert not again.exposures


def test_an_asset_that_vanishes_ends_its_exposure_even_if_no_other_is_told(line: Line) -> None:
    line.book(line.heard(exposed(5, {"BTC": {}, "ETH": {"currentExposure": 10}})))
    batch = line.book(line.heard(exposed(6, {"BTC": {}})))

    assert [(row.asset, row.current_exposure) for row in batch.exposures] == [("ETH", None)]
    assert not batch.exposure_totals


def test_a_held_snapshot_ends_no_exposure(line: Line) -> None:
    line.book(line.heard(exposed(5, {"BTC": {"currentExposure": 10}})))

    assert not line.book(line.heard(exposed(6, {}))).exposures


@pytest.mark.parametrize("block", [{"currentExposure": 0}, {"maxExposure": 20}])
def test_one_figure_of_an_asset_is_exposure_enough(line: Line, block: dict[str, float]) -> None:
    batch = line.book(line.heard(exposed(5, {"BTC": block})))

    assert [row.asset for row in batch.exposures] == ["BTC"]


@pytest.mark.parametrize(
    "block", [{"totalCurrentExposure": 0}, {"totalMaxExposure": 20}, {"baseCurrency": "EUR"}]
)
def test_one_figure_of_the_account_is_exposure_enough(line: Line, block: dict[str, object]) -> None:
    batch = line.book(line.heard(exposed(5, {"BTC": {}}, **block)))

    assert len(batch.exposure_totals) == 1
    assert not batch.exposures


def test_what_is_stale_tells_no_exposure(line: Line) -> None:
    line.book(line.heard(balances(5)))
    batch = line.book(line.heard(exposed(4, {"BTC": {"currentExposure": 10}}, totalCurrentExposure=10)))

    assert not batch.exposures
    assert not batch.exposure_totals
