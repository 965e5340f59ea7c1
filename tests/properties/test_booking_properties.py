"""Laws of booking: whatever order snapshots come in, the tables hold what the newest one says."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ingestor.domain.commands import Command
from ingestor.domain.gaps import Gap, GapEnd, GapKind
from ingestor.domain.records import Item
from ingestor.domain.streams import EventKey, Kind, Mark
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.booking import BookingRules
from tests.support.items import balances, pairs
from tests.support.line import Line

Assets = Mapping[str, int]
History = Mapping[int, Assets]

# BTC is always there and holds something, so no snapshot loses all, and with a share of 1 none is held.
ASSETS = st.dictionaries(st.sampled_from(["ETH", "USDT", "EUR", "SOL"]), st.integers(0, 3)).map(
    lambda some: {"BTC": 1, **some}
)
HISTORIES = st.dictionaries(st.integers(0, 30), ASSETS, min_size=1, max_size=10)
LISTS = st.lists(
    st.sets(st.sampled_from(["ETHUSDT", "SOLUSDT", "ETHEURC"])).map(lambda some: ["BTCUSDT", *sorted(some)]),
    max_size=5,
)


@dataclass
class Play:
    """Makes a hub's day out of its history, and keeps all that was booked of it."""

    history: History
    line: Line = field(default_factory=lambda: Line(BookingRules(mass_delete_share=1.0)))
    items: list[Item] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    newest: int = -1

    def push(self, sequence: int) -> None:
        self.newest = max(self.newest, sequence)
        self.items.append(self.line.heard(balances(sequence, self.history[sequence])))

    def reply(self, sequence: int) -> None:
        self.newest = max(self.newest, sequence)
        name = f"b{len(self.items)}"
        self.items.append(self.line.asked(name))
        self.items.append(self.line.heard(balances(sequence, self.history[sequence], client_id=name)))

    def list_pairs(self, names: Sequence[str], *, asked: bool) -> None:
        name = f"p{len(self.items)}" if asked else None
        if name is not None:
            self.items.append(self.line.asked(name, Command.GET_PAIRS))
        self.items.append(self.line.heard(pairs(names, client_id=name)))

    def book(self, chance: random.Random) -> None:
        """All items, cut into batches anywhere."""
        self.batches.append(self.line.book(self.line.opened()))
        rest = self.items
        while rest:
            cut = chance.randint(1, len(rest))
            self.batches.append(self.line.book(*rest[:cut]))
            rest = rest[cut:]

    @property
    def gaps(self) -> list[Gap]:
        """The rows of the gaps in the sequence, as they stand in the end."""
        rows = {key: gap for batch in self.batches for key, gap in batch.gaps.items()}
        return [gap for gap in rows.values() if gap.kind is GapKind.SEQUENCE_SKIP]


def played(history: History, lists: Sequence[Sequence[str]], chance: random.Random) -> Play:
    """Pushes in any order and more than once; between them pair lists, and answers that are not older."""
    play = Play(history)

    def reply() -> None:
        play.reply(chance.choice([each for each in history if each >= play.newest]))

    pushes = [*history, *chance.choices([*history], k=chance.randint(0, 10))]
    day: list[Callable[[], None]] = [*(partial(play.push, each) for each in pushes)]
    day += [reply] * chance.randint(0, 5)
    chance.shuffle(day)
    place = 0
    for names in lists:
        place = chance.randint(place, len(day))
        day.insert(place, partial(play.list_pairs, names, asked=chance.random() < 0.5))
        place += 1
    for action in day:
        action()
    play.reply(max(history))
    play.book(chance)
    return play


def stated(assets: Assets) -> dict[str, Decimal]:
    return {name: Decimal(amount) for name, amount in assets.items()}


@settings(max_examples=300, deadline=None)
@given(HISTORIES, LISTS, st.randoms(use_true_random=False))
def test_any_order_of_pushes_and_answers_ends_in_the_newest_snapshot(
    history: History, lists: Sequence[Sequence[str]], chance: random.Random
) -> None:
    """Rules 2 to 5, 7, 8 and 16: the holdings, not only the mark, are those of the newest snapshot."""
    play = played(history, lists, chance)
    stream = play.line.stream()
    reported = {name: each.available for name, each in stream.holdings.items() if each.reported}
    absent = [each for each in stream.holdings.values() if not each.reported]

    assert stream.state.watermark is not None
    assert stream.state.watermark.mark == Mark(1, max(history), 0)
    assert stream.state.doubts == ()
    assert reported == stated(history[max(history)])
    assert all(each.available == each.allocated == 0 for each in absent)
    if lists:
        assert set(play.line.stream(Kind.PAIRS).pairs) == set(lists[-1])


@settings(max_examples=300, deadline=None)
@given(HISTORIES, LISTS, st.randoms(use_true_random=False))
def test_the_rows_of_every_version_add_up_to_its_snapshot(
    history: History, lists: Sequence[Sequence[str]], chance: random.Random
) -> None:
    """Rule 16 and I7: whoever reads the rows up to a version has that version, and nothing more."""
    play = played(history, lists, chance)
    versions = [row for batch in play.batches for row in batch.versions if row.kind is Kind.BALANCES]
    rows = [row for batch in play.batches for row in batch.balances]
    sums: dict[str, Decimal] = {}
    for version in versions:
        for row in rows:
            if (row.epoch, row.sequence, row.revision) == (version.epoch, version.sequence, version.revision):
                assert row.valid_from == version.valid_from
                sums.pop(row.asset, None)
                if row.reported:
                    sums[row.asset] = row.available
        assert sums == stated(history[version.sequence])
    assert len(versions) == len({version.sequence for version in versions})


@settings(max_examples=300, deadline=None)
@given(HISTORIES, LISTS, st.randoms(use_true_random=False))
def test_every_skip_is_one_gap_and_only_balances_heal_it(
    history: History, lists: Sequence[Sequence[str]], chance: random.Random
) -> None:
    """Rules 3 and 4, and I11."""
    play = played(history, lists, chance)
    versions = [row for batch in play.batches for row in batch.versions if row.kind is Kind.BALANCES]
    kinds = {
        EventKey(row.session_id, row.ordinal, row.position): row.kind
        for batch in play.batches
        for row in batch.outcomes
    }
    asked = {
        (row.session_id, row.ordinal) for batch in play.batches for row in batch.outcomes if row.command_id
    }
    expected = [
        (now.ordinal, before.sequence + 1, now.sequence - 1)
        for before, now in pairwise(versions)
        if now.sequence > before.sequence + 1
    ]

    assert [(gap.ordinal, gap.first_missing, gap.last_missing) for gap in play.gaps] == expected
    for gap in play.gaps:
        if (gap.session, gap.ordinal) in asked:
            assert (gap.cause, gap.end) == ("polling", GapEnd.EXPLAINED)
        else:
            assert (gap.cause, gap.end) == ("pushed", GapEnd.HEALED)
            assert gap.proof is not None
            assert kinds[gap.proof] is Kind.BALANCES
