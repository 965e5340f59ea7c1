"""From records to rows: what one transaction writes for the snapshots that the hub has sent."""

from datetime import timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from msgspec.structs import astuple, replace

from ingestor.domain.decision import Origin, Outcome, Policy, Step
from ingestor.domain.requests import Command
from ingestor.domain.streams import Kind, VersionNumber
from ingestor.pipeline.apply import Rules
from ingestor.pipeline.rows import (
    BalanceRow,
    ConfirmationRow,
    EpochRow,
    ExposureRow,
    ExposureTotalRow,
    GapRow,
    OutcomeRow,
    PairRow,
    RawEventRow,
    WatermarkRow,
)
from tests.support.feed import USER, Feed, holdings, needed, notices, outcomes, values, versions
from tests.support.items import SESSION, at, balances, envelope, invocation, pairs

OTHER = UUID("00000000-0000-7000-8000-000000000002")
CONFIRM_BALANCES = ["GetBalances confirmation"]
WIDE = {"BTC": 1, "ETH": 2, "USDT": 3}
NUMBER = ("epoch", "sequence", "revision")
OLD_NUMBER = ("old_epoch", "old_sequence", "old_revision")


def exposed(sequence: int, assets: dict[str, dict[str, float]], **more: object) -> bytes:
    """A balance snapshot whose assets hold 1 each and have these further members."""
    rows = [{"name": name, "available": 1, "allocated": 0, **block} for name, block in assets.items()]
    data = {"userId": USER, "sequence": sequence, "assets": rows, **more}
    return invocation(envelope("account.balances.snapshot", data))


@pytest.fixture
def feed() -> Feed:
    """In its first session, with nothing known yet."""
    feed = Feed()
    feed.apply(feed.opened())
    return feed


# --- what every record adds to ---


def test_a_first_snapshot_becomes_all_its_rows(feed: Feed) -> None:
    raw = balances(5, {"BTC": "0.50", "USDT": "1000"})
    batch = feed.apply(feed.received(raw))

    assert [astuple(row) for row in batch.all(RawEventRow)] == [
        (SESSION, 1, feed.now, len(raw), None, raw, None, None, None)
    ]
    (outcome,) = batch.all(OutcomeRow)
    assert astuple(outcome) == (
        *(SESSION, 1, 0, feed.now, Outcome.APPLIED, None),
        *("account.balances.snapshot", None, Kind.BALANCES, USER, 1, 5, 0),
        *(feed.now, False, Origin.PUSHED, 0, None),
    )
    assert [astuple(row) for row in batch.all(BalanceRow)] == [
        (USER, "BTC", feed.now, 1, 5, 0, Decimal("0.50"), Decimal(0), True),
        (USER, "USDT", feed.now, 1, 5, 0, Decimal(1000), Decimal(0), True),
    ]
    assert [str(row.available) for row in batch.all(BalanceRow)] == ["0.50", "1000"], "every digit"
    (moved,) = batch.all(WatermarkRow)
    content = feed.stream().state.watermark
    assert content is not None
    assert astuple(moved) == (
        *(Kind.BALANCES, USER, 1, 5, 0, content.content.digest, SESSION, 1, 0),
        *(feed.now, feed.now, False, None, None, None),
    )
    (epoch,) = batch.all(EpochRow)
    assert astuple(epoch) == (
        *(Kind.BALANCES, USER, 1, feed.now, "first_seen", 5, None, 1, SESSION, 1, SESSION, 1, 0, None),
    )
    assert batch.outcomes() == {"applied": 1}
    assert notices(batch) == ["stream_first_seen"]
    assert not batch.all(GapRow)
    assert not needed(batch)


def test_an_answer_says_so_on_its_version_and_its_outcome(feed: Feed) -> None:
    batch = feed.apply(feed.requested("mine"), feed.received(balances(5, client_id="mine")))

    assert [row.origin for row in versions(batch)] == [Origin.ANSWERED]
    assert [row.request_id for row in batch.all(OutcomeRow)] == ["mine"]


