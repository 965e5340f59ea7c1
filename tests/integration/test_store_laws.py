"""What the writer relies on, tested with Postgres and with the store in memory that the quick tests use.

If the two differed, the quick tests of the writer would show less than they seem to.

Invariants I3, I6.
"""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from msgspec.structs import replace

from ingestor.domain.content import Content
from ingestor.domain.errors import RowRejected, WatermarkConflict
from ingestor.domain.requests import Command
from ingestor.domain.streams import StreamState
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.ports import Store
from ingestor.pipeline.rows import RawEventRow, SessionProgressRow, SessionRow
from ingestor.pipeline.state import EARLIEST, State
from tests.support.batches import make_store
from tests.support.fake_store import FakeStore
from tests.support.feed import Feed
from tests.support.items import balances, envelope, invocation, pairs
from tests.support.rows import Query

OTHER = UUID("00000000-0000-7000-8000-000000000002")
MINE, B, P, LATE, B2, P2, P3 = (str(UUID(int=number)) for number in range(7))
"""Ids of requests."""
BROKEN = invocation(envelope("account.balances.snapshot", "not JSON"))


def exposed(sequence: int, **block: object) -> bytes:
    asset = {"name": "BTC", "available": 1, "allocated": 0, **block}
    data = {"userId": "user-1", "sequence": sequence, "assets": [asset], "totalMaxExposure": sequence}
    return invocation(envelope("account.balances.snapshot", data))


def first_life(feed: Feed) -> list[Batch]:
    """A session in which most of what can happen happens."""
    return [
        feed.apply(feed.opened(None, "dns"), feed.requested(B), feed.requested(P, Command.GET_PAIRS)),
        feed.apply(
            feed.received(balances(5, {"BTC": "0.50", "ETH": 2}, client_id=B)),
            feed.received(pairs(["AAAUSDT", "BBBUSDT"], client_id=P)),
        ),
        feed.apply(
            feed.received(exposed(7, currentExposure=3)), feed.received(BROKEN), feed.received(BROKEN)
        ),
        feed.apply(feed.received(pairs(["AAAUSDT"])), feed.dropped(3)),
        feed.apply(feed.requested(LATE), feed.ended(LATE), feed.received(balances(7, {"BTC": 9}))),
        feed.apply(feed.closed(), feed.opened(OTHER), feed.received(balances(1, user_id="user-2"))),
        feed.apply(feed.requested(B2), feed.received(balances(8, {"BTC": 1}, client_id=B2))),
        feed.apply(feed.requested(P2, Command.GET_PAIRS), feed.received(pairs(["AAAUSDT"], client_id=P2))),
        feed.apply(feed.received(BROKEN), feed.requested(P3, Command.GET_PAIRS), feed.ended(P3)),
    ]


