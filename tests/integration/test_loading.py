"""A restart goes on from what is stored, and its cost does not grow with the history (I9)."""

import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from random import Random
from uuid import UUID

import psycopg
import pytest
from msgspec.structs import replace

from ingestor.adapters.postgres.loading import load_state
from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings
from ingestor.domain.gaps import Confirmed, Gap, GapKind
from ingestor.domain.records import SessionClosed, SessionEnd, SessionOpened
from ingestor.domain.streams import EventKey, Kind
from ingestor.pipeline.apply.gaps import _row
from ingestor.pipeline.resume import ends_of_left_sessions
from ingestor.pipeline.state import EndedSession, Exposure, OpenSession, State
from ingestor.simulator import HubConfig, SimulatedHub
from tests.properties.test_apply_properties import Actions, compact, cut, made_of, stored
from tests.properties.test_restart_properties import forgetful, go_on, tables
from tests.support.batches import (
    SESSION,
    START,
    USER,
    advanced,
    at,
    batch,
    ended,
    events,
    first,
    make_store,
    moved,
)
from tests.support.feed import Feed
from tests.support.items import EPOCH
from tests.support.postgres import libpq_url
from tests.support.rows import Query, account, stream
from tests.support.waiting import eventually


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:
        yield connection


def test_the_state_after_a_restart_is_that_before_it(database: str, connection: psycopg.Connection) -> None:
    with SimulatedHub(HubConfig(seed=3, changes_per_second=50)) as hub:
        settings = Settings(account="main", hub=Hub(environment=Environment.CUSTOM, url=hub.url))
        ingestor = Ingestor(settings, database, lambda: hub.config.api_key)
        ingestor.start(threading.Event(), lambda _: None)
        eventually(lambda: ingestor.daemon_status().records > 40)
        hub.account.change_pairs()
        hub.settle()
        eventually(lambda: ingestor.daemon_status().outcomes.get("applied", 0) >= 2)
        ingestor.stop(10.0)
        before = ingestor._writer.state
    loaded, environment = load_state(connection, "main")

    assert environment == "custom"
    assert loaded.ever_connected
    assert loaded.sessions == {}
    assert set(loaded.streams) == set(before.streams)
    for key, expected in before.streams.items():
        found = loaded.streams[key]
        assert dict(found.holdings) == dict(expected.holdings)
        assert dict(found.pairs) == dict(expected.pairs)
        assert {name: each for name, each in found.exposures.items() if each != Exposure(None, None)} == {
            name: each for name, each in expected.exposures.items() if each != Exposure(None, None)
        }
        assert found.exposure_total == expected.exposure_total
        assert found.state.watermark is not None
        assert expected.state.watermark is not None
        assert found.state.watermark == replace(expected.state.watermark, arrival=0)
    assert [gap.cause for gap in loaded.gaps] == ["stopped"]


@pytest.mark.parametrize("way", [1, 300])
def test_a_session_without_an_end_is_found_with_how_far_it_came(
    way: int, database: str, connection: psycopg.Connection
) -> None:
    store = make_store(database)
    store.open()
    store.write(first(2))
    store.write(batch(advanced(3, 2 + way), events(3, 2 + way), moved(2 + way, 2)))
    (loaded,) = (load_state(connection, "main")[0].sessions.items(),)
    began = SessionOpened(SESSION, START, "ws://127.0.0.1/hub", 3, ("dns", "refused"), -0.25)
    assert dict(loaded) == {SESSION: OpenSession(began, 2 + way, at(2 + way))}

    store.write(batch(advanced(3 + way, 2 + way, **ended(2 + way))))
    store.close()
    state, _ = load_state(connection, "main")
    assert state.sessions == {}
    closed = SessionClosed(SESSION, at(3 + way), at(2 + way), 2 + way, SessionEnd.CLEAN, "stopped", "why")
    assert state.ended == (EndedSession(OpenSession(began, 2 + way, at(2 + way)), closed),)


def test_an_open_gap_is_found_as_it_was(database: str, connection: psycopg.Connection) -> None:
    whole = Gap(
        kind=GapKind.SEQUENCE_SKIP,
        session=SESSION,
        ordinal=3,
        position=2,
        opened_at=at(3),
        missed_from=at(2),
        missed_until=at(4),
        cause="pushed",
        affects=frozenset(Kind),
        arrival=0,
        connection_errors=("dns", "tls"),
        user_id=USER,
        first_missing=5,
        last_missing=2**60,
        occurrences=3,
        last_occurred_at=at(9),
        balances=Confirmed(at(8), EventKey(SESSION, 8, 0)),
    )
    lasting = Gap(
        kind=GapKind.UNCLEAN_END,
        session=SESSION,
        ordinal=0,
        position=0,
        opened_at=at(4),
        missed_from=at(1),
        missed_until=None,
        cause="process_died",
        affects=frozenset({Kind.PAIRS}),
        arrival=0,
        last_occurred_at=at(4),
    )
    over = replace(lasting, ordinal=1, pairs=Confirmed(at(5), EventKey(SESSION, 5, 0)), ended_at=at(5))
    store = make_store(database)
    store.open()
    store.write(batch([_row(gap) for gap in (whole, lasting, over)]))
    store.close()

    assert load_state(connection, "main")[0].gaps == (whole, lasting)