def test_a_duplicate_confirms_and_writes_no_version(feed: Feed) -> None:
    feed.apply(feed.received(balances(5)))
    batch = feed.apply(feed.received(balances(5)))

    assert outcomes(batch) == ["duplicate"]
    assert not batch.all(OutcomeRow)
    assert not versions(batch)
    assert not batch.all(BalanceRow)
    (moved,) = batch.all(WatermarkRow)
    assert values(moved, *OLD_NUMBER) == values(moved, *NUMBER) == (1, 5, 0)
    assert (moved.valid_from, moved.confirmed_until) == (feed.now - timedelta(seconds=1), feed.now)


def test_what_changes_nothing_moves_no_watermark(feed: Feed) -> None:
    feed.apply(feed.received(balances(5)))

    assert not feed.apply(feed.received(balances(4))).all(WatermarkRow)
    assert not feed.apply(feed.received(balances(5), later=-60)).all(WatermarkRow)


def test_only_what_changed_is_written_again(feed: Feed) -> None:
    feed.apply(feed.received(balances(5, {"BTC": 1, "USDT": 10})))
    batch = feed.apply(feed.received(balances(6, {"BTC": 1, "USDT": 11})))

    assert [(row.asset, row.available) for row in batch.all(BalanceRow)] == [("USDT", Decimal(11))]
    assert versions(batch)[0].previous_confirmed_until == at(2)


def test_a_version_is_not_preceded_by_a_confirmation_that_lies_behind_it(feed: Feed) -> None:
    feed.apply(feed.received(balances(5)), feed.received(balances(5), later=3600))
    (version,) = versions(feed.apply(feed.received(balances(6), later=-3590)))

    assert version.previous_confirmed_until == version.valid_from == feed.now


def test_a_batch_moves_a_stream_once_from_where_it_found_it(feed: Feed) -> None:
    feed.apply(feed.received(balances(5)))
    batch = feed.apply(*[feed.received(balances(sequence)) for sequence in (6, 7, 8)])

    (moved,) = batch.all(WatermarkRow)
    assert (values(moved, *OLD_NUMBER), values(moved, *NUMBER)) == ((1, 5, 0), (1, 8, 0))
    assert [row.sequence for row in versions(batch)] == [6, 7, 8]


def test_a_record_of_several_events_has_an_outcome_for_each(feed: Feed) -> None:
    """Invariant I1."""
    first = envelope("account.balances.snapshot", {"userId": USER, "sequence": 1, "assets": []})
    second = envelope("execution.pairs", [])
    batch = feed.apply(feed.received(invocation(first, second)))

    assert [(row.position, row.kind) for row in batch.all(OutcomeRow)] == [
        (0, Kind.BALANCES),
        (1, Kind.PAIRS),
    ]
    assert len(batch.all(RawEventRow)) == 1


def test_a_record_of_which_only_the_head_was_kept_says_its_size_and_its_digest(feed: Feed) -> None:
    whole = feed.received(balances(5))
    cut = type(whole)(whole.session, whole.ordinal, whole.received_at, b'{"type"', 5_000_000, b"digest")
    (row,) = feed.apply(cut).all(RawEventRow)

    assert (row.raw, row.size, row.sha256) == (b'{"type"', 5_000_000, b"digest")


# --- numbers that were passed over ---


def test_a_skip_is_a_fact_on_the_version_and_neither_a_gap_nor_a_request(feed: Feed) -> None:
    feed.apply(feed.received(balances(5)))
    batch = feed.apply(feed.received(balances(9)))

    assert [(row.sequence, row.passed_over) for row in versions(batch)] == [(9, 3)]
    assert not batch.all(GapRow)
    assert not batch.effects


