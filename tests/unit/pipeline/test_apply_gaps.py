"""Gaps as rows: every interval in which something may be missing is on record, and ends by a confirmation.

Invariants I2, I11.
"""

from uuid import UUID

import pytest
from msgspec.structs import astuple, replace

from ingestor.domain.events import Reason, Undecodable
from ingestor.domain.records import CommitsLost, Decoded, SessionEnd
from ingestor.domain.requests import Command, RequestOutcome
from ingestor.domain.streams import Kind
from ingestor.pipeline.apply import fold
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.notify import LEVELS
from ingestor.pipeline.rows import DeadLetterRow, GapRow, OutcomeRow, SessionProgressRow
from tests.support.feed import Feed, needed, notices, only_gap, outcomes, values
from tests.support.items import SESSION, at, balances, envelope, invocation, pairs

OTHER = UUID("00000000-0000-7000-8000-000000000002")
BOTH = ("balances", "pairs")
BROKEN_BALANCES = invocation(envelope("account.balances.snapshot", "not JSON"))
WHOLE_INTERVAL = ("missed_from", "missed_until", "opened_at")


def confirmed(feed: Feed, name: str = "all", sequence: int = 5) -> Batch:
    """Both snapshots, requested and answered."""
    return feed.apply(
        feed.requested(f"{name}-b"),
        feed.requested(f"{name}-p", Command.GET_PAIRS),
        feed.received(balances(sequence, client_id=f"{name}-b")),
        feed.received(pairs(["BTCUSDT"], client_id=f"{name}-p")),
    )


@pytest.fixture
def feed() -> Feed:
    """In its first session, with both snapshots known and no gap open."""
    feed = Feed()
    feed.apply(feed.opened())
    confirmed(feed, "first")
    assert feed.state.gaps == ()
    return feed


# --- between sessions ---


def test_the_time_before_the_first_session_is_a_gap_that_ends_like_any_other() -> None:
    feed = Feed()
    feed.state = replace(feed.state, account_since=at(-60))
    gap = only_gap(feed.apply(feed.opened(None, "http_503")))

    assert (gap.kind, gap.cause, gap.affects) == ("disconnected", "before_first_session", BOTH)
    assert (gap.session_id, gap.ordinal, gap.position) == (SESSION, 0, 0)
    assert values(gap, *WHOLE_INTERVAL) == (at(-60), at(1), at(1))
    assert (gap.connection_errors, gap.ended_at) == (("http_503",), None)
    assert (gap.occurrences, gap.last_occurred_at) == (1, at(1))

    end = only_gap(confirmed(feed))
    assert (end.ended_at, end.pairs_confirmed_at, end.balances_confirmed_at) == (at(5), at(5), at(4))
    assert feed.state.gaps == ()


@pytest.mark.parametrize("since", [None, at(3600)])
def test_an_account_that_was_made_just_now_has_missed_nothing_yet(since: object) -> None:
    feed = Feed()
    feed.state = replace(feed.state, account_since=since)
    gap = only_gap(feed.apply(feed.opened()))

    assert values(gap, *WHOLE_INTERVAL) == (at(1), at(1), at(1))


def test_a_second_session_is_not_the_first(feed: Feed) -> None:
    assert not feed.apply(feed.opened(OTHER)).all(GapRow)


def test_a_lost_link_is_a_gap_from_the_last_whole_message_of_the_hub(feed: Feed) -> None:
    batch = feed.apply(feed.closed("silent", later=30))
    gap = only_gap(batch)

    assert (gap.kind, gap.cause, gap.session_id, gap.ordinal) == ("disconnected", "silent", SESSION, 3)
    assert gap.position == 0
    assert values(gap, *WHOLE_INTERVAL) == (at(5), None, at(35))
    assert (gap.affects, gap.ended_at) == (BOTH, None)
    assert notices(batch) == ["gap_opened"]


def test_the_gap_of_a_link_that_we_close_is_expected(feed: Feed) -> None:
    """No warning: who stops the daemon knows."""
    batch = feed.apply(feed.closed("stopped", SessionEnd.CLEAN))

    assert only_gap(batch).kind == "disconnected"
    assert notices(batch) == ["gap_expected"]
    assert LEVELS["gap_expected"] == "info"


