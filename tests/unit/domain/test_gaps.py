"""A gap has three ends and no fourth: healed by proof, explained, or declared lost."""

from uuid import UUID

from msgspec.structs import replace

from ingestor.domain.gaps import Gap, GapEnd, GapKind, bridged, given_up, proven
from ingestor.domain.streams import EventKey, Kind
from tests.support.items import SESSION, at

PROOF = EventKey(UUID(int=2), 1, 0)
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
    half = proven(bounded, Kind.BALANCES, 11, PROOF, at(-3500))
    healed = proven(half, Kind.PAIRS, 11, PROOF, at(-3500))
    lost = given_up(replace(bounded, awaiting=frozenset({Kind.PAIRS})), Kind.PAIRS, 11, at(-3500))

    assert bounded.missed_until == OPEN.missed_from
    assert healed.ended_at == lost.ended_at == OPEN.opened_at


def test_both_kinds_of_stream_must_be_proven() -> None:
    half = proven(BRIDGED, Kind.BALANCES, 11, PROOF, at(6))
    whole = proven(half, Kind.PAIRS, 12, PROOF, at(7))

    assert half.end is None
    assert half.awaiting == {Kind.PAIRS}
    assert (whole.end, whole.ended_at, whole.proof) == (GapEnd.HEALED, at(7), PROOF)


def test_an_answer_to_an_older_question_proves_nothing() -> None:
    assert proven(BRIDGED, Kind.BALANCES, 10, PROOF, at(6)) is BRIDGED
    assert given_up(BRIDGED, Kind.BALANCES, 10, at(6)) is BRIDGED


def test_nothing_is_proven_or_lost_while_the_link_is_away() -> None:
    assert proven(OPEN, Kind.BALANCES, 11, PROOF, at(6)) is OPEN
    assert given_up(OPEN, Kind.BALANCES, 11, at(6)) is OPEN


def test_a_kind_that_is_not_awaited_changes_nothing() -> None:
    only_pairs = replace(BRIDGED, awaiting=frozenset({Kind.PAIRS}))

    assert proven(only_pairs, Kind.BALANCES, 11, PROOF, at(6)) is only_pairs
    assert given_up(only_pairs, Kind.BALANCES, 11, at(6)) is only_pairs


def test_a_hub_that_finally_does_not_answer_loses_the_gap() -> None:
    lost = given_up(BRIDGED, Kind.PAIRS, 11, at(50))

    assert (lost.end, lost.ended_at, lost.proof) == (GapEnd.LOST, at(50), None)