@pytest.mark.parametrize("step", [2, 7, 1_000])
def test_a_counter_with_any_step_raises_nothing(feed: Feed, step: int) -> None:
    batch = feed.apply(*[feed.received(balances(5 + step * n)) for n in range(50)])

    assert {row.passed_over for row in versions(batch)[1:]} == {step - 1}
    assert not batch.all(GapRow)
    assert not needed(batch)


def test_pairs_pass_nothing_over(feed: Feed) -> None:
    batch = feed.apply(feed.received(pairs(["AAAUSDT"])), feed.received(pairs(["AAAUSDT", "BBBUSDT"])))

    assert [(row.sequence, row.passed_over) for row in versions(batch)] == [(1, 0), (2, 0)]
    assert not any(row.deleted for row in versions(batch))
    assert [row.sequence for row in batch.all(OutcomeRow)] == [1, 2]


def test_where_the_hub_pushes_every_number_a_push_that_skips_is_a_gap_until_it_is_confirmed() -> None:
    feed = Feed(Rules(Policy(Step.CONTIGUOUS)))
    feed.apply(feed.opened(), feed.received(balances(5)), feed.received(balances(5), later=10))
    confirmed = feed.now
    skip = feed.apply(feed.received(balances(9), later=20))
    (gap,) = skip.all(GapRow)

    assert outcomes(skip) == ["applied"]
    assert [row.passed_over for row in versions(skip)] == [3]
    assert (gap.kind, gap.cause, gap.first_missing, gap.last_missing) == ("sequence_skip", "pushed", 6, 8)
    assert (gap.session_id, gap.ordinal, gap.position) == (SESSION, 3, 0)
    assert (gap.affects, gap.user_id, gap.ended_at) == (("balances",), USER, None)
    assert (gap.missed_from, gap.missed_until, gap.opened_at) == (confirmed, feed.now, feed.now)
    assert needed(skip) == ["GetBalances gap"]

    end = feed.apply(feed.requested("mine"), feed.received(balances(9, client_id="mine")))
    (gap,) = [row for row in end.all(GapRow) if row.kind == "sequence_skip"]
    assert (gap.ended_at, gap.balances_confirmed_at) == (feed.now, feed.now)
    assert (gap.balances_confirmed_by_session_id, gap.balances_confirmed_by_ordinal) == (SESSION, 4)
    assert gap.pairs_confirmed_at is None


def test_a_skip_under_a_clock_that_steps_back_does_not_end_before_it_begins() -> None:
    feed = Feed(Rules(Policy(Step.CONTIGUOUS)))
    feed.apply(feed.opened(), feed.received(balances(5)))
    (gap,) = feed.apply(feed.received(balances(9), later=-3600)).all(GapRow)

    assert gap.missed_from == gap.missed_until == gap.opened_at == feed.now


# --- confirmations ---


def test_a_lower_sequence_becomes_state_only_by_two_fresh_answers(feed: Feed) -> None:
    """Invariant I10."""
    feed.apply(feed.received(balances(50)))
    push = feed.apply(feed.received(balances(1)))
    assert outcomes(push) == ["stale"]
    assert needed(push) == CONFIRM_BALANCES
    assert not push.all(ConfirmationRow)

    first = feed.apply(feed.requested("one"), feed.received(balances(2, client_id="one")))
    raised_at = feed.now
    assert outcomes(first) == ["stale"]
    assert needed(first) == CONFIRM_BALANCES
    (row,) = first.all(ConfirmationRow)
    assert astuple(row) == (
        *(SESSION, 3, 0, "reset_suspected", feed.now, Kind.BALANCES, USER, 2),
        *(None, None, None, None),
    )
    assert not first.all(WatermarkRow)
    assert notices(first) == ["confirmation_pending"]

    reset = feed.apply(feed.requested("two"), feed.received(balances(3, client_id="two")))
    assert outcomes(reset) == ["applied"]
    (row,) = reset.all(ConfirmationRow)
    assert (row.ordinal, row.raised_at, row.resolution) == (3, raised_at, "confirmed")
    assert (row.resolved_at, row.resolved_by_session_id, row.resolved_by_ordinal) == (feed.now, SESSION, 4)
    (epoch,) = reset.all(EpochRow)
    assert (epoch.epoch, epoch.opened_at, epoch.cause) == (2, feed.now, "suspected_server_reset")
    assert (epoch.first_sequence, epoch.previous_sequence, epoch.evidence) == (3, 50, 2)
    assert (epoch.first_evidence_ordinal, epoch.last_evidence_ordinal) == (3, 4)
    assert (epoch.stale_snapshots, epoch.first_stale_at) == (2, at(3))
    assert [values(row, *NUMBER) for row in reset.all(WatermarkRow)] == [(2, 3, 0)]
    assert notices(reset) == ["confirmation_resolved", "epoch_opened"]


