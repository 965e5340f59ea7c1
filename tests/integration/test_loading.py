"""A restart goes on from what is stored, and its cost does not grow with the history."""

import threading

import psycopg
from msgspec.structs import replace
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from ingestor.adapters.postgres.loading import load_books
from ingestor.app import Ingestor
from ingestor.config import Environment, Hub, Settings
from ingestor.pipeline.books import Exposure
from ingestor.simulator import HubConfig, SimulatedHub
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually


def test_the_books_after_a_restart_are_those_before_it(database: str) -> None:
    with SimulatedHub(HubConfig(seed=3, changes_per_second=50)) as hub:
        settings = Settings(account="books", hub=Hub(environment=Environment.CUSTOM, url=hub.url))
        ingestor = Ingestor(settings, database, lambda: hub.config.api_key)
        ingestor.start(threading.Event(), lambda _: None)
        eventually(lambda: ingestor.picture().records > 40)
        hub.account.change_pairs()
        hub.settle()
        eventually(lambda: ingestor.picture().answered >= 2)
        ingestor.stop(10.0)
        before = ingestor.books()
    engine = create_engine(database, poolclass=NullPool)
    with engine.connect() as connection:
        loaded, environment = load_books(connection, "books")

    assert environment == "custom"
    assert loaded.left_open == ()
    assert set(loaded.streams) == set(before.streams)
    for key, stream in before.streams.items():
        kept = loaded.streams[key]
        assert dict(kept.holdings) == dict(stream.holdings)
        assert dict(kept.pairs) == dict(stream.pairs)
        assert {name: each for name, each in kept.exposures.items() if each != Exposure(None, None)} == {
            name: each for name, each in stream.exposures.items() if each != Exposure(None, None)
        }
        assert kept.exposure_total == stream.exposure_total
        assert kept.state.watermark is not None
        assert stream.state.watermark is not None
        assert kept.state.watermark == replace(stream.state.watermark, line=0)
    assert [gap.cause for gap in loaded.open_gaps] == ["stopped"]


def test_loading_reads_no_more_rows_than_there_are_assets(database: str) -> None:
    """Shown by the server's own count of rows read, on two hundred thousand stored ones."""
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:
        connection.execute("INSERT INTO ingest.account VALUES ('long', 'custom', now())")
        connection.execute(
            "INSERT INTO ingest.epoch SELECT 'long', 'balances', 'u', 1, now(), 'first_seen', 1, NULL, "
            "gen_random_uuid(), 1, gen_random_uuid(), 1, 1"
        )
        connection.execute(
            "INSERT INTO ingest.watermark SELECT 'long', 'balances', 'u', 1, 100000, 0, '', "
            "gen_random_uuid(), 1, 0, now(), now(), false"
        )
        connection.execute(
            "INSERT INTO ingest.balance "
            "SELECT 'long', 'u', 'A' || n % 5, timestamptz '2026-01-01' + n * interval '1 second', "
            "1, n, 0, n, 0, true FROM generate_series(1, 200000) AS n"
        )
        connection.execute("VACUUM ANALYZE ingest.balance")
        connection.execute("SELECT pg_stat_reset()")
    engine = create_engine(database, poolclass=NullPool)
    with engine.connect() as own:
        books, _ = load_books(own, "long")
    (stream,) = books.streams.values()
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:

        def read() -> int:
            row = connection.execute(
                "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables "
                "WHERE schemaname = 'ingest' AND relname = 'balance' AND idx_scan > 0"
            ).fetchone()
            return int(row[0]) if row else 0

        rows = eventually(read)

    assert {name: int(held.available) for name, held in stream.holdings.items()} == {
        f"A{n}": 200_000 - (200_000 - n) % 5 for n in range(5)
    }
    assert rows < 100
