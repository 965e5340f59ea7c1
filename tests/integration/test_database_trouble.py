"""A database in trouble loses nothing that fits into the inbox; a rejected row loses only itself (I1)."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.app.database import upgrade_database
from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Inbox, Settings
from ingestor.simulator import HubConfig, SimulatedHub
from tests.acceptance.test_content import END, balances, good
from tests.support.daemon import Daemon, environment
from tests.support.hub_records import asset
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def hub() -> Iterator[SimulatedHub]:
    with SimulatedHub(HubConfig(seed=3, changes_per_second=50)) as running:
        yield running


@contextmanager
def running(hub: SimulatedHub, url: str, inbox: Inbox | None = None) -> Iterator[Ingestor]:
    settings = Settings(
        account="trouble", hub=Hub(environment=Environment.CUSTOM, url=hub.url), inbox=inbox or Inbox()
    )
    ingestor = Ingestor(settings, url, lambda: hub.config.api_key)
    ingestor.start(threading.Event(), lambda _: None)
    try:
        eventually(lambda: ingestor.daemon_status().outcomes.get("applied", 0) >= 2)
        yield ingestor
    finally:
        ingestor.stop(10.0)


def select(url: str, query: str) -> list[tuple[object, ...]]:
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        cursor = connection.execute(query)
        return cursor.fetchall() if cursor.description else []


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_a_server_that_goes_and_comes_back_costs_nothing(
    how: str, hub: SimulatedHub, durable_postgres: Callable[[], EmbeddedPostgres]
) -> None:
    """Invariant I14."""
    server = durable_postgres()
    url = server.ensure_database("trouble")
    upgrade_database(url)
    with running(hub, url) as ingestor:
        if how == "stopped":
            server.stop()
        else:
            os.kill(server.postmaster_pid, signal.SIGKILL)
        hub.burst(500)
        eventually(lambda: ingestor.daemon_status().retrying is not None)
        waiting = eventually(lambda: ingestor.daemon_status().inbox_records)
        server.start()
        eventually(
            lambda: ingestor.daemon_status().retrying is None and not ingestor.daemon_status().inbox_records,
            within=30,
        )
        hub.account.change()
        hub.settle()
        wanted = hub.account.sequence
        url = server.url("trouble")
        eventually(
            lambda: select(
                url, f"SELECT 1 FROM ingest.watermark WHERE kind = 'balances' AND sequence >= {wanted}"
            )
        )

    assert waiting > 0
    assert select(url, "SELECT sum(dropped_records) FROM ingest.session") == [(0,)]
    assert select(url, "SELECT * FROM report.unaccounted") == []
    assert select(
        url, "SELECT count(*) - count(DISTINCT sequence) FROM ingest.version WHERE kind = 'balances'"
    ) == [(0,)]
    holes = "SELECT 1 FROM ingest.gap WHERE kind IN ('dropped', 'unclean_end', 'undecodable')"
    assert select(url, holes) == []


def test_a_row_that_the_database_rejects_costs_itself_only(hub: SimulatedHub, database: str) -> None:
    select(database, "ALTER TABLE ingest.balance ADD CHECK (asset <> 'REFUSED')")
    with running(hub, database) as ingestor:
        before = ingestor.daemon_status().records
        records = [good(n) for n in range(1, 500)]
        records.insert(250, balances(10_000, asset(), asset('"USDT"'), asset('"REFUSED"')))
        hub.send_raw(END.join(records) + END)
        eventually(lambda: ingestor.daemon_status().records >= before + 500, within=20)
        eventually(lambda: select(database, "SELECT 1 FROM ingest.watermark WHERE sequence = 499"))

    outcomes = "SELECT outcome, count(*) FROM ingest.event_outcome WHERE user_id = 'content' GROUP BY 1"
    assert select(database, outcomes) == [("applied", 499)]
    assert select(database, "SELECT reason, stage FROM ingest.dead_letter") == [
        ("rejected_by_database", "store")
    ]


def test_a_connection_that_dies_is_told_once_and_by_its_own_error(hub: SimulatedHub, database: str) -> None:
    """psycopg warns besides of everything that it could then not do with the connection."""
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        for times in range(1, 6):
            eventually(lambda: select(database, "SELECT 1 FROM report.freshness WHERE is_fresh"), within=20)
            hub.burst(200)
            select(
                database,
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE application_name = 'hercle-ingestor' AND datname = current_database()",
            )
            eventually(lambda seen=times: len(daemon.events("commit_resumed")) >= seen)  # type: ignore[misc]
        delays = daemon.events("commit_delayed")

        assert all("connection" in str(each["error"]) for each in delays)
        assert daemon.events("library_logged") == []


def test_what_the_inbox_cannot_hold_is_a_gap_with_its_ordinals(
    hub: SimulatedHub, durable_postgres: Callable[[], EmbeddedPostgres]
) -> None:
    """Invariants I2, I13."""
    server = durable_postgres()
    url = server.ensure_database("trouble")
    upgrade_database(url)
    with running(hub, url, Inbox(max_records=100, put_timeout_seconds=0.1)) as ingestor:
        server.stop()
        hub.burst(1_000)
        eventually(
            lambda: ingestor.daemon_status().retrying is not None and ingestor.daemon_status().dropped > 0
        )
        server.start()
        url = server.url("trouble")
        eventually(
            lambda: select(url, "SELECT 1 FROM ingest.gap WHERE kind = 'dropped' AND ended_at IS NOT NULL"),
            within=30,
        )

    ((missing, dropped),) = select(
        url,
        "SELECT (SELECT sum(last_missing - first_missing + 1) FROM ingest.gap WHERE kind = 'dropped'), "
        "(SELECT sum(dropped_records) FROM ingest.session)",
    )
    assert missing == dropped
    assert dropped is not None
    assert select(url, "SELECT * FROM report.unaccounted") == []