def test_an_answer_that_pushes_have_overtaken_raises_nothing(feed: Feed) -> None:
    """A healthy hub whose answers are computed early and sent late."""
    for n in range(40):
        batch = feed.apply(
            feed.requested(f"{n}"),
            feed.received(balances(10 * n + 9)),
            feed.received(balances(10 * n + 5, client_id=f"{n}")),
        )
        assert outcomes(batch) == ["applied", "stale"]
        assert not batch.all(ConfirmationRow)
        assert not needed(batch)


def test_a_confirmation_does_not_end_before_it_was_raised(feed: Feed) -> None:
    feed.apply(feed.received(balances(50)), feed.received(balances(50, {"BTC": 7})))
    raised_at = feed.now
    batch = feed.apply(
        feed.requested("mine"), feed.received(balances(50, {"BTC": 7}, client_id="mine"), later=-3600)
    )

    assert [(row.resolution, row.resolved_at) for row in batch.all(ConfirmationRow)] == [
        ("confirmed", raised_at)
    ]


def test_a_confirmation_that_comes_and_goes_within_one_batch_is_one_row_with_its_end(feed: Feed) -> None:
    batch = feed.apply(
        feed.received(balances(50)),
        feed.received(balances(50, {"BTC": 7})),
        feed.requested("mine"),
        feed.received(balances(51, client_id="mine")),
    )

    assert [(row.reason, row.resolution) for row in batch.all(ConfirmationRow)] == [
        ("conflict", "superseded")
    ]
    assert notices(batch, "confirmation") == ["confirmation_pending", "confirmation_resolved"]


def test_more_resets_than_allowed_leave_the_stream_degraded() -> None:
    feed = Feed(Rules(Policy(epochs_per_hour=1)))
    feed.apply(feed.opened(), feed.received(balances(100)))
    for name, sequence in (("1", 50), ("2", 49), ("3", 48)):
        feed.apply(feed.requested(name), feed.received(balances(sequence, client_id=name)))
    batch = feed.apply(feed.requested("4"), feed.received(balances(47, client_id="4")))

    assert outcomes(batch) == ["stale"]
    assert notices(batch) == ["stream_degraded"]
    assert [pending.reason for pending in feed.stream().state.pending] == ["reset_suspected"]


def test_one_sequence_with_two_contents_keeps_both(feed: Feed) -> None:
    feed.apply(feed.received(balances(5, {"BTC": 1})))
    batch = feed.apply(feed.received(balances(5, {"BTC": 2})))

    assert outcomes(batch) == ["conflict"]
    assert [(row.sequence, row.revision) for row in versions(batch)] == [(5, 1)]
    assert [row.reason for row in batch.all(ConfirmationRow)] == ["conflict"]
    assert needed(batch) == CONFIRM_BALANCES
    assert holdings(feed.stream()) == {"BTC": "2"}