def test_a_gap_under_a_clock_that_steps_back_does_not_open_before_it_begins(feed: Feed) -> None:
    gap = only_gap(feed.apply(feed.closed(later=-3600)))

    assert gap.missed_from == gap.opened_at == feed.now


def test_a_process_that_died_leaves_an_unclean_end(feed: Feed) -> None:
    gap = only_gap(feed.apply(feed.closed("process_died", SessionEnd.UNCLEAN)))

    assert (gap.kind, gap.cause) == ("unclean_end", "process_died")


def test_a_session_that_we_closed_ourselves_is_a_gap_too(feed: Feed) -> None:
    gap = only_gap(feed.apply(feed.closed("stopped", SessionEnd.CLEAN)))

    assert (gap.kind, gap.cause) == ("disconnected", "stopped")


def test_a_link_that_is_up_again_bounds_the_gap_and_two_fresh_answers_end_it(feed: Feed) -> None:
    feed.apply(feed.closed())
    bounded = only_gap(feed.apply(feed.opened(OTHER, "http_503", "dns")))
    assert (bounded.missed_until, bounded.connection_errors) == (feed.now, ("http_503", "dns"))
    assert bounded.ended_at is None

    first = only_gap(feed.apply(feed.requested("b"), feed.received(balances(6, client_id="b"))))
    confirmed_at = feed.now
    assert (first.balances_confirmed_at, first.pairs_confirmed_at, first.ended_at) == (feed.now, None, None)

    batch = feed.apply(
        feed.requested("p", Command.GET_PAIRS), feed.received(pairs(["BTCUSDT"], client_id="p"))
    )
    whole = only_gap(batch)
    assert values(whole, "balances_confirmed_at", "balances_confirmed_by_ordinal") == (confirmed_at, 1)
    assert values(whole, "pairs_confirmed_at", "pairs_confirmed_by_ordinal") == (feed.now, 2)
    assert whole.pairs_confirmed_by_session_id == whole.balances_confirmed_by_session_id == OTHER
    assert whole.ended_at == feed.now
    assert notices(batch) == ["gap_ended"]
    assert feed.state.gaps == ()


def test_what_is_only_pushed_after_the_link_is_up_confirms_nothing(feed: Feed) -> None:
    feed.apply(feed.closed(), feed.opened(OTHER))
    batch = feed.apply(feed.received(balances(6)), feed.received(pairs(["BTCUSDT"])))

    assert outcomes(batch) == ["applied", "duplicate"]
    assert not batch.all(GapRow)
    assert len(feed.state.gaps) == 1


def test_an_answer_that_a_push_has_overtaken_confirms_as_what_it_would_have_set_is_older(feed: Feed) -> None:
    feed.apply(feed.closed(), feed.opened(OTHER), feed.requested("b"))
    batch = feed.apply(feed.received(balances(9)), feed.received(balances(8, client_id="b")))

    assert outcomes(batch) == ["applied", "stale"]
    assert only_gap(batch).balances_confirmed_by_ordinal == 2
    assert feed.state.gaps[0].is_unconfirmed(Kind.PAIRS)


def test_an_answer_that_is_stale_for_another_reason_confirms_nothing(feed: Feed) -> None:
    feed.apply(feed.closed(), feed.opened(OTHER), feed.requested("b"))
    batch = feed.apply(feed.received(balances(4, client_id="b")))

    assert outcomes(batch) == ["stale"]
    assert not batch.all(GapRow)


def test_a_link_that_flaps_has_one_gap_for_each_loss_and_all_of_them_end(feed: Feed) -> None:
    feed.apply(feed.closed())
    feed.apply(feed.opened(OTHER))
    feed.apply(feed.closed())
    feed.apply(feed.opened(UUID(int=3)))
    assert len(feed.state.gaps) == 2

    batch = confirmed(feed, sequence=6)
    assert [row.ended_at for row in batch.all(GapRow)] == [feed.now, feed.now]


