"""The same statements on Citus, with the tables distributed by account as the operator's guide says.

`INGESTOR_TEST_CITUS` is a libpq URL: a coordinator with two or more workers, a database with the extension
and without our schemas, a role that may make them. They are removed afterwards.
"""

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from msgspec.structs import replace

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.session import DatabaseSession
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.app.database import upgrade_database
from ingestor.domain.errors import RowRejected, TooSlow, WatermarkConflict
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.rows import BalanceRow
from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.support.batches import advanced, batch, events, first, following, moved
from tests.support.daemon import ROOT, Daemon, command, environment
from tests.support.oracle import judge
from tests.support.rows import Query
from tests.support.waiting import eventually

URL = os.environ.get("INGESTOR_TEST_CITUS", "")

pytestmark = pytest.mark.skipif(not URL, reason="INGESTOR_TEST_CITUS names no Citus coordinator")

ONE_ON_EACH_WORKER = """
    SELECT min(name)
    FROM generate_series(1, 100) AS n
    CROSS JOIN LATERAL (SELECT 'account-' || n AS name) AS accounts
    JOIN pg_dist_placement AS p ON p.shardid = get_shard_id_for_distribution_column('ingest.account', name)
    GROUP BY p.groupid
    ORDER BY p.groupid
    LIMIT 2
"""
RECORDS = "SELECT count(*) FROM ingest.raw_event WHERE account = %s"


@pytest.fixture(scope="module")
def distributed() -> Iterator[Query]:
    """Our schema, with the statements of the guide; gives plain SQL on the coordinator."""
    guide = (ROOT / "deploy" / "README.md").read_text()
    statements = re.search(r"^## Citus$.*?^```sql\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    assert statements
    with psycopg.connect(URL, autocommit=True) as connection:

        def query(statement: str, *values: object) -> list[tuple[object, ...]]:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

        assert query("SELECT to_regnamespace('ingest')") == [(None,)], "the database is in use"
        try:
            upgrade_database(URL)
            query(statements[1])
            yield query
        finally:
            query("DROP SCHEMA IF EXISTS report, ingest CASCADE")


def test_two_accounts_on_two_workers_lose_nothing(distributed: Query, tmp_path: Path) -> None:
    accounts = [str(name) for (name,) in distributed(ONE_ON_EACH_WORKER)]
    assert len(accounts) == 2, "two workers are needed"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: live(name, tmp_path / name), accounts))
    for name in accounts:
        verdict = judge(tmp_path / name, URL, name)
        print(f"\n{name}: {verdict}")
        assert verdict.stored > 3_000
        assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)
        assert distributed("SELECT * FROM report.balance_current WHERE account = %s", name)
    assert distributed("SELECT * FROM ingest.outcome WHERE outcome = 'quarantined'") == []
    assert distributed("SELECT * FROM report.unaccounted") == []
    for (view,) in distributed("SELECT viewname FROM pg_views WHERE schemaname = 'report'"):
        distributed(f"SELECT * FROM report.{view}")
        distributed(f"SELECT * FROM report.{view} WHERE account = %s", accounts[0])


def live(account: str, journal: Path) -> None:
    """A daemon's life: single events, many at once, a lost connection, a stop in good order."""
    config = HubConfig(changes_per_second=20, journal_path=journal, journal_fsync=False)
    with SimulatedHub(config) as hub, psycopg.connect(URL, autocommit=True) as connection:

        def records() -> int:
            ((count,),) = connection.execute(RECORDS, (account,)).fetchall()
            return int(count)

        env = environment(hub.url, URL, config.api_key, INGESTOR_ACCOUNT=account)
        with Daemon(env) as daemon:
            eventually(lambda: records() > 20, within=30)
            hub.burst(3_000)
            hub.inject(Fault.RST)
            eventually(lambda: hub.connections_seen == 2, within=20)
            before = max(records(), 3_020)
            eventually(lambda: records() > before, within=60)
            eventually(lambda: command("status", env=env).returncode == 0, within=60)
            hub.stop()
            assert daemon.terminate() == 0
            logged = [json.loads(line) for line in daemon.log().splitlines() if line.startswith("{")]
            assert not [each for each in logged if each["level"] in {"error", "critical"}]


def test_what_a_worker_rejects_is_understood(distributed: Query) -> None:
    clock = DatabaseClock()
    session = DatabaseSession(URL, DatabaseTiming(), clock)
    store = PostgresStore(session, "rejections", "custom", "0", clock)
    store.open()
    try:
        store.write(first(3))
        # The guards come before the keys, one part of the statement after the other as it is here.
        with pytest.raises(WatermarkConflict):
            store.write(first(3))
        store.write(following(4, 6))
        with pytest.raises(WatermarkConflict):
            store.write(following(4, 6))
        with pytest.raises(RowRejected):
            store.write(not_a_number(7, 7))
        with pytest.raises(RowRejected):  # the same record twice, in another batch
            store.write(batch(advanced(7, 7), events(6, 7), moved(7, 6)))
        # By COPY, which tells no SQLSTATE: so it is halved, and one record alone never goes by COPY.
        with pytest.raises(TooSlow):
            store.write(not_a_number(7, 300))
        with pytest.raises(RowRejected):
            store.write(not_a_number(7, 7, assets=500))
        store.write(following(7, 300))
        assert distributed(RECORDS, "rejections") == [(300,)]
        (stream,) = store.open().streams.values()
        assert stream.holdings["BTC"].available == Decimal(300)
    finally:
        store.close()


def not_a_number(start: int, last: int, assets: int = 1) -> Batch:
    """A batch with a value that no row may have."""
    rows = events(start, last)
    (balance,) = [row for row in rows if isinstance(row, BalanceRow)][-1:]
    rows += [replace(balance, asset=f"ASSET-{n}", available=Decimal("NaN")) for n in range(assets)]
    return batch(advanced(start, last), rows, moved(last, start - 1))