def test_a_snapshot_that_loses_most_of_the_account_waits_until_an_answer_agrees(feed: Feed) -> None:
    feed.apply(feed.received(balances(5, WIDE)))
    pending = feed.apply(feed.received(balances(6, {"BTC": 1})))
    assert outcomes(pending) == ["pending"]
    assert needed(pending) == CONFIRM_BALANCES
    assert not pending.all(BalanceRow)
    assert holdings(feed.stream()) == {"BTC": "1", "ETH": "2", "USDT": "3"}

    agreed = feed.apply(feed.requested("mine"), feed.received(balances(6, {"BTC": 1}, client_id="mine")))
    assert outcomes(agreed) == ["applied"]
    assert [(row.asset, row.available, row.allocated, row.reported) for row in agreed.all(BalanceRow)] == [
        ("ETH", Decimal(0), Decimal(0), False),
        ("USDT", Decimal(0), Decimal(0), False),
    ]
    assert holdings(feed.stream()) == {"BTC": "1"}


def test_rule_13_an_asset_that_is_missing_is_zero_and_unreported_and_written_once(feed: Feed) -> None:
    feed.apply(feed.received(balances(5, WIDE)))
    gone = feed.apply(feed.received(balances(6, {"BTC": 1, "ETH": 2})))
    still = feed.apply(feed.received(balances(7, {"BTC": 1, "ETH": 2})))
    back = feed.apply(feed.received(balances(8, {"BTC": 1, "ETH": 2, "USDT": 0})))

    assert [(row.asset, row.available, row.reported) for row in gone.all(BalanceRow)] == [
        ("USDT", Decimal(0), False)
    ]
    assert not still.all(BalanceRow)
    assert [(row.asset, row.available, row.reported) for row in back.all(BalanceRow)] == [
        ("USDT", Decimal(0), True)
    ]


@pytest.mark.parametrize("share", [0.5, 1.0])
@pytest.mark.parametrize("before", [{"BTC": 1, "ETH": 2}, {"BTC": 1, "ETH": 0}, {"BTC": 0}])
def test_an_emptied_list_waits_whatever_share_may_go(share: float, before: dict[str, float]) -> None:
    feed = Feed(Rules(mass_delete_share=share))
    feed.apply(feed.opened(), feed.received(balances(5, before)))
    pending = feed.apply(feed.received(balances(6, {})))
    agreed = feed.apply(feed.requested("mine"), feed.received(balances(6, {}, client_id="mine")))

    assert (outcomes(pending), outcomes(agreed)) == (["pending"], ["applied"])
    assert holdings(feed.stream()) == {}


def test_an_emptied_list_waits_also_where_a_restart_has_loaded_what_was_there(feed: Feed) -> None:
    feed.apply(feed.received(balances(5, WIDE)))
    streams = {key: replace(stream, assets=(), base=None) for key, stream in feed.state.streams.items()}
    feed.state = replace(feed.state, streams=streams)

    assert outcomes(feed.apply(feed.received(balances(6, {})))) == ["pending"]


def test_what_is_empty_already_can_lose_nothing(feed: Feed) -> None:
    feed.apply(feed.received(balances(5, WIDE)), feed.received(balances(6, {})))
    feed.apply(feed.requested("mine"), feed.received(balances(6, {}, client_id="mine")))

    assert outcomes(feed.apply(feed.received(balances(7, {})))) == ["applied"]


def test_an_account_may_lose_the_share_that_the_operator_allows() -> None:
    feed = Feed(Rules(mass_delete_share=1.0))
    feed.apply(feed.opened(), feed.received(balances(5, WIDE)))

    assert outcomes(feed.apply(feed.received(balances(6, {"BTC": 1})))) == ["applied"]


def test_half_of_what_held_something_may_go_and_what_held_nothing_does_not_count(feed: Feed) -> None:
    feed.apply(feed.received(balances(5, {"A": 1, "B": 1, "C": 1, "D": 1, "E": 0, "F": 0})))

    assert outcomes(feed.apply(feed.received(balances(6, {"A": 1, "B": 1})))) == ["applied"]
    assert outcomes(feed.apply(feed.received(balances(7, {"E": 0})))) == ["pending"]


