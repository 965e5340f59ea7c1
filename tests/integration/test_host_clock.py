"""The whole daemon on a host whose wall clock is wrong: what is stored is right all the same."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest

from ingestor.adapters.clock import DatabaseClock
from ingestor.app import wiring
from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings
from ingestor.simulator import HubConfig, SimulatedHub
from tests.support.daemon import command, environment
from tests.support.rows import Query
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


class WallClock:
    """The host's, set by the test."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)

    def __call__(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    clock = WallClock()
    monkeypatch.setattr(wiring, "DatabaseClock", lambda: DatabaseClock(clock))
    return clock


@contextmanager
def ingesting(hub: SimulatedHub, database: str) -> Iterator[None]:
    settings = Settings(account="main", hub=Hub(environment=Environment.CUSTOM, url=hub.url))
    ingestor = Ingestor(settings, database, lambda: hub.config.api_key)
    ingestor.start(threading.Event(), lambda _: None)
    try:
        yield
    finally:
        ingestor.stop(5.0)


def change(hub: SimulatedHub, sql: Query) -> None:
    """The hub pushes a change, and it is stored."""
    hub.account.change()
    hub.settle()
    stored = "SELECT 1 FROM ingest.watermark WHERE kind = 'balances' AND sequence >= %s"
    eventually(lambda: sql(stored, hub.account.sequence), within=20)


def test_a_clock_that_was_an_hour_ahead_for_a_while_leaves_no_stamp_in_the_future(
    wall: WallClock, database: str, sql: Query
) -> None:
    """C2: the hub says something new before, meanwhile and after."""
    step = "SELECT 1 FROM report.clock_step WHERE clock = 'host' AND round(step_seconds) = %s"
    with SimulatedHub(HubConfig(seed=3, changes_per_second=0)) as hub, ingesting(hub, database):
        eventually(lambda: sql("SELECT 1 FROM report.balance_current"), within=20)
        change(hub, sql)
        eventually(lambda: sql("SELECT 1 FROM ingest.heartbeat"), within=20)
        wall.ahead = timedelta(hours=1)
        change(hub, sql)
        eventually(lambda: sql(step, 3600), within=20)
        change(hub, sql)
        wall.ahead = timedelta(0)
        change(hub, sql)
        eventually(lambda: sql(step, -3600), within=20)

    for table, column in (
        ("raw_event", "received_at"),
        ("outcome", "valid_from"),
        ("watermark", "confirmed_until"),
        ("session", "closed_at"),
        ("request", "ended_at"),
        ("heartbeat", "stopped_at"),
        ("clock_step", "noticed_at"),
    ):
        assert sql(f"SELECT count(*) FROM ingest.{table} WHERE {column} > clock_timestamp()") == [(0,)], table
    as_of_now = (
        "SELECT max(sequence) FROM report.balance_history WHERE valid_from <= now() AND valid_to IS NULL"
    )
    assert sql(as_of_now) == [(hub.account.sequence,)]
    assert sql("SELECT count(*) FROM ingest.version WHERE valid_from < previous_confirmed_until") == [(0,)]


@pytest.mark.parametrize("ahead", [40, -40, -90])
def test_a_host_whose_clock_differs_stores_the_databases_time_and_says_by_how_much(
    ahead: int, wall: WallClock, database: str, sql: Query
) -> None:
    """C10."""
    wall.ahead = timedelta(seconds=ahead)
    with SimulatedHub(HubConfig(seed=3, changes_per_second=0)) as hub, ingesting(hub, database):
        eventually(lambda: sql("SELECT 1 FROM report.freshness WHERE is_alive AND is_fresh"), within=20)
        eventually(lambda: sql("SELECT 1 FROM ingest.heartbeat WHERE last_message_at IS NOT NULL"))
        assert sql("SELECT round(clock_offset_seconds) FROM report.session") == [(ahead,)]
        assert sql("SELECT DISTINCT round(clock_offset_seconds) FROM report.freshness") == [(ahead,)]
        recent = "BETWEEN clock_timestamp() - interval '20 s' AND clock_timestamp()"
        assert sql(
            f"SELECT h.started_at {recent}, h.heartbeat_at {recent}, h.last_message_at {recent}, "
            f"s.opened_at {recent} FROM ingest.heartbeat AS h JOIN ingest.session AS s USING (account)"
        ) == [(True, True, True, True)]
        env = environment(hub.url, database, hub.config.api_key, INGESTOR_ACCOUNT="main")
        status = json.loads(command("status", "--json", env=env).stdout)
        assert status["daemon"] == "running"
        assert 0 <= status["process"]["seconds_since_heartbeat"] < 20
        assert all(each["is_fresh"] and each["seconds_since_confirmed"] < 20 for each in status["streams"])
        (problem,) = status["problems"]
        assert "clock" in problem
