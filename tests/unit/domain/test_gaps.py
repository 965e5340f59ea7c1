"""A gap has one ending: the state of every kind it affects was confirmed by a fresh snapshot (I11)."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from ingestor.domain.gaps import Confirmed, Gap, GapKind, confirmed, receiving_again, repeated
from ingestor.domain.streams import EventKey, Kind, StreamKey
from tests.support.items import SESSION, at

BY = EventKey(UUID(int=2), 1, 0)
LATER = EventKey(UUID(int=2), 9, 0)
BALANCES = StreamKey(Kind.BALANCES, "user-1")
PAIRS = StreamKey(Kind.PAIRS, "")
OPEN = Gap(
    kind=GapKind.DISCONNECTED,
    session=SESSION,
    ordinal=8,
    position=0,
    opened_at=at(2),
    missed_from=at(1),
    missed_until=None,
    cause="reset",
    affects=frozenset(Kind),
    arrival=10,
)
BOUNDED = receiving_again(OPEN, at(5), ("http_503",))
UNANSWERED = replace(OPEN, kind=GapKind.UNANSWERED, affects=frozenset({Kind.BALANCES}), arrival=0)


def test_a_link_that_is_up_again_bounds_the_interval_and_names_why_it_took_so_long() -> None:
    assert (BOUNDED.missed_until, BOUNDED.connection_errors) == (at(5), ("http_503",))
    assert receiving_again(BOUNDED, at(9), ()) is BOUNDED


def test_a_link_that_is_up_does_not_end_what_is_unanswered() -> None:
    assert receiving_again(UNANSWERED, at(5), ()) is UNANSWERED


def test_no_interval_ends_before_it_begins_although_the_clock_steps_back() -> None:
    bounded = receiving_again(OPEN, at(-3600), ())
    half = confirmed(bounded, BALANCES, 11, BY, at(-3500))
    whole = confirmed(half, PAIRS, 11, BY, at(-3500))
    again = repeated(bounded, at(-3500), 11)
    word = confirmed(UNANSWERED, BALANCES, None, BY, at(-3500))

    assert bounded.missed_until == OPEN.missed_from
    assert half.balances == Confirmed(OPEN.opened_at, BY)
    assert whole.ended_at == OPEN.opened_at
    assert (again.last_occurred_at, again.missed_until) == (OPEN.opened_at, OPEN.missed_from)
    assert (word.missed_until, word.ended_at) == (UNANSWERED.missed_from, UNANSWERED.opened_at)


def test_every_kind_that_it_affects_must_be_confirmed_and_each_has_its_own_end() -> None:
    half = confirmed(BOUNDED, BALANCES, 11, BY, at(6))
    whole = confirmed(half, PAIRS, 12, LATER, at(7))

    assert (half.balances, half.pairs, half.ended_at) == (Confirmed(at(6), BY), None, None)
    assert (whole.balances, whole.pairs) == (Confirmed(at(6), BY), Confirmed(at(7), LATER))
    assert whole.ended_at == at(7)


def test_a_kind_that_is_confirmed_already_is_not_confirmed_again() -> None:
    half = confirmed(BOUNDED, BALANCES, 11, BY, at(6))

    assert confirmed(half, BALANCES, 12, LATER, at(7)) is half


def test_a_gap_ends_whenever_the_confirmation_comes() -> None:
    half = confirmed(BOUNDED, BALANCES, 11, BY, at(6))

    assert confirmed(half, PAIRS, 1_000_000, LATER, at(86_400)).ended_at == at(86_400)


@pytest.mark.parametrize("requested", [None, 9, 10])
def test_neither_a_push_nor_an_answer_requested_before_confirms(requested: int | None) -> None:
    assert confirmed(BOUNDED, BALANCES, requested, BY, at(6)) is BOUNDED


def test_nothing_is_confirmed_while_the_link_is_away() -> None:
    assert confirmed(OPEN, BALANCES, 11, BY, at(6)) is OPEN


def test_a_kind_that_is_not_touched_confirms_nothing() -> None:
    only_pairs = replace(BOUNDED, affects=frozenset({Kind.PAIRS}))

    assert confirmed(only_pairs, BALANCES, 11, BY, at(6)) is only_pairs
    assert not only_pairs.is_unconfirmed(Kind.BALANCES)
    assert confirmed(only_pairs, PAIRS, 11, BY, at(6)).ended_at == at(6)


def test_the_answer_for_one_user_confirms_nothing_of_another() -> None:
    skip = replace(BOUNDED, kind=GapKind.SEQUENCE_SKIP, user_id="user-1", affects=frozenset({Kind.BALANCES}))

    assert confirmed(skip, StreamKey(Kind.BALANCES, "user-2"), 11, BY, at(6)) is skip
    assert confirmed(skip, BALANCES, 11, BY, at(6)).ended_at == at(6)


def test_what_affects_every_user_is_confirmed_by_any() -> None:
    half = confirmed(BOUNDED, StreamKey(Kind.BALANCES, "user-2"), 11, BY, at(6))

    assert half.is_unconfirmed(Kind.PAIRS)
    assert not half.is_unconfirmed(Kind.BALANCES)


@pytest.mark.parametrize("requested", [None, 1, 11])
def test_any_snapshot_of_the_kind_ends_what_was_unanswered(requested: int | None) -> None:
    ended = confirmed(UNANSWERED, BALANCES, requested, BY, at(6))

    assert (ended.missed_until, ended.balances, ended.ended_at) == (at(6), Confirmed(at(6), BY), at(6))
    assert confirmed(UNANSWERED, PAIRS, requested, BY, at(6)) is UNANSWERED


def test_a_cause_that_comes_up_again_is_counted_and_takes_back_what_was_confirmed() -> None:
    """The state may have changed with it: an answer from before it is no evidence any more."""
    half = confirmed(BOUNDED, BALANCES, 11, BY, at(6))
    again = repeated(half, at(9), 20)
    late = confirmed(confirmed(again, PAIRS, 19, BY, at(10)), BALANCES, 20, BY, at(10))

    assert (again.occurrences, again.last_occurred_at, again.missed_until) == (2, at(9), at(9))
    assert (again.opened_at, again.missed_from) == (half.opened_at, half.missed_from)
    assert late is again
    assert confirmed(confirmed(again, PAIRS, 21, BY, at(11)), BALANCES, 22, BY, at(12)).ended_at == at(12)


def test_what_is_unanswered_again_stays_open_until_a_snapshot_comes() -> None:
    again = repeated(UNANSWERED, at(9), UNANSWERED.arrival)

    assert (again.occurrences, again.missed_until) == (2, None)
    assert confirmed(again, BALANCES, None, BY, at(10)).ended_at == at(10)