def test_what_is_only_allocated_is_held_too(feed: Feed) -> None:
    def snapshot(sequence: int, *names: str) -> bytes:
        assets = [{"name": name, "available": 0, "allocated": 5} for name in names]
        data = {"userId": USER, "sequence": sequence, "assets": assets}
        return invocation(envelope("account.balances.snapshot", data))

    feed.apply(feed.received(snapshot(5, "A", "B", "C")))

    assert outcomes(feed.apply(feed.received(snapshot(6, "A")))) == ["pending"]


def test_an_emptied_pair_list_waits_whatever_share_may_go() -> None:
    feed = Feed(Rules(mass_delete_share=1.0))
    feed.apply(feed.opened(), feed.received(pairs(["AAAUSDT"])))

    assert outcomes(feed.apply(feed.received(pairs([])))) == ["pending"]


@pytest.mark.parametrize(("kept", "outcome"), [(2, "applied"), (1, "pending")])
def test_half_of_the_pairs_may_go(feed: Feed, kept: int, outcome: str) -> None:
    names = ["AAAUSDT", "BBBUSDT", "CCCUSDT", "DDDUSDT"]
    feed.apply(feed.received(pairs(names)))

    assert outcomes(feed.apply(feed.received(pairs(names[:kept])))) == [outcome]


def test_a_pending_snapshot_confirms_nothing_and_answers_its_request(feed: Feed) -> None:
    feed.apply(feed.received(balances(5, WIDE)), feed.dropped())
    batch = feed.apply(feed.requested("mine"), feed.received(balances(8, {}, client_id="mine")))

    assert outcomes(batch) == ["pending"]
    assert not batch.all(GapRow)
    assert next(gap for gap in feed.state.gaps if gap.kind == "dropped").is_unconfirmed(Kind.BALANCES)


def test_a_pair_list_that_loses_most_waits_until_an_answer_agrees(feed: Feed) -> None:
    feed.apply(feed.received(pairs(["AAAUSDT", "BBBUSDT", "CCCUSDT"])))
    pending = feed.apply(feed.received(pairs(["AAAUSDT"])))
    agreed = feed.apply(
        feed.requested("mine", Command.GET_PAIRS), feed.received(pairs(["AAAUSDT"], client_id="mine"))
    )

    assert (outcomes(pending), outcomes(agreed)) == (["pending"], ["applied"])
    assert needed(pending) == ["GetPairs confirmation"]
    assert [(row.name, row.listed) for row in agreed.all(PairRow)] == [("BBBUSDT", False), ("CCCUSDT", False)]
    assert set(feed.stream(Kind.PAIRS).pairs) == {"AAAUSDT"}


# --- pairs ---


def test_pairs_are_counted_by_us_and_written_when_they_change(feed: Feed) -> None:
    first = feed.apply(feed.received(pairs(["AAAUSDT", "BBBUSDT"])))
    again = feed.apply(feed.received(pairs(["BBBUSDT", "AAAUSDT"])))
    more = feed.apply(feed.received(pairs(["AAAUSDT", "BBBUSDT", "CCCUSDT"])))
    other = feed.apply(feed.received(pairs(["AAAUSDT", "BBBUSDT", "CCCUSDT"], max_size=6)))

    assert [outcomes(each) for each in (first, again, more)] == [["applied"], ["duplicate"], ["applied"]]
    assert [(row.name, row.sequence, row.listed) for row in more.all(PairRow)] == [("CCCUSDT", 2, True)]
    assert [(row.name, row.max_size) for row in other.all(PairRow)] == [
        (name, Decimal(6)) for name in ("AAAUSDT", "BBBUSDT", "CCCUSDT")
    ]
    assert not again.all(PairRow)