def test_a_gap_that_comes_and_goes_within_one_batch_is_one_row_with_its_end(feed: Feed) -> None:
    batch = feed.apply(
        feed.closed(),
        feed.opened(OTHER),
        feed.requested("b"),
        feed.requested("p", Command.GET_PAIRS),
        feed.received(balances(6, client_id="b")),
        feed.received(pairs(["BTCUSDT"], client_id="p")),
    )

    assert only_gap(batch).ended_at == feed.now
    assert notices(batch, "gap_") == ["gap_opened", "gap_ended"]


def test_a_gap_ends_by_a_late_answer_however_often_nothing_came_before(feed: Feed) -> None:
    feed.apply(feed.closed(), feed.opened(OTHER))
    feed.apply(feed.requested("p", Command.GET_PAIRS), feed.received(pairs(["BTCUSDT"], client_id="p")))
    for n in range(5):
        feed.apply(feed.requested(f"{n}"), feed.ended(f"{n}"))
    (gap,) = feed.state.gaps
    assert gap.ended_at is None

    end = only_gap(feed.apply(feed.received(balances(6, client_id="0"), later=3600)))
    assert (end.ended_at, end.balances_confirmed_at) == (feed.now, feed.now)
    assert feed.state.gaps == ()


# --- what we dropped ourselves, and what the database has lost ---


def test_what_is_dropped_is_counted_admitted_and_requested(feed: Feed) -> None:
    batch = feed.apply(feed.received(balances(6)), feed.dropped(10), feed.received(balances(17)))
    gap = only_gap(batch)

    assert (gap.kind, gap.cause, gap.ordinal, gap.position) == ("dropped", "inbox_records", 4, 0)
    assert (gap.first_missing, gap.last_missing, gap.affects) == (4, 13, BOTH)
    assert values(gap, *WHOLE_INTERVAL) == (at(7), at(7), at(7))
    assert needed(batch) == ["GetBalances gap", "GetPairs gap"]


def test_what_is_dropped_while_the_clock_steps_back_does_not_end_before_it_begins(feed: Feed) -> None:
    batch = feed.apply(replace(feed.dropped(2), last_received_at=at(-3600)))

    assert values(only_gap(batch), *WHOLE_INTERVAL) == (feed.now, feed.now, feed.now)
    assert [row.last_received_at for row in batch.all(SessionProgressRow)] == [feed.now]


def test_fresh_answers_confirm_the_state_after_what_was_dropped(feed: Feed) -> None:
    feed.apply(feed.dropped())

    assert only_gap(confirmed(feed)).ended_at == feed.now


def test_answers_requested_before_the_drop_confirm_nothing(feed: Feed) -> None:
    feed.apply(feed.requested("b"), feed.dropped())

    assert not feed.apply(feed.received(balances(6, client_id="b"))).all(GapRow)


def test_commits_that_the_database_has_lost_are_a_gap_of_their_own_kind(feed: Feed) -> None:
    lost = CommitsLost(SESSION, 3, 7, 5, at(6), at(9))
    batch = feed.apply(lost)
    gap = only_gap(batch)

    assert (gap.kind, gap.cause, gap.ordinal) == ("commits_lost", "commits_lost", 3)
    assert (gap.first_missing, gap.last_missing, gap.affects) == (3, 7, BOTH)
    assert values(gap, *WHOLE_INTERVAL) == (at(6), at(9), at(9))
    assert needed(batch) == ["GetBalances gap", "GetPairs gap"]


# --- what could not be read ---


