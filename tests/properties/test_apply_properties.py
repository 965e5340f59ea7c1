"""Laws of apply: in whatever order things come, the tables hold what the newest snapshot says, once."""

import json
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from itertools import pairwise
from types import MappingProxyType
from typing import Any
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from ingestor.domain.content import Content
from ingestor.domain.decision import Policy, Step
from ingestor.domain.records import Dropped, Item, Record, SessionClosed
from ingestor.domain.requests import Command, RequestOutcome
from ingestor.domain.streams import EventKey, Kind, StreamState, VersionNumber
from ingestor.pipeline.apply import Rules, fold
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.resume import resumed
from ingestor.pipeline.rows import (
    BalanceRow,
    GapRow,
    OutcomeRow,
    RawEventRow,
    RequestRow,
    SessionRow,
)
from ingestor.pipeline.state import EARLIEST, State
from tests.support.fake_store import KEYS, FakeStore
from tests.support.feed import Feed
from tests.support.items import EPOCH, balances, envelope, invocation, pairs
from tests.support.repeats import outcomes_of

Assets = Mapping[str, int]
History = Mapping[int, Assets]

# BTC is always there and holds something, so no snapshot loses all, and with a share of 1 none is pending.
ASSETS = st.dictionaries(st.sampled_from(["ETH", "USDT", "EUR", "SOL"]), st.integers(0, 3)).map(
    lambda some: {"BTC": 1, **some}
)
HISTORIES = st.dictionaries(st.integers(0, 30), ASSETS, min_size=1, max_size=10)
LISTS = st.lists(
    st.sets(st.sampled_from(["ETHUSDT", "SOLUSDT", "ETHEURC"])).map(lambda some: ["BTCUSDT", *sorted(some)]),
    max_size=5,
)
RANDOMS = st.randoms(use_true_random=False)
RULES = Rules(Policy(Step.CONTIGUOUS), mass_delete_share=1.0)


def cut(items: Sequence[Item], rng: random.Random) -> list[Sequence[Item]]:
    """The items in batches of any size."""
    batches = []
    while items:
        size = rng.randint(1, len(items))
        batches.append(items[:size])
        items = items[size:]
    return batches


# --- a hub in good health, whose counter is known to be contiguous ---


@dataclass
class Day:
    """Makes a hub's day out of its history, and keeps all that came of it."""

    history: History
    feed: Feed = field(default_factory=lambda: Feed(RULES))
    items: list[Item] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    newest: int = -1

    def push(self, sequence: int) -> None:
        self.newest = max(self.newest, sequence)
        self.items.append(self.feed.received(balances(sequence, self.history[sequence])))

    def answer(self, sequence: int) -> None:
        self.newest = max(self.newest, sequence)
        name = str(UUID(int=len(self.items)))
        self.items.append(self.feed.requested(name))
        self.items.append(self.feed.received(balances(sequence, self.history[sequence], client_id=name)))

    def list_pairs(self, names: Sequence[str], *, requested: bool) -> None:
        name = str(UUID(int=len(self.items))) if requested else None
        if name is not None:
            self.items.append(self.feed.requested(name, Command.GET_PAIRS))
        self.items.append(self.feed.received(pairs(names, client_id=name)))

    def rows(self, kind: type[Any]) -> list[Any]:
        return [row for batch in self.batches for row in batch.all(kind)]

    def outcomes(self) -> list[OutcomeRow]:
        return outcomes_of(self.rows(RawEventRow), self.rows(OutcomeRow))

    def versions(self) -> list[Any]:
        """Rows of the snapshots of balances that became state."""
        return [
            row for row in self.rows(OutcomeRow) if row.valid_from is not None and row.kind is Kind.BALANCES
        ]


