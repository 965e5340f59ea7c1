"""A gap has three ends and no fourth: healed by proof, explained, or declared lost."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from ingestor.domain.gaps import Gap, GapEnd, GapKind, bridged, given_up, proven
from ingestor.domain.streams import EventKey, Kind, StreamKey
from tests.support.items import SESSION, at

PROOF = EventKey(UUID(int=2), 1, 0)
BALANCES = StreamKey(Kind.BALANCES, "user-1")
PAIRS = StreamKey(Kind.PAIRS, "")
OPEN = Gap(
    kind=GapKind.DISCONNECTED,
    session=SESSION,
    ordinal=8,
    position=0,
    missed_from=at(1),
    missed_until=None,
    opened_at=at(2),
    cause="reset",
    awaiting=frozenset(Kind),
    line=10,
)
BRIDGED = bridged(OPEN, at(5), ("http_503",))


def test_a_link_that_is_back_bounds_the_interval_and_names_what_stood_in_the_way() -> None:
    assert (BRIDGED.missed_until, BRIDGED.obstacles) == (at(5), ("http_503",))
    assert bridged(BRIDGED, at(9), ()) is BRIDGED


def test_no_interval_ends_before_it_starts_although_the_clock_steps_back() -> None:
    bounded = bridged(OPEN, at(-3600), ())
    half = proven(bounded, BALANCES, 11, PROOF, at(-3500))
    healed = proven(half, PAIRS, 11, PROOF, at(-3500))
    lost = given_up(replace(bounded, awaiting=frozenset({Kind.PAIRS})), Kind.PAIRS, 11, at(-3500))

    assert bounded.missed_until == OPEN.missed_from
    assert healed.ended_at == lost.ended_at == OPEN.opened_at


def test_both_kinds_of_stream_must_be_proven() -> None:
    half = proven(BRIDGED, BALANCES, 11, PROOF, at(6))
    whole = proven(half, PAIRS, 12, PROOF, at(7))

    assert half.end is None
    assert half.awaiting == {Kind.PAIRS}
    assert (whole.end, whole.ended_at, whole.proof) == (GapEnd.HEALED, at(7), PROOF)


def test_an_answer_to_an_older_question_proves_nothing() -> None:
    assert proven(BRIDGED, BALANCES, 10, PROOF, at(6)) is BRIDGED
    assert given_up(BRIDGED, Kind.BALANCES, 10, at(6)) is BRIDGED


def test_nothing_is_proven_or_lost_while_the_link_is_away() -> None:
    assert proven(OPEN, BALANCES, 11, PROOF, at(6)) is OPEN
    assert given_up(OPEN, Kind.BALANCES, 11, at(6)) is OPEN


def test_a_kind_that_is_not_awaited_changes_nothing() -> None:
    only_pairs = replace(BRIDGED, awaiting=frozenset({Kind.PAIRS}))

    assert proven(only_pairs, BALANCES, 11, PROOF, at(6)) is only_pairs
    assert given_up(only_pairs, Kind.BALANCES, 11, at(6)) is only_pairs


def test_the_answer_for_one_user_proves_nothing_of_another() -> None:
    skip = replace(BRIDGED, kind=GapKind.SEQUENCE_SKIP, user_id="user-1", awaiting=frozenset({Kind.BALANCES}))

    assert proven(skip, StreamKey(Kind.BALANCES, "user-2"), 11, PROOF, at(6)) is skip
    assert proven(skip, BALANCES, 11, PROOF, at(6)).end is GapEnd.HEALED


def test_what_touches_every_user_is_proven_by_any() -> None:
    half = proven(BRIDGED, StreamKey(Kind.BALANCES, "user-2"), 11, PROOF, at(6))

    assert half.awaiting == {Kind.PAIRS}


def test_a_kind_that_is_given_up_does_not_lose_the_gap_while_the_other_may_come() -> None:
    half = given_up(BRIDGED, Kind.PAIRS, 11, at(6))

    assert half.end is None
    assert half.awaiting == frozenset(Kind), "a later answer may still tell"


@pytest.mark.parametrize("given_up_first", [True, False])
def test_a_gap_is_lost_when_one_kind_is_given_up_and_the_other_proven(given_up_first: bool) -> None:
    if given_up_first:
        lost = proven(given_up(BRIDGED, Kind.PAIRS, 11, at(6)), BALANCES, 12, PROOF, at(7))
    else:
        lost = given_up(proven(BRIDGED, BALANCES, 12, PROOF, at(6)), Kind.PAIRS, 11, at(7))

    assert (lost.end, lost.ended_at, lost.proof) == (GapEnd.LOST, at(7), None)
    assert lost.awaiting == {Kind.PAIRS}, "which kind the hub would not tell"


def test_a_gap_is_lost_when_both_kinds_are_given_up() -> None:
    lost = given_up(given_up(BRIDGED, Kind.PAIRS, 11, at(6)), Kind.BALANCES, 11, at(7))

    assert (lost.end, lost.ended_at, lost.awaiting) == (GapEnd.LOST, at(7), frozenset(Kind))


def test_a_kind_that_was_given_up_and_is_answered_after_all_heals_the_gap() -> None:
    late = proven(given_up(BRIDGED, Kind.PAIRS, 11, at(6)), PAIRS, 12, PROOF, at(7))

    assert late.awaiting == {Kind.BALANCES}
    assert proven(late, BALANCES, 12, PROOF, at(8)).end is GapEnd.HEALED


def test_a_hub_that_finally_does_not_answer_loses_the_gap() -> None:
    only_pairs = replace(BRIDGED, awaiting=frozenset({Kind.PAIRS}))
    lost = given_up(only_pairs, Kind.PAIRS, 11, at(50))

    assert (lost.end, lost.ended_at, lost.proof) == (GapEnd.LOST, at(50), None)