def test_what_cannot_be_read_is_quarantined_and_requested_again(feed: Feed) -> None:
    batch = feed.apply(feed.received(BROKEN_BALANCES))

    assert outcomes(batch) == ["quarantined"]
    assert [row.reason for row in batch.all(OutcomeRow)] == ["not_json"]
    (letter,) = batch.all(DeadLetterRow)
    assert astuple(letter)[:6] == (SESSION, 3, 0, feed.now, "decode", "not_json")
    assert (letter.subject, letter.software_version) == ("account.balances.snapshot", "1.2.3")
    assert (letter.occurrences, letter.last_received_at) == (1, feed.now)
    assert letter.detail
    gap = only_gap(batch)
    assert (gap.kind, gap.cause, gap.affects) == ("undecodable", "not_json", ("balances",))
    assert (gap.session_id, gap.ordinal, gap.position) == (SESSION, 3, 0)
    assert values(gap, *WHOLE_INTERVAL) == (feed.now, feed.now, feed.now)
    assert needed(batch) == ["GetBalances undecodable"]
    assert notices(batch) == ["event_quarantined", "gap_opened"]


def test_what_names_no_stream_may_have_been_of_either_kind(feed: Feed) -> None:
    batch = feed.apply(feed.received(b"\xff"))

    assert only_gap(batch).affects == BOTH
    assert needed(batch) == ["GetBalances undecodable", "GetPairs undecodable"]


def test_a_lasting_cause_is_one_gap_with_a_count(feed: Feed) -> None:
    """A schema difference that stays: not a row for each poll."""
    first = only_gap(feed.apply(feed.received(BROKEN_BALANCES)))
    for _ in range(8):
        feed.apply(feed.received(BROKEN_BALANCES))
    batch = feed.apply(feed.received(BROKEN_BALANCES))
    gap = only_gap(batch)

    assert values(gap, "session_id", "ordinal", "position", "opened_at") == values(
        first, "session_id", "ordinal", "position", "opened_at"
    )
    assert (gap.occurrences, gap.last_occurred_at, gap.missed_until) == (10, feed.now, feed.now)
    assert (gap.missed_from, gap.ended_at) == (first.missed_from, None)
    assert len(feed.state.gaps) == 1
    (letter,) = batch.all(DeadLetterRow)
    key = (letter.session_id, letter.ordinal, letter.position, letter.received_at)
    assert key == values(first, "session_id", "ordinal", "position", "opened_at")
    assert (letter.occurrences, letter.last_received_at) == (10, feed.now)
    assert "gap_opened" not in notices(batch)

    end = only_gap(feed.apply(feed.requested("b"), feed.received(balances(6, client_id="b"))))
    assert (end.occurrences, end.ended_at) == (10, feed.now)


def test_only_what_was_requested_after_the_last_occurrence_confirms(feed: Feed) -> None:
    feed.apply(feed.received(BROKEN_BALANCES), feed.requested("b"), feed.received(BROKEN_BALANCES))

    assert not feed.apply(feed.received(balances(6, client_id="b"))).all(GapRow)
    assert len(feed.state.gaps) == 1


def test_a_kind_that_was_confirmed_is_uncertain_again_after_the_next_occurrence(feed: Feed) -> None:
    """Else the gap would end by pairs alone, although the second record may have been newer balances."""
    feed.apply(feed.received(b"\xff"), feed.requested("b"), feed.received(balances(6, client_id="b")))
    again = only_gap(feed.apply(feed.received(b"\xff")))
    assert (again.balances_confirmed_at, again.balances_confirmed_by_ordinal) == (None, None)

    pairs_only = feed.apply(
        feed.requested("p", Command.GET_PAIRS), feed.received(pairs(["BTCUSDT"], client_id="p"))
    )
    assert only_gap(pairs_only).ended_at is None
    assert only_gap(confirmed(feed, sequence=6)).ended_at is not None


def test_other_causes_and_other_kinds_are_gaps_of_their_own(feed: Feed) -> None:
    feed.apply(feed.received(BROKEN_BALANCES), feed.received(b"\xff"))
    feed.apply(feed.received(invocation(envelope("execution.pairs", "not JSON"))))
    feed.apply(feed.received(invocation(envelope("account.balances.snapshot", "[]"))))

    assert [(gap.cause, sorted(gap.affects)) for gap in feed.state.gaps] == [
        ("not_json", ["balances"]),
        ("not_utf8", ["balances", "pairs"]),
        ("not_json", ["pairs"]),
        ("wrong_type", ["balances"]),
    ]