def lived(history: History, lists: Sequence[Sequence[str]], rng: random.Random) -> Day:
    """Pushes in any order and more than once; between them pair lists, and answers that are not older."""
    day = Day(history)

    def answer() -> None:
        day.answer(rng.choice([each for each in history if each >= day.newest]))

    pushes = [*history, *rng.choices([*history], k=rng.randint(0, 10))]
    actions: list[Callable[[], None]] = [*(partial(day.push, each) for each in pushes)]
    actions += [answer] * rng.randint(0, 5)
    rng.shuffle(actions)
    place = 0
    for names in lists:
        place = rng.randint(place, len(actions))
        actions.insert(place, partial(day.list_pairs, names, requested=rng.random() < 0.5))
        place += 1
    for action in actions:
        action()
    day.answer(max(history))
    day.batches = [day.feed.apply(*batch) for batch in [[day.feed.opened()], *cut(day.items, rng)]]
    return day


def stated(assets: Assets) -> dict[str, Decimal]:
    return {name: Decimal(amount) for name, amount in assets.items()}


@settings(max_examples=150, deadline=None)
@given(HISTORIES, LISTS, RANDOMS)
def test_any_order_of_pushes_and_answers_ends_in_the_newest_snapshot(
    history: History, lists: Sequence[Sequence[str]], rng: random.Random
) -> None:
    """Rules 2 to 4, 7, 8 and 13: the holdings, not only the number, are those of the newest snapshot.

    Invariants I4, I5.
    """
    day = lived(history, lists, rng)
    stream = day.feed.stream()
    reported = {name: each.available for name, each in stream.holdings.items() if each.reported}
    absent = [each for each in stream.holdings.values() if not each.reported]

    assert stream.state.watermark is not None
    assert stream.state.watermark.number == VersionNumber(1, max(history), 0)
    assert stream.state.pending == ()
    assert reported == stated(history[max(history)])
    assert all(each.available == each.allocated == 0 for each in absent)
    if lists:
        assert set(day.feed.stream(Kind.PAIRS).pairs) == set(lists[-1])


@settings(max_examples=150, deadline=None)
@given(HISTORIES, LISTS, RANDOMS)
def test_the_rows_of_every_version_add_up_to_its_snapshot(
    history: History, lists: Sequence[Sequence[str]], rng: random.Random
) -> None:
    """Rule 13 and I7: whoever reads the rows up to a version has that version, and nothing more."""
    day = lived(history, lists, rng)
    rows = day.rows(BalanceRow)
    sums: dict[str, Decimal] = {}
    for version in day.versions():
        for row in rows:
            if (row.epoch, row.sequence, row.revision) == (version.epoch, version.sequence, version.revision):
                assert row.valid_from == version.valid_from
                sums.pop(row.asset, None)
                if row.reported:
                    sums[row.asset] = row.available
        assert sums == stated(history[version.sequence])
    assert len(day.versions()) == len({version.sequence for version in day.versions()})


@settings(max_examples=150, deadline=None)
@given(HISTORIES, LISTS, RANDOMS)
def test_every_skip_is_on_its_version_and_those_that_were_pushed_are_gaps_that_balances_confirm(
    history: History, lists: Sequence[Sequence[str]], rng: random.Random
) -> None:
    """Rules 2 and 3, and I11."""
    day = lived(history, lists, rng)
    outcomes = {(row.session_id, row.ordinal): row for row in day.outcomes()}
    skips = [
        (now.ordinal, before.sequence + 1, now.sequence - 1)
        for before, now in pairwise(day.versions())
        if outcomes[now.session_id, now.ordinal].request_id is None and now.sequence > before.sequence + 1
    ]
    gaps = {(row.session_id, row.ordinal): row for row in day.rows(GapRow) if row.kind == "sequence_skip"}

    for before, now in pairwise(day.versions()):
        assert now.passed_over == now.sequence - before.sequence - 1
    assert [(gap.ordinal, gap.first_missing, gap.last_missing) for gap in gaps.values()] == skips
    for gap in gaps.values():
        confirmation = outcomes[gap.balances_confirmed_by_session_id, gap.balances_confirmed_by_ordinal]
        assert gap.ended_at is not None
        assert confirmation.kind is Kind.BALANCES
        assert confirmation.request_id is not None