@pytest.fixture(params=["postgres", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    if request.param == "memory":
        yield FakeStore()
        return
    made = make_store(request.getfixturevalue("database"))
    yield made
    made.close()


@pytest.fixture
def feed(store: Store) -> Feed:
    """In a session of which one record is stored."""
    feed = Feed(state=store.open())
    store.write(feed.apply(feed.opened(), feed.received(balances(1))))
    return feed


def next_batch(feed: Feed) -> Batch:
    return feed.apply(feed.received(balances(2)), feed.requested(MINE))


def advanced(batch: Batch, **values: Any) -> Batch:
    """The same with another account of the session."""
    rows = [replace(row, **values) if isinstance(row, SessionProgressRow) else row for row in _rows(batch)]
    return Batch(rows)


def _rows(batch: Batch) -> list[Any]:
    return [row for rows in batch.rows.values() for row in rows]


def unchanged(store: Store, feed: Feed) -> bool:
    """Only the first record is stored."""
    state = store.open()
    (session,) = state.sessions.values()
    (stream,) = state.streams.values()
    assert stream.state.watermark is not None
    return (session.committed_ordinal, stream.state.watermark.number.sequence) == (1, 1)


def test_a_batch_is_held_once_it_is_stored_and_cannot_be_stored_again(store: Store, feed: Feed) -> None:
    batch = next_batch(feed)
    assert not store.holds(batch)
    store.write(batch)

    assert store.holds(batch)
    with pytest.raises(WatermarkConflict):
        store.write(batch)


def test_an_older_batch_is_held_too_and_a_later_one_is_not(store: Store, feed: Feed) -> None:
    first, second, third = (next_batch(feed) for _ in range(3))
    store.write(first)
    store.write(second)

    assert store.holds(first)
    assert not store.holds(third)


def test_a_batch_without_sessions_is_never_said_to_be_held_and_may_be_stored_twice(
    store: Store, feed: Feed
) -> None:
    batch = feed.apply(feed.requested(MINE))
    store.write(batch)

    assert not store.holds(batch)
    store.write(batch)


def test_a_close_is_held_only_when_it_is_stored(store: Store, feed: Feed) -> None:
    batch = feed.apply(feed.closed())
    assert not store.holds(batch)
    store.write(batch)

    assert store.holds(batch)


@pytest.mark.parametrize("first", [1, 3, 50])
def test_a_session_goes_on_exactly_where_it_stands(store: Store, feed: Feed, first: int) -> None:
    with pytest.raises(WatermarkConflict):
        store.write(advanced(next_batch(feed), first_ordinal=first))

    assert unchanged(store, feed)


def test_a_session_that_is_closed_or_unknown_does_not_go_on(store: Store, feed: Feed) -> None:
    batch = next_batch(feed)
    with pytest.raises(WatermarkConflict):
        store.write(advanced(batch, session_id=OTHER))
    store.write(Batch([row for row in _rows(batch) if isinstance(row, SessionProgressRow)]))
    closing = feed.apply(feed.closed())
    after = feed.apply(feed.opened(OTHER))
    store.write(closing)
    store.write(after)

    with pytest.raises(WatermarkConflict):
        store.write(advanced(closing, first_ordinal=3, committed_ordinal=3))


def test_a_session_is_opened_once(store: Store) -> None:
    feed = Feed(state=store.open())
    opening = feed.apply(feed.opened())
    store.write(opening)

    with pytest.raises(WatermarkConflict):
        store.write(Batch(opening.all(SessionRow)))


@pytest.mark.parametrize("old", [(1, 2, 0), (1, 1, 1), (2, 1, 0), (None, None, None)])
def test_a_stream_is_moved_exactly_from_where_it_stands(
    store: Store, feed: Feed, old: tuple[int | None, ...]
) -> None:
    names = ("old_epoch", "old_sequence", "old_revision")
    rows = [
        replace(row, **dict(zip(names, old, strict=True))) if hasattr(row, "old_epoch") else row
        for row in _rows(next_batch(feed))
    ]
    with pytest.raises(WatermarkConflict):
        store.write(Batch(rows))

    assert unchanged(store, feed)


def test_a_stream_never_goes_back(store: Store, feed: Feed) -> None:
    """Invariant I4."""
    rows = [replace(row, sequence=0) if hasattr(row, "old_epoch") else row for row in _rows(next_batch(feed))]
    with pytest.raises(WatermarkConflict):
        store.write(Batch(rows))

    assert unchanged(store, feed)


def test_a_row_that_exists_is_rejected_and_nothing_of_its_batch_is_stored(store: Store, feed: Feed) -> None:
    batch = next_batch(feed)
    (raw,) = batch.all(RawEventRow)
    with pytest.raises(RowRejected):
        store.write(Batch([*_rows(batch), raw]))

    assert unchanged(store, feed)


def test_a_guard_that_does_not_hold_comes_before_a_row_that_is_rejected(store: Store, feed: Feed) -> None:
    batch = next_batch(feed)
    (raw,) = batch.all(RawEventRow)
    with pytest.raises(WatermarkConflict):
        store.write(advanced(Batch([*_rows(batch), raw]), first_ordinal=9))


def test_what_is_loaded_is_what_was_known(store: Store) -> None:
    """I9, with the open gaps in the order that `apply` expects: unanswered ones first."""
    since = store.open().account_since
    feed = Feed(state=State(account_since=since))
    for batch in first_life(feed):
        store.write(batch)
    loaded = store.open()

    assert _lasting(loaded) == _lasting(feed.state)
    assert [gap.kind == "unanswered" for gap in loaded.gaps] == sorted(
        (gap.kind == "unanswered" for gap in loaded.gaps), reverse=True
    )
    assert loaded.gaps[0].kind == "unanswered"


def _lasting(state: State) -> object:
    """What is to survive a restart, without what depends on our own count of arrivals."""
    streams = {}
    for key, stream in state.streams.items():
        watermark = stream.state.watermark
        assert watermark is not None
        watermark = replace(watermark, arrival=0, content=Content.stored(watermark.content.digest))
        streams[key] = replace(
            stream,
            state=StreamState(watermark, epochs=stream.state.epochs),
            observed_at=EARLIEST,
            assets=(),
            base=None,
        )
    gaps = [
        replace(gap, arrival=0, last_occurred_at=gap.last_occurred_at or gap.opened_at) for gap in state.gaps
    ]
    sessions = {
        key: (each.opened.opened_at, each.committed_ordinal, each.last_received_at)
        for key, each in state.sessions.items()
    }
    return streams, sorted(gaps, key=repr), sessions, state.account_since, state.ever_connected


def test_memory_and_postgres_hold_the_same_rows(database: str, sql: Query) -> None:
    fake, real = FakeStore(), make_store(database)
    fake.account_since = real.open().account_since or fake.account_since
    for batch in first_life(Feed(state=State(account_since=fake.account_since))):
        fake.write(batch)
        real.write(batch)
    real.close()

    for kind, table in zip(fake._tables, _TABLES, strict=True):
        columns = [name for name in kind.__struct_fields__ if not name.startswith("old_")]
        stored = sql(f"SELECT {', '.join(columns)} FROM ingest.{table}")
        expected = [tuple(_plain(getattr(row, name)) for name in columns) for row in fake.rows(kind)]
        found = sorted(repr(tuple(map(_plain, row))) for row in stored)
        assert found == sorted(map(repr, expected)), table
        assert stored, f"nothing in {table} to compare"


_TABLES = (
    *("session", "raw_event", "outcome", "balance", "exposure", "exposure_total", "pair"),
    *("epoch", "watermark", "gap", "confirmation", "request", "dead_letter"),
)


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, bytes | memoryview):
        return bytes(value)
    return str(value) if isinstance(value, str | UUID) else value