def test_a_cause_that_comes_up_again_leaves_the_other_gaps_as_they_are(feed: Feed) -> None:
    feed.apply(feed.received(BROKEN_BALANCES), feed.received(b"\xff"), feed.dropped())
    others = feed.state.gaps[1:]
    feed.apply(feed.received(BROKEN_BALANCES))

    assert [gap.occurrences for gap in feed.state.gaps] == [2, 1, 1]
    assert feed.state.gaps[1:] == others


def test_what_stays_unanswered_leaves_the_other_gaps_as_they_are(feed: Feed) -> None:
    feed.apply(feed.requested("p", Command.GET_PAIRS), feed.ended("p"))
    feed.apply(feed.requested("b"), feed.ended("b"), feed.received(b"\xff"))
    before = feed.state.gaps
    feed.apply(feed.requested("b2"), feed.ended("b2"))

    assert [gap.occurrences for gap in feed.state.gaps] == [2, 1, 1]
    assert feed.state.gaps[1:] == before[1:]


def test_a_cause_that_comes_back_after_its_gap_has_ended_opens_another(feed: Feed) -> None:
    feed.apply(feed.received(BROKEN_BALANCES))
    feed.apply(feed.requested("b"), feed.received(balances(6, client_id="b")))
    gap = only_gap(feed.apply(feed.received(BROKEN_BALANCES)))

    assert (gap.ordinal, gap.occurrences) == (5, 1)


def test_a_hundred_broken_events_of_one_record_are_one_gap(feed: Feed) -> None:
    batch = feed.apply(feed.received(invocation(*[{}] * 100)))

    assert only_gap(batch).occurrences == 100
    assert [row.occurrences for row in batch.all(DeadLetterRow)] == [100]
    assert len(batch.all(OutcomeRow)) == 100


def test_a_subject_is_known_in_any_case(feed: Feed) -> None:
    batch = feed.apply(feed.received(invocation(envelope("Execution.PAIRS", "not JSON"))))

    assert only_gap(batch).affects == ("pairs",)


def test_a_record_that_the_database_rejects_is_quarantined_alone(feed: Feed) -> None:
    good, bad = feed.decoded([feed.received(balances(6)), feed.received(balances(7))])
    assert isinstance(bad, Decoded)
    body = Undecodable(Reason.REJECTED_BY_DATABASE, "the database rejects a value of this event")
    bad = replace(bad, events=(replace(bad.events[0], body=body),))
    feed.state, batch = fold(feed.state, [bad, good], feed.rules)

    assert outcomes(batch) == ["quarantined", "applied"]
    (letter,) = batch.all(DeadLetterRow)
    assert (letter.ordinal, letter.stage, letter.reason) == (4, "store", "rejected_by_database")
    assert only_gap(batch).cause == "rejected_by_database"


# --- requests without an answer ---


@pytest.mark.parametrize("outcome", [RequestOutcome.TIMED_OUT, RequestOutcome.REFUSED])
def test_a_request_without_an_answer_is_a_gap_from_the_last_confirmation_on(
    feed: Feed, outcome: RequestOutcome
) -> None:
    feed.apply(feed.received(balances(5)))
    confirmed_until = feed.now
    batch = feed.apply(feed.requested("b"), feed.ended("b", outcome))
    gap = only_gap(batch)

    assert (gap.kind, gap.cause, gap.affects) == ("unanswered", outcome.value, ("balances",))
    assert (gap.session_id, gap.ordinal, gap.position) == (SESSION, 0, 0)
    assert values(gap, *WHOLE_INTERVAL) == (confirmed_until, None, feed.now)
    assert notices(batch) == ["request_failed", "gap_opened"]


@pytest.mark.parametrize("outcome", sorted(set(RequestOutcome) - {"timed_out", "refused"}))
def test_any_other_end_of_a_request_has_a_gap_of_its_own_or_none(feed: Feed, outcome: RequestOutcome) -> None:
    assert not feed.apply(feed.requested("b"), feed.ended("b", outcome)).all(GapRow)


