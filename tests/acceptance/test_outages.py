"""A database that is away for a while: how soon after its return the first commit comes."""

import os
import random
import secrets
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.app.database import upgrade_database
from ingestor.simulator import HubConfig, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.clusters import crash
from tests.support.daemon import ACCOUNT, QUICK, Daemon, environment
from tests.support.oracle import judge
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

OUTAGES = int(os.environ.get("INGESTOR_TEST_OUTAGES", "6"))


@pytest.mark.timeout(60 + 20 * OUTAGES)
@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_the_first_commit_comes_within_two_seconds_of_the_databases_return(
    how: str,
    durable_postgres: Callable[[], EmbeddedPostgres],
    journal: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = durable_postgres()
    upgrade_database(server.ensure_database("outages"))
    seed = secrets.randbits(32)
    rng = random.Random(seed)
    config = HubConfig(changes_per_second=50, journal_path=journal, journal_fsync=False, seed=seed)
    seconds: list[float] = []
    with (
        SimulatedHub(config) as hub,
        Daemon(environment(hub.url, server.url("outages"), hub.config.api_key)) as daemon,
    ):
        first_commit(server, 0)
        for _ in range(OUTAGES):
            (server.stop if how == "stopped" else lambda: crash(server))()
            time.sleep(rng.uniform(0.0, 3.0))  # the length of the outage itself
            server.start()
            seconds.append(first_commit(server, records(server)))
        assert daemon.terminate() == 0
    verdict = judge(journal, server.dsn("outages"), ACCOUNT)
    with capsys.disabled():
        worst = ", ".join(f"{each:.2f}" for each in sorted(seconds)[-3:])
        print(
            f"\n{OUTAGES} outages, {how}, seed {seed}: first commit p50 {statistics.median(seconds):.2f} s, "
            f"the longest {worst} s; {verdict}"
        )

    assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)
    # So nothing was missed while the daemon ran.
    with psycopg.connect(server.dsn("outages")) as connection:
        gaps = connection.execute("SELECT cause FROM ingest.gap ORDER BY opened_at").fetchall()
    assert gaps == [("before_first_session",), ("stopped",)]
    assert max(seconds) <= 2.0


def records(server: EmbeddedPostgres) -> int:
    with psycopg.connect(server.dsn("outages")) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM ingest.raw_event").fetchall()
        return int(count)


def first_commit(server: EmbeddedPostgres, stored: int) -> float:
    """Wait until more is stored than this; gives the seconds it took."""
    began = time.monotonic()
    with psycopg.connect(server.dsn("outages"), autocommit=True) as connection:
        query = "SELECT 1 WHERE (SELECT count(*) FROM ingest.raw_event) > %s"
        eventually(lambda: connection.execute(query, (stored,)).fetchall(), within=30, every=0.02)
    return time.monotonic() - began


def test_an_answer_that_comes_while_the_database_is_away_is_an_answer(
    durable_postgres: Callable[[], EmbeddedPostgres],
) -> None:
    """Though its request's deadline passes before anybody can store it. The hub pings: the link is kept."""
    server = durable_postgres()
    upgrade_database(server.ensure_database("outages"))
    asked = "SELECT 1 FROM ingest.request HAVING count(*) = 2 AND count(ended_at) = 0"
    ends = "SELECT outcome, count(*) FROM ingest.request WHERE cause = 'link_up' GROUP BY 1"
    with (
        SimulatedHub(HubConfig(answer_lag_seconds=1.5, ping_interval_s=0.5)) as hub,
        Daemon(environment(hub.url, server.url("outages"), hub.config.api_key)) as daemon,
    ):
        with psycopg.connect(server.dsn("outages"), autocommit=True) as connection:
            eventually(lambda: connection.execute(asked).fetchall(), within=30, every=0.02)
        server.stop()
        time.sleep(float(QUICK["INGESTOR_SNAPSHOTS__REPLY_DEADLINE_SECONDS"]) + 1)  # the outage itself
        server.start()
        with psycopg.connect(server.dsn("outages"), autocommit=True) as connection:
            eventually(lambda: connection.execute(ends).fetchall() == [("answered", 2)], within=30)
            timed_out = "SELECT count(*) FROM report.request WHERE outcome = 'timed_out'"
            assert connection.execute(timed_out).fetchall() == [(0,)]
        assert len(daemon.events("commit_delayed")) >= 1
        assert daemon.terminate() == 0


def test_a_lock_on_the_heartbeats_table_does_not_hold_up_commits(
    hub: SimulatedHub, database: str, sql: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    """G12. Long enough for three heartbeats: the third failure must not cost the connection either."""
    stored = "SELECT count(*) FROM ingest.raw_event"
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        eventually(lambda: sql("SELECT 1 FROM ingest.watermark"), within=20)
        owner = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
        before = sql(owner)
        with psycopg.connect(libpq_url(database)) as rival:
            rival.execute("LOCK TABLE ingest.heartbeat IN ACCESS EXCLUSIVE MODE")
            began = since = time.monotonic()
            count, longest = sql(stored), 0.0
            while time.monotonic() < began + 16:
                time.sleep(0.02)
                now, later = time.monotonic(), sql(stored)
                if later != count:
                    longest, since, count = max(longest, now - since), now, later
        with capsys.disabled():
            print(f"\nheartbeat's table locked for 16 s: longest pause between commits {longest:.2f} s")
        assert longest < 1.5
        assert sql(owner) == before
        assert daemon.events("commit_delayed") == []
        assert daemon.terminate() == 0


@pytest.mark.timeout(120)
def test_a_database_that_is_slow_for_each_row_gets_everything_in_smaller_batches(
    database: str, sql: Query, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No statement is above its deadline, but the transaction is, so the guard cuts the connection."""
    deadlines = {
        "INGESTOR_DATABASE__LOCK_DEADLINE_SECONDS": "1",
        "INGESTOR_DATABASE__STATEMENT_DEADLINE_SECONDS": "2",
        "INGESTOR_DATABASE__TRANSACTION_DEADLINE_SECONDS": "2",
    }
    config = HubConfig(journal_path=journal, journal_fsync=False, seed=5)
    with (
        SimulatedHub(config) as hub,
        Daemon(environment(hub.url, database, hub.config.api_key, **deadlines)) as daemon,
    ):
        eventually(lambda: sql("SELECT 1 FROM ingest.watermark"), within=20)
        with psycopg.connect(libpq_url(database), autocommit=True) as owner:
            owner.execute(SLOW)
        hub.burst(600, records_per_frame=600)
        hub.settle()
        newest = hub.account.sequence
        reached = "SELECT 1 FROM ingest.watermark WHERE kind = 'balances' AND sequence >= %s"
        eventually(lambda: sql(reached, newest), within=90, every=0.1)
        halved = daemon.events("batch_halved")
        assert daemon.terminate() == 0
    verdict = judge(journal, libpq_url(database), ACCOUNT)
    with capsys.disabled():
        print(f"\nslow for each row: {verdict}, halved {[each['items'] for each in halved]}")

    assert any("cut at the transaction's deadline" in each["error"] for each in halved)
    assert (verdict.lost, verdict.covered, verdict.doubled, verdict.invented) == (0, 0, 0, 0)


SLOW = """
    CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_catalog.pg_sleep(0.0025); RETURN NEW; END';
    CREATE TRIGGER slow BEFORE INSERT ON ingest.raw_event FOR EACH ROW EXECUTE FUNCTION public.slow();
    CREATE TRIGGER slow BEFORE INSERT ON ingest.outcome FOR EACH ROW EXECUTE FUNCTION public.slow();
"""