# --- anything at all ---

Actions = list[tuple[str, int, str, float]]
ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["push", "push", "answer", "late", "pairs", "list", "broken", "many", "error"])
        | st.sampled_from(["request", "end", "dropped", "passed", "reconnect", "again", "exposed"]),
        st.integers(0, 9),
        st.sampled_from(["user-1", "user-1", "user-2"]),
        st.sampled_from([1.0, 1.0, 0.0, 600.0, -600.0]),
    ),
    max_size=40,
)


@dataclass
class Anything:
    """Makes items of actions, whatever sense they make; every item of a session comes while it is open."""

    feed: Feed = field(default_factory=lambda: Feed(Rules(Policy(Step.CONTIGUOUS))))
    items: list[Item] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    sessions: int = 0
    session_ids_from: int = 1_000

    def reconnect(self) -> None:
        if self.sessions:
            self.items.append(self.feed.closed())
        self.sessions += 1
        self.items.append(self.feed.opened(UUID(int=self.session_ids_from + self.sessions)))

    def restart(self, ends: Sequence[SessionClosed]) -> None:
        """The process died, and another one has connected: with lower ids, for a clock that stepped back
        meanwhile. What the first one had received is written.
        """
        self.session_ids_from, self.sessions, self.items = 0, 0, [*ends]
        self.reconnect()

    def request(self, number: int) -> str:
        self.requests.append(str(UUID(int=len(self.requests))))
        command = Command.GET_PAIRS if number % 3 == 0 else Command.GET_BALANCES
        self.items.append(self.feed.requested(self.requests[-1], command))
        return self.requests[-1]

    def act(self, action: str, number: int, user: str, later: float) -> None:
        feed, known = self.feed, self.requests
        match action:
            case "request":
                self.request(number)
            case "end" if known:
                outcome = [*RequestOutcome][number % len(RequestOutcome)]
                self.items.append(feed.ended(known[number % len(known)], outcome))
            case "passed" if known:
                self.items.append(feed.passed(known[number % len(known)]))
            case "dropped":
                self.items.append(feed.dropped(1 + number))
            case "reconnect":
                self.reconnect()
            case "again" if isinstance(newest := self.items[-1], Record):
                for _ in range(number):
                    self.items.append(feed.received(newest.raw, later=later * (number % 2)))
            case _:
                self.items.append(feed.received(self.raw(action, number, user), later=later))

    def raw(self, action: str, number: int, user: str) -> bytes:
        """Some record; one that belongs to an action which has nothing to act on is a stray one."""
        latest = self.requests[-1] if self.requests else None
        assets = {"BTC": number, **({"ETH": 1} if number % 4 else {})} if number % 5 else {}
        made: dict[str, Callable[[], bytes]] = {
            "push": lambda: balances(number, assets, user_id=user),
            "answer": lambda: balances(number, assets, user_id=user, client_id=self.request(number)),
            "late": lambda: balances(number, assets, user_id=user, client_id=latest),
            "pairs": lambda: pairs(["AAAUSDT", "BBBUSDT", "CCCUSDT"][: number % 4]),
            "list": lambda: pairs(["AAAUSDT", "BBBUSDT"][: number % 3], client_id=self.request(0)),
            "broken": lambda: invocation(envelope("account.balances.snapshot", "?", latest)),
            "error": lambda: invocation(envelope("preChecksError", "no", latest)),
            "exposed": lambda: compact(number // 3, {"BTC": "1", "ETH": "1"}, str(number), user),
            "many": lambda: invocation(envelope("execution.pairs", []), {}, envelope("x", "y")),
        }
        return made.get(action, lambda: b"\xff")()


def made_of(actions: Actions) -> Anything:
    made = Anything()
    made.reconnect()
    for action in actions:
        made.act(*action)
    return made


def anything(actions: Actions) -> tuple[Feed, list[Item]]:
    made = made_of(actions)
    return made.feed, made.items


def stored(feed: Feed, batches: list[Sequence[Item]]) -> FakeStore:
    feed.state = State(account_since=EPOCH)
    store = FakeStore()
    for batch in batches:
        store.write(feed.apply(*batch))
    return store


@settings(max_examples=150, deadline=None)
@given(ACTIONS, RANDOMS)
def test_the_tables_do_not_depend_on_where_the_batches_were_cut(
    actions: list[tuple[str, int, str, float]], rng: random.Random
) -> None:
    """Invariant I7."""
    feed, items = anything(actions)
    one = stored(feed, [items])
    state = feed.state
    many = stored(feed, cut(items, rng))
    single = stored(feed, [[item] for item in items])

    assert feed.state == state
    for kind in KEYS:
        assert blind_to_history(one.rows(kind)) == blind_to_history(many.rows(kind))
        assert blind_to_history(one.rows(kind)) == blind_to_history(single.rows(kind))


def blind_to_history(rows: list[Any]) -> list[Any]:
    """Where a watermark stood before differs from one cut to another, and is not stored."""
    return [
        replace(row, old_epoch=0, old_sequence=0, old_revision=0) if hasattr(row, "old_epoch") else row
        for row in rows
    ]


@settings(max_examples=150, deadline=None)
@given(ACTIONS, RANDOMS)
def test_everything_that_was_received_is_counted_once(
    actions: list[tuple[str, int, str, float]], rng: random.Random
) -> None:
    """I1, I2, I8: stored + dropped = received, each byte of it, and each event has one outcome."""
    feed, items = anything(actions)
    items.append(feed.closed())
    store = stored(feed, cut(items, rng))
    records = [item for item in items if isinstance(item, Record)]
    received = {item.session: item.received for item in items if isinstance(item, SessionClosed)}

    assert store.records() == {(record.session, record.ordinal): record.raw for record in records}
    for session in store.rows(SessionRow):
        assert session.committed_records + session.dropped_records == session.received
        assert session.received == session.committed_ordinal == received[session.session_id]
    events = Counter((row.session_id, row.ordinal) for row in store.outcomes())
    assert set(events) == {(record.session, record.ordinal) for record in records}
    assert {row.request_id for row in store.rows(RequestRow)} == set(feed.commands)
    for gap in store.rows(GapRow):
        assert gap.missed_from <= (gap.missed_until or gap.missed_from)
        assert gap.opened_at <= (gap.ended_at or gap.opened_at)


@settings(max_examples=100, deadline=None)
@given(ACTIONS, RANDOMS)
def test_the_same_items_on_the_same_state_give_the_same_rows_and_leave_the_state_untouched(
    actions: list[tuple[str, int, str, float]], rng: random.Random
) -> None:
    """Invariant I7."""
    feed, items = anything(actions)
    first, *rest = cut(items, rng)
    feed.apply(*first)
    given_items = feed.decoded([item for batch in rest for item in batch])
    frozen = _frozen(feed.state)
    before = repr(feed.state)
    once = fold(feed.state, given_items, feed.rules)
    twice = fold(frozen, given_items, feed.rules)

    assert once[0] == twice[0]
    assert (once[1].rows, once[1].effects) == (twice[1].rows, twice[1].effects)
    assert repr(feed.state) == before


def _frozen(state: State) -> State:
    """The same, but any change in place fails."""
    streams = {
        key: replace(
            stream,
            holdings=MappingProxyType(stream.holdings),
            exposures=MappingProxyType(stream.exposures),
            pairs=MappingProxyType(stream.pairs),
        )
        for key, stream in state.streams.items()
    }
    return replace(
        state,
        streams=MappingProxyType(streams),
        requests=MappingProxyType(state.requests),
        sessions=MappingProxyType(state.sessions),
    )


@settings(max_examples=150, deadline=None)
@given(ACTIONS, RANDOMS)
def test_what_is_loaded_after_a_restart_is_what_was_known_before_it(
    actions: list[tuple[str, int, str, float]], rng: random.Random
) -> None:
    """I9: nothing true lives in memory only. What is pending is abandoned, and raised again if it arises."""
    feed, items = anything(actions)
    store = stored(feed, cut(items, rng))

    assert lasting(store.open()) == lasting(feed.state)


@settings(max_examples=150, deadline=None)
@given(ACTIONS, RANDOMS)
def test_what_the_server_loses_is_a_gap_exact_by_ordinal_whichever_sessions_it_takes_along(
    actions: list[tuple[str, int, str, float]], rng: random.Random
) -> None:
    feed, items = anything(actions)
    store = stored(feed, cut(items, rng))
    store.lose_commits(rng.randrange(store.commits + 1))
    feed.state, facts = resumed(feed.state, store.open())
    feed.state, batch = fold(feed.state, facts, feed.rules)
    store.write(batch)

    missing = {
        (gap.session_id, ordinal)
        for gap in store.rows(GapRow)
        if gap.kind in {"commits_lost", "dropped"}
        for ordinal in range(gap.first_missing, gap.last_missing + 1)
    }
    kept = {(row.session_id, row.ordinal) for row in store.rows(RawEventRow)}
    received = {
        (item.session, ordinal)
        for item in items
        if isinstance(item, Record | Dropped)
        for ordinal in ([item.ordinal] if isinstance(item, Record) else _ordinals(item))
    }
    assert kept.isdisjoint(missing)
    assert kept | missing == received
    ends = {item.session: item for item in items if isinstance(item, SessionClosed)}
    for session in store.rows(SessionRow):
        assert session.committed_records + session.dropped_records == session.committed_ordinal
        ordinals = [ordinal for each, ordinal in received if each == session.session_id]
        assert session.committed_ordinal == max(ordinals, default=0)
        assert session.closed_at == (end.closed_at if (end := ends.get(session.session_id)) else None)
    assert lasting(store.open()) == lasting(feed.state)


def _ordinals(dropped: Dropped) -> range:
    return range(dropped.first_ordinal, dropped.last_ordinal + 1)


def lasting(state: State) -> State:
    """What outlives the process, in an order of its own."""

    def known(state: StreamState) -> StreamState:
        watermark = state.watermark
        assert watermark is not None
        content = Content.stored(watermark.content.digest)
        epochs = tuple(at for at in state.epochs if (watermark.confirmed_until - at).total_seconds() < 3600)
        return StreamState(replace(watermark, arrival=0, content=content), epochs=epochs)

    gaps = [
        replace(
            gap,
            arrival=0,
            last_occurred_at=gap.last_occurred_at or gap.opened_at,
            balances=gap.balances and replace(gap.balances, by=_of_record(gap.balances.by)),
            pairs=gap.pairs and replace(gap.pairs, by=_of_record(gap.pairs.by)),
        )
        for gap in state.gaps
    ]
    return State(
        streams={
            key: replace(each, state=known(each.state), assets=(), base=None, observed_at=EARLIEST)
            for key, each in state.streams.items()
        },
        gaps=tuple(sorted(gaps, key=repr)),
        sessions=state.sessions,
        ended=tuple(sorted(state.ended, key=repr)),
        account_since=state.account_since,
        ever_connected=state.ever_connected,
    )


def _of_record(key: EventKey) -> EventKey:
    return replace(key, position=0)


def compact(sequence: int, held: Mapping[str, str], exposure: str, user: str = "user-1") -> bytes:
    """A snapshot as the hub writes it; the first asset has an exposure."""
    assets = [f'{{"name":"{name}","available":{free},"allocated":0}}' for name, free in held.items()]
    assets[0] = assets[0].replace("}", f',"currentExposure":{exposure},"maxExposure":9}}')
    data = f'{{"userId":"{user}","sequence":{sequence},"assets":[{",".join(assets)}],"deleted":false}}'
    event = envelope("account.balances.snapshot", {}) | {"data": data}
    invoked = {"type": 1, "target": "executionEvents", "arguments": [event]}
    return json.dumps(invoked, separators=(",", ":")).encode()