def test_a_kind_that_was_never_confirmed_is_unanswered_from_the_session_on() -> None:
    feed = Feed()
    feed.apply(feed.opened(), feed.requested("b"), feed.received(balances(5, client_id="b")))
    feed.state = replace(feed.state, gaps=())
    batch = feed.apply(feed.requested("p", Command.GET_PAIRS), feed.ended("p"))

    gap = only_gap(batch)
    assert (gap.affects, gap.position, gap.missed_from) == (("pairs",), 1, at(1))


def test_a_session_that_is_not_known_any_more_leaves_the_moment_itself(feed: Feed) -> None:
    feed.apply(feed.requested("p", Command.GET_PAIRS))
    feed.state = replace(feed.state, sessions={}, streams={})
    gap = only_gap(feed.apply(feed.ended("p")))

    assert gap.missed_from == gap.opened_at == feed.now


def test_a_confirmation_in_the_future_does_not_turn_the_gap_around(feed: Feed) -> None:
    feed.apply(feed.received(balances(5), later=3600))
    feed.seconds -= 3600
    gap = only_gap(feed.apply(feed.requested("b"), feed.ended("b")))

    assert gap.missed_from == gap.opened_at == feed.now


def test_what_stays_unanswered_is_one_row_with_a_count(feed: Feed) -> None:
    first = only_gap(feed.apply(feed.requested("0"), feed.ended("0")))
    for n in range(1, 4):
        feed.apply(feed.requested(f"{n}"), feed.ended(f"{n}"))
    batch = feed.apply(feed.requested("last"), feed.ended("last", RequestOutcome.REFUSED))
    gap = only_gap(batch)

    assert (gap.opened_at, gap.ordinal, gap.cause) == (first.opened_at, first.ordinal, "timed_out")
    assert (gap.occurrences, gap.last_occurred_at, gap.missed_until) == (5, feed.now, None)
    assert "gap_opened" not in notices(batch)


def test_each_kind_is_unanswered_by_itself(feed: Feed) -> None:
    feed.apply(feed.requested("b"), feed.requested("p", Command.GET_PAIRS), feed.ended("b"), feed.ended("p"))
    assert sorted(sorted(gap.affects) for gap in feed.state.gaps) == [["balances"], ["pairs"]]

    again = only_gap(feed.apply(feed.requested("b2"), feed.ended("b2")))
    assert (again.affects, again.occurrences) == (("balances",), 2)
    end = only_gap(feed.apply(feed.received(balances(5))))
    assert (end.affects, end.ended_at) == (("balances",), feed.now)
    end = only_gap(feed.apply(feed.received(pairs(["BTCUSDT"]))))
    assert (end.affects, end.ended_at) == (("pairs",), feed.now)


@pytest.mark.parametrize("sequence", [5, 6])
def test_any_next_snapshot_of_the_kind_ends_it_also_a_push(feed: Feed, sequence: int) -> None:
    feed.apply(feed.requested("b"), feed.ended("b"))
    assert not feed.apply(feed.received(pairs(["BTCUSDT"]))).all(GapRow)

    end = only_gap(feed.apply(feed.received(balances(sequence))))
    assert (end.missed_until, end.ended_at, end.balances_confirmed_at) == (feed.now, feed.now, feed.now)
    assert end.balances_confirmed_by_ordinal == 4
    assert feed.state.gaps == ()


def test_a_late_answer_ends_it(feed: Feed) -> None:
    feed.apply(feed.requested("b"), feed.ended("b"))
    end = only_gap(feed.apply(feed.received(balances(5, client_id="b"))))

    assert end.ended_at == feed.now


def test_a_stale_snapshot_confirms_nothing(feed: Feed) -> None:
    feed.apply(feed.requested("b"), feed.ended("b"))

    assert not feed.apply(feed.received(balances(4))).all(GapRow)


def test_where_the_kind_is_uncertain_already_there_is_nothing_to_add(feed: Feed) -> None:
    feed.apply(feed.dropped())

    assert not feed.apply(feed.requested("b"), feed.ended("b")).all(GapRow)
    assert [gap.kind for gap in feed.state.gaps] == ["dropped"]


