"""Laws of going on: a state that was loaded leads to what the state that was kept would have led to.

What is forgotten is named here, and nothing else may be.

Invariant I9.
"""

import random
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from msgspec.structs import replace

from ingestor.pipeline.resume import ends_of_left_sessions, resumed
from ingestor.pipeline.rows import OutcomeRow, RawEventRow
from ingestor.pipeline.state import State
from tests.properties.test_apply_properties import (
    ACTIONS,
    RANDOMS,
    Actions,
    Anything,
    blind_to_history,
    cut,
    lasting,
    made_of,
    stored,
)
from tests.support.fake_store import KEYS, FakeStore
from tests.support.feed import Feed


@settings(max_examples=150, deadline=None)
@given(ACTIONS, ACTIONS, RANDOMS)
def test_after_a_restart_the_same_items_lead_to_the_same_tables(
    before: Actions, after: Actions, rng: random.Random
) -> None:
    """I9: what is decided, stored and called for is what it would be had the link been lost instead."""
    made = made_of(before)
    kept, loaded = (stored(made.feed, cut(made.items, rng)) for _ in range(2))
    # Requests end with their session (`RequestOutcome.LINK_LOST`).
    known = replace(forgetful(made.feed.state, kept.open()), requests={})
    lives = [(kept, Feed(made.feed.rules, known)), (loaded, Feed(made.feed.rules, loaded.open()))]
    made.restart(ends_of_left_sessions(known, made.feed.now))
    go_on(made, after, lives, rng)

    assert tables(loaded) == tables(kept)
    assert lasting(loaded.open()) == lasting(lives[1][1].state)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, ACTIONS, RANDOMS)
def test_the_state_that_the_server_still_has_leads_to_what_ours_would_have_led_to(
    before: Actions, after: Actions, rng: random.Random
) -> None:
    """I9: in the same session, and with the requests that are open."""
    made = made_of(before)
    ours, (kept, loaded) = made.feed, (stored(made.feed, cut(made.items, rng)) for _ in range(2))
    state, facts = resumed(ours.state, loaded.open())
    assert facts == []
    known = asked_anew(forgetful(ours.state, kept.open()))
    made.items = [made.feed.requested(str(UUID(int=2**64)))]
    go_on(made, after, [(kept, Feed(ours.rules, known)), (loaded, Feed(ours.rules, state))], rng)

    # How a record is stored depends on whether its base is remembered (decision 0013), what it says does not.
    assert loaded.records() == kept.records()
    assert loaded.outcomes() == kept.outcomes()
    assert tables(loaded, RawEventRow, OutcomeRow) == tables(kept, RawEventRow, OutcomeRow)


def go_on(made: Anything, actions: Actions, lives: list[tuple[FakeStore, Feed]], rng: random.Random) -> None:
    """The same items for each; what they call for must be the same."""
    for action in actions:
        made.act(*action)
    for items in cut(made.items, rng):
        called_for = []
        for store, feed in lives:
            batch = feed.apply(*items)
            store.write(batch)
            called_for.append(sorted(map(repr, batch.effects)))  # where a clock stepped, gaps differ in order
        assert called_for[0] == called_for[1]


def forgetful(state: State, stored: State) -> State:
    """Without what is forgotten where the stored state is loaded, and with what it adds.

    - What is pending is abandoned, its evidence with it, and raised again if the contradiction appears again
      (`Resolution.ABANDONED`).
    - Lower snapshots are counted from then on (RULES.md).
    - No exposure is stamped as early as a stored one (`Stream.observed_at`).
    """
    streams = {
        key: replace(
            each,
            state=replace(each.state, pending=(), lower=None),
            observed_at=stored.streams[key].observed_at,
        )
        for key, each in state.streams.items()
    }
    return replace(state, streams=streams)


def asked_anew(state: State) -> State:
    """What was requested before now confirms nothing (`resumed`)."""
    streams = {}
    for key, each in state.streams.items():
        assert each.state.watermark is not None
        watermark = replace(each.state.watermark, arrival=state.arrivals)
        streams[key] = replace(each, state=replace(each.state, watermark=watermark))
    gaps = tuple(replace(gap, arrival=state.arrivals) for gap in state.gaps)
    return replace(state, streams=streams, gaps=gaps)


def tables(store: FakeStore, *but: type[Any]) -> dict[type[Any], list[Any]]:
    return {kind: blind_to_history(store.rows(kind)) for kind in KEYS if kind not in but}