def test_a_pair_is_written_with_all_its_limits(feed: Feed) -> None:
    data = [
        {
            "name": "A/B",
            "asset": "A",
            "currency": "B",
            "minSize": 0.1,
            "maxSize": None,
            "minQuoteSize": 10,
            "maxQuoteSize": 20,
        }
    ]
    batch = feed.apply(feed.received(invocation(envelope("execution.pairs", data))))

    assert [astuple(row) for row in batch.all(PairRow)] == [
        ("A/B", feed.now, 1, 1, 0, "A", "B", Decimal("0.1"), None, Decimal(10), Decimal(20), True)
    ]


def test_a_list_of_pairs_that_pushes_have_overtaken_is_stale_and_requested_again(feed: Feed) -> None:
    feed.apply(feed.received(pairs(["AAAUSDT"])), feed.requested("mine", Command.GET_PAIRS))
    batch = feed.apply(
        feed.received(pairs(["AAAUSDT", "BBBUSDT"])), feed.received(pairs(["AAAUSDT"], client_id="mine"))
    )

    assert outcomes(batch) == ["applied", "stale"]
    assert needed(batch) == ["GetPairs confirmation"]
    assert set(feed.stream(Kind.PAIRS).pairs) == {"AAAUSDT", "BBBUSDT"}


# --- users ---


def test_rule_10_another_user_is_another_stream_and_logged_once(feed: Feed) -> None:
    feed.apply(feed.received(pairs(["AAAUSDT"])), feed.received(balances(50)))
    batch = feed.apply(
        feed.received(balances(1, user_id="user-2")), feed.received(balances(2, user_id="user-2"))
    )

    assert outcomes(batch) == ["applied", "applied"]
    assert sorted(notices(batch)) == ["stream_first_seen", "unknown_user_seen"]
    assert feed.stream(user_id="user-2").state.watermark is not None
    assert feed.stream().state.watermark is not None


def test_the_first_user_is_nobody_new(feed: Feed) -> None:
    batch = feed.apply(feed.received(pairs(["AAAUSDT"])), feed.received(balances(50)))

    assert "unknown_user_seen" not in notices(batch)


# --- exposure ---


def test_exposure_is_recorded_when_it_moves_even_if_the_sequence_does_not(feed: Feed) -> None:
    first = feed.apply(feed.received(exposed(5, {"BTC": {"currentExposure": 10, "maxExposure": 20}})))
    again = feed.apply(feed.received(exposed(5, {"BTC": {"currentExposure": 10, "maxExposure": 20}})))
    moved = feed.apply(feed.received(exposed(5, {"BTC": {"currentExposure": 11, "maxExposure": 20}})))

    assert [len(batch.all(ExposureRow)) for batch in (first, again, moved)] == [1, 0, 1]
    (row,) = moved.all(ExposureRow)
    assert astuple(row) == (USER, "BTC", feed.now, SESSION, 3, 0, Decimal(11), Decimal(20))


def test_the_exposure_of_the_account_is_recorded_when_it_moves(feed: Feed) -> None:
    block = {"baseCurrency": "EUR", "totalCurrentExposure": 10, "totalMaxExposure": 20}
    first = feed.apply(feed.received(exposed(5, {"BTC": {}}, **block)))
    again = feed.apply(feed.received(exposed(5, {"BTC": {}}, **block)))

    (row,) = first.all(ExposureTotalRow)
    assert astuple(row) == (USER, at(2), SESSION, 1, 0, "EUR", Decimal(10), Decimal(20))
    assert not again.all(ExposureTotalRow)


def test_exposure_that_comes_later_is_stamped_with_its_receipt_and_earlier_stamps_wait(feed: Feed) -> None:
    feed.apply(feed.received(balances(5, {"BTC": 1})))
    confirmed = feed.now
    batch = feed.apply(feed.received(exposed(5, {"BTC": {"currentExposure": 10}}), later=-60))

    assert [row.observed_at for row in batch.all(ExposureRow)] == [confirmed]


