"""The decoder keeps what has not changed as the same object, and apply compares only the others.

Law: the rows are those of a decoder that keeps nothing, with all assets compared to what is stored of them.
"""

import json
import operator
from collections import defaultdict
from typing import Any, NamedTuple, cast

from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ingestor.domain.decode import decode
from ingestor.domain.records import Decoded, Record
from tests.support.feed import Feed
from tests.support.items import envelope

NAMES = ("BTC", "ETH", "EUR", "SOL")
TOTAL = "total"
AMOUNTS, EXPOSURES = ("available", "allocated"), ("currentExposure", "maxExposure")
NUMBERS = st.sampled_from(["0", "1", "2", "2.5", "2.50"])


class Layout(NamedTuple):
    """What a hub rarely changes in its snapshots."""

    names: list[str]
    exposures: bool
    totals: bool


LAYOUTS = st.builds(
    lambda names, count, exposures, totals: Layout(names[:count], exposures, totals),
    st.permutations(NAMES),
    st.sampled_from([3, 3, 2, 4, 0]),
    st.booleans(),
    st.booleans(),
)

Numbers = dict[tuple[str, str], str]
"""By asset, or `TOTAL`, and field."""
CHANGES = st.builds(
    operator.or_,
    st.dictionaries(st.tuples(st.sampled_from(NAMES), st.sampled_from(AMOUNTS)), NUMBERS, max_size=2),
    st.dictionaries(
        st.tuples(st.sampled_from([*NAMES, TOTAL]), st.sampled_from(EXPOSURES)),
        NUMBERS | st.just("null"),
        max_size=2,
    ),
)
SNAPSHOTS = st.lists(st.tuples(st.sampled_from([-1, 0, 0, 1, 1, 1, 2]), CHANGES), min_size=1, max_size=6)
"""By how much the sequence differs from the one before, and which numbers are new."""


class Exactly:
    """A decoder that keeps nothing: each record has objects of its own."""

    def decoded(self, record: Record) -> Decoded:
        return Decoded(record, decode(record.raw))


def as_loaded(feed: Feed) -> None:
    """Leave the newest version without the objects that the decoder made, as a restart does."""
    streams = {key: replace(each, assets=()) for key, each in feed.state.streams.items()}
    feed.state = replace(feed.state, streams=streams)


def compact(sequence: int, numbers: Numbers, layout: Layout) -> bytes:
    """A snapshot as the hub writes it, without spaces."""
    fields = AMOUNTS + EXPOSURES if layout.exposures else AMOUNTS
    assets = []
    for name in layout.names:
        values = [f'"{field}":{numbers[name, field]}' for field in fields]
        assets.append(f'{{"name":"{name}",{",".join(values)}}}')
    current, most = (numbers[TOTAL, field] for field in EXPOSURES)
    tail = f'"totalCurrentExposure":{current},"totalMaxExposure":{most},' if layout.totals else ""
    data = f'{{"userId":"user-1","sequence":{sequence},"assets":[{",".join(assets)}],{tail}"deleted":false}}'
    event = envelope("account.balances.snapshot", {}) | {"data": data}
    invoked = {"type": 1, "target": "executionEvents", "arguments": [event]}
    return json.dumps(invoked, separators=(",", ":")).encode()


NO_TOTALS = {(TOTAL, field): "null" for field in EXPOSURES}
NO_EXPOSURES = {("BTC", field): "null" for field in EXPOSURES}
COMING_AND_GOING = [
    (
        Layout(["BTC"], exposures=True, totals=True),
        [(0, {}), (1, {}), (1, NO_TOTALS), (1, NO_EXPOSURES), (1, {(TOTAL, "currentExposure"): "1"})],
    )
]
"""Of an asset that stays the same object, the exposure is still to be told when only the totals change."""
ANOTHER_NAME = [
    (Layout(["BTC", "ETH", "EUR"], exposures=False, totals=False), [(0, {})]),
    (
        Layout(["BTC", "ETH", "SOL"], exposures=False, totals=False),
        [(1, {("BTC", "available"): "2"}), (1, {("SOL", "allocated"): "2"})],
    ),
]
"""An amount has changed before the first name that differs."""


@settings(max_examples=200, deadline=None)
@example(COMING_AND_GOING)
@example(ANOTHER_NAME)
@given(st.lists(st.tuples(LAYOUTS, SNAPSHOTS), max_size=3))
def test_rows_do_not_depend_on_which_objects_the_decoder_keeps(
    story: list[tuple[Layout, list[tuple[int, Numbers]]]],
) -> None:
    """Repeats, stale and contradicting snapshots, other orders, names that come and go, with exposure and
    without; and it makes no difference whether the newest version was read or loaded."""
    ours, loaded, reference = Feed(), Feed(), Feed(decoder=cast("Any", Exactly()))
    for feed in (ours, loaded, reference):
        feed.apply(feed.opened())
    sequence, numbers = 10, defaultdict[tuple[str, str], str](lambda: "1")
    for layout, snapshots in story:
        for step, changes in snapshots:
            sequence += step
            numbers.update(changes)
            raw = compact(sequence, numbers, layout)
            as_loaded(loaded)
            as_loaded(reference)
            expected = reference.apply(reference.received(raw)).rows
            assert ours.apply(ours.received(raw)).rows == expected
            assert loaded.apply(loaded.received(raw)).rows == expected