def test_an_unanswered_gap_is_ended_by_a_push_although_others_are_open(feed: Feed) -> None:
    """The pushes look no further than the first gap."""
    feed.apply(feed.requested("b"), feed.ended("b"), feed.received(b"\xff"))
    feed.apply(feed.closed(), feed.opened(OTHER), feed.requested("p", Command.GET_PAIRS))
    batch = feed.apply(feed.received(balances(6)))

    assert [(row.kind, row.ended_at) for row in batch.all(GapRow)] == [("unanswered", feed.now)]
    assert len(feed.state.gaps) == 2


def test_unanswered_gaps_come_first_whenever_they_open(feed: Feed) -> None:
    feed.apply(feed.received(BROKEN_BALANCES))
    feed.apply(feed.requested("p", Command.GET_PAIRS), feed.ended("p"))

    assert [gap.kind for gap in feed.state.gaps] == ["unanswered", "undecodable"]
    batch = feed.apply(feed.received(pairs(["BTCUSDT"])))
    assert [row.kind for row in batch.all(GapRow)] == ["unanswered"]


def test_a_refusal_by_event_is_a_gap_of_the_kind_that_was_requested(feed: Feed) -> None:
    error = invocation(envelope("preChecksError", "no permission", "p"))
    batch = feed.apply(feed.requested("p", Command.GET_PAIRS), feed.received(error))
    gap = only_gap(batch)

    assert (gap.kind, gap.cause, gap.affects) == ("unanswered", "refused", ("pairs",))
    assert (gap.session_id, gap.ordinal, gap.position, gap.opened_at) == (SESSION, 3, 0, feed.now)


def test_a_refusal_of_what_has_ended_already_is_no_second_occurrence(feed: Feed) -> None:
    error = invocation(envelope("preChecksError", "no permission", "b"))
    feed.apply(feed.requested("b"), feed.received(balances(5, client_id="b")))
    assert not feed.apply(feed.received(error)).all(GapRow)

    feed.apply(feed.requested("b2"), feed.ended("b2"))
    late = invocation(envelope("preChecksError", "no permission", "b2"))
    assert not feed.apply(feed.received(late)).all(GapRow)


def test_an_error_that_names_no_request_is_no_gap(feed: Feed) -> None:
    assert not feed.apply(feed.received(invocation(envelope("preChecksError", "no")))).all(GapRow)


@pytest.mark.parametrize(
    "raw",
    [pairs(["BTCUSDT"], client_id="b"), invocation(envelope("trade.executed", "{}", "b"))],
    ids=["of the other kind", "of an unknown subject"],
)
def test_an_answer_that_can_be_read_and_is_none_leaves_its_kind_unanswered(feed: Feed, raw: bytes) -> None:
    batch = feed.apply(feed.requested("b"), feed.received(raw))
    gap = only_gap(batch)

    assert (gap.kind, gap.cause, gap.affects) == ("unanswered", "unreadable", ("balances",))
    assert (gap.ordinal, gap.opened_at, gap.ended_at) == (3, feed.now, None)
    assert "gap_opened" in notices(batch)
    assert only_gap(feed.apply(feed.received(balances(6)))).ended_at == feed.now


def test_an_undecodable_answer_of_the_other_kind_leaves_both_kinds_uncertain(feed: Feed) -> None:
    broken = invocation(envelope("execution.pairs", "not JSON", "b"))
    batch = feed.apply(feed.requested("b"), feed.received(broken))

    assert {(row.kind, row.affects) for row in batch.all(GapRow)} == {
        ("undecodable", ("pairs",)),
        ("unanswered", ("balances",)),
    }


def test_an_answer_of_the_wrong_kind_confirms_nothing_of_its_own(feed: Feed) -> None:
    feed.apply(feed.dropped())
    batch = feed.apply(feed.requested("b"), feed.received(pairs(["BTCUSDT"], client_id="b")))

    assert outcomes(batch) == ["duplicate"]
    assert not batch.all(GapRow)
    assert feed.state.gaps[0].is_unconfirmed(Kind.PAIRS)