def test_no_exposure_is_stamped_earlier_than_one_before_it(feed: Feed) -> None:
    """Else the older one would count as the newest."""
    feed.apply(feed.received(exposed(5, {"BTC": {"currentExposure": 10}})))
    feed.apply(feed.received(exposed(5, {"BTC": {"currentExposure": 11}}), later=60))
    latest = feed.now
    batch = feed.apply(feed.received(exposed(6, {"BTC": {"currentExposure": 12}}), later=-60))

    assert [row.observed_at for row in batch.all(ExposureRow)] == [latest]


def test_a_snapshot_without_the_exposure_block_changes_no_exposure(feed: Feed) -> None:
    feed.apply(feed.received(exposed(5, {"BTC": {"currentExposure": 10}}, baseCurrency="EUR")))
    batch = feed.apply(feed.received(exposed(6, {"BTC": {}})))

    assert not batch.all(ExposureRow)
    assert not batch.all(ExposureTotalRow)


def test_an_asset_that_vanishes_takes_its_exposure_with_it(feed: Feed) -> None:
    block = {"currentExposure": 10.0, "maxExposure": 20.0}
    feed.apply(feed.received(exposed(5, {"BTC": block, "ETH": block})))
    gone = feed.apply(feed.received(exposed(6, {"BTC": block})))
    again = feed.apply(feed.received(exposed(7, {"BTC": block})))

    (row,) = gone.all(ExposureRow)
    assert (row.asset, row.observed_at) == ("ETH", feed.now - timedelta(seconds=1))
    assert (row.current_exposure, row.max_exposure) == (None, None)
    assert not again.all(ExposureRow)


def test_an_asset_that_vanishes_ends_its_exposure_even_if_no_other_is_told(feed: Feed) -> None:
    feed.apply(feed.received(exposed(5, {"BTC": {}, "ETH": {"currentExposure": 10}})))
    batch = feed.apply(feed.received(exposed(6, {"BTC": {}})))

    assert [(row.asset, row.current_exposure) for row in batch.all(ExposureRow)] == [("ETH", None)]
    assert not batch.all(ExposureTotalRow)


def test_a_pending_snapshot_ends_no_exposure(feed: Feed) -> None:
    feed.apply(feed.received(exposed(5, {"BTC": {"currentExposure": 10}})))

    assert not feed.apply(feed.received(exposed(6, {}))).all(ExposureRow)


@pytest.mark.parametrize("block", [{"currentExposure": 0}, {"maxExposure": 20}])
def test_one_figure_of_an_asset_is_exposure_enough(feed: Feed, block: dict[str, float]) -> None:
    batch = feed.apply(feed.received(exposed(5, {"BTC": block})))

    assert [row.asset for row in batch.all(ExposureRow)] == ["BTC"]


@pytest.mark.parametrize(
    "block", [{"totalCurrentExposure": 0}, {"totalMaxExposure": 20}, {"baseCurrency": "EUR"}]
)
def test_one_figure_of_the_account_is_exposure_enough(feed: Feed, block: dict[str, object]) -> None:
    batch = feed.apply(feed.received(exposed(5, {"BTC": {}}, **block)))

    assert len(batch.all(ExposureTotalRow)) == 1
    assert not batch.all(ExposureRow)


def test_what_is_stale_tells_no_exposure(feed: Feed) -> None:
    feed.apply(feed.received(balances(5)))
    batch = feed.apply(feed.received(exposed(4, {"BTC": {"currentExposure": 10}}, totalCurrentExposure=10)))

    assert not batch.all(ExposureRow)
    assert not batch.all(ExposureTotalRow)


def test_the_state_after_a_version_is_that_version(feed: Feed) -> None:
    feed.apply(feed.received(balances(5)), feed.received(balances(6)))

    watermark = feed.stream().state.watermark
    assert watermark is not None
    assert watermark.number == VersionNumber(1, 6, 0)
    assert feed.stream().state.last_session == SESSION