def test_a_stamp_later_than_now_is_loaded_as_now(connection: psycopg.Connection, sql: Query) -> None:
    """Else the state of a clock that was ahead would outlive every confirmation until then."""
    account(sql)
    stream(sql, age="-1 hour")
    stream(sql, "another", age="10 seconds")
    state, _ = load_state(connection, "main")
    ((now,),) = sql("SELECT clock_timestamp()")
    stamps = {key.user_id: each.state.watermark for key, each in state.streams.items()}

    assert stamps["u"] is not None
    assert abs((now - stamps["u"].confirmed_until).total_seconds()) < 5
    assert stamps["another"] is not None
    assert 10 <= (now - stamps["another"].confirmed_until).total_seconds() < 15


@pytest.mark.parametrize("seed", range(6))
def test_the_loaded_state_leads_to_what_the_kept_one_would_have_led_to(database: str, seed: int) -> None:
    """As in `test_restart_properties`, from the rows of a real database."""
    rng = Random(seed)
    made = made_of(anything(rng))
    batches = cut(made.items, rng)
    kept, loaded = (stored(made.feed, batches) for _ in range(2))
    real, feed = make_store(database), Feed(made.feed.rules, State(account_since=EPOCH))
    real.open()
    for items in batches:
        real.write(feed.apply(*items))
    kept.open()
    found = replace(real.open(), account_since=EPOCH)
    assert found.streams == loaded.open().streams
    known = replace(forgetful(made.feed.state, found), requests={})
    lives = [(kept, Feed(made.feed.rules, known)), (loaded, Feed(made.feed.rules, found))]
    made.restart(ends_of_left_sessions(known, made.feed.now))
    go_on(made, anything(rng), lives, rng)
    real.close()

    assert tables(loaded) == tables(kept)


def anything(rng: Random) -> Actions:
    """As the strategy of `test_apply_properties` draws it."""
    names = [
        "push",
        "push",
        "answer",
        "answer",
        "late",
        "pairs",
        "list",
        "broken",
        "many",
        "error",
        "request",
    ]
    names += ["end", "dropped", "passed", "reconnect", "again", "exposed", "exposed"]
    return [
        (
            rng.choice(names),
            rng.randint(0, 9),
            rng.choice(["user-1", "user-1", "user-2"]),
            rng.choice([1.0, 1.0, 0.0, 600.0, -600.0]),
        )
        for _ in range(80)
    ]


def test_the_exposure_after_a_restart_is_the_newest_also_where_the_clock_had_been_ahead(
    database: str, sql: Query
) -> None:
    """The second process has the right time and so lower session ids; what it stores is the present."""
    ((now,),) = sql("SELECT now()")
    lives = [(now + timedelta(hours=1), 9, "1.5"), (now, 5, "2.5"), (now + timedelta(minutes=1), 7, "3.5")]
    for start, session, exposure in lives:
        store = make_store(database)
        feed = Feed(state=store.open(), seconds=(start - EPOCH).total_seconds())
        ends = ends_of_left_sessions(feed.state, start)
        raw = compact(1, {"BTC": "1"}, exposure)
        store.write(feed.apply(*ends, feed.opened(UUID(int=session)), feed.received(raw)))
        state = store.open()
        store.close()

        assert sql("SELECT current_exposure FROM report.balance_current") == [(Decimal(exposure),)]
        (known,) = state.streams.values()
        assert known.exposures["BTC"].current == Decimal(exposure)


def test_loading_reads_no_more_rows_than_there_are_assets(connection: psycopg.Connection, sql: Query) -> None:
    """Shown by the server's own count of rows read, on two hundred thousand stored ones."""
    account(sql)
    stream(sql)
    sql("DELETE FROM ingest.balance")
    sql(
        "INSERT INTO ingest.balance "
        "SELECT 'main', 'u', 'A' || mod(n, 5), timestamptz '2026-01-01' + n * interval '1 second', "
        "1, n, 0, n, 0, true FROM generate_series(1, 200000) AS n"
    )
    sql("VACUUM ANALYZE ingest.balance")
    sql("SELECT pg_stat_reset()")
    state, _ = load_state(connection, "main")
    (loaded,) = state.streams.values()
    connection.close()

    def read() -> int:
        rows = sql(
            "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables "
            "WHERE schemaname = 'ingest' AND relname = 'balance' AND idx_scan > 0"
        )
        return int(rows[0][0]) if rows else 0

    rows = eventually(read)

    assert {name: int(holding.available) for name, holding in loaded.holdings.items()} == {
        f"A{n}": 200_000 - (200_000 - n) % 5 for n in range(5)
    }
    assert rows < 100
