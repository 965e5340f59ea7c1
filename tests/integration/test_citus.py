"""The same statements on Citus, with the tables distributed by account as the operator's guide says.

`INGESTOR_TEST_CITUS` is a libpq URL: a coordinator with two or more workers, a database with the extension
and without our schemas, a superuser. Our schemas are removed afterwards, and so is the database
`ingestor_reports` that is made beside it, on the same server.
"""

import json
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
from msgspec.structs import replace

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.database_session import DatabaseSession
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
READERS_OF_EVENTS = {
    *("event", "order_executed", "order_snapshot", "pair_price", "request_for_quote", "trade_snapshot"),
    *("transaction_snapshot", "withdrawal_snapshot"),
}
"""The guide says so: Citus carries them out for one account at a time."""

HISTORIES = {"balance_history", "exposure_history", "exposure_total_history", "balance_movements"}
"""The guide says so: to be read on the coordinator, because they take too long beside it."""

HOUR, DAY = "now() - interval '1 hour', now()", "current_date - 1, current_date, 'UTC'"
ARGUMENTS = {
    **dict.fromkeys(
        ("stream_as_of", "balance_as_of", "exposure_as_of", "exposure_total_as_of", "pair_as_of"), "now()"
    ),
    **dict.fromkeys(("coverage", "balance_change", "balance_movements"), HOUR),
    **dict.fromkeys(("coverage_daily", "balance_eod", "vendor_latency_daily"), DAY),
    **dict.fromkeys(("bucket", "balance_bucket"), f"{HOUR}, interval '20 minutes'"),
    "balance_at_each": "ARRAY[now()]",
    "decoded_event": "''::bytea, 0, NULL",
}
RECORDS = "SELECT count(*) FROM ingest.raw_event WHERE account = %s"


REPORTS = "ingestor_reports"


def guide() -> tuple[str, str]:
    """What the operator's guide has run on the coordinator, and in the database for the reports."""
    section = (ROOT / "deploy" / "README.md").read_text().split("\n## Citus\n")[1].split("\n## ")[0]
    first, second = re.findall(r"^```sql\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return first, second


def plain_sql(connection: psycopg.Connection) -> Query:
    def query(statement: str, *values: object) -> list[tuple[object, ...]]:
        cursor = connection.execute(statement.encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    return query


@pytest.fixture(scope="module")
def distributed() -> Iterator[Query]:
    """Our schema, with the statements of the guide; gives plain SQL on the coordinator."""
    with psycopg.connect(URL, autocommit=True) as connection:
        query = plain_sql(connection)
        assert query("SELECT to_regnamespace('ingest')") == [(None,)], "the database is in use"
        try:
            upgrade_database(URL)
            query(guide()[0])
            yield query
        finally:
            query("DROP SCHEMA IF EXISTS report, ingest CASCADE")


@pytest.fixture(scope="module")
def reports(distributed: Query) -> Iterator[Query]:
    """The database for the reports, with the statements of the guide; gives plain SQL in it."""
    distributed(f"CREATE DATABASE {REPORTS}")
    try:
        url = urlsplit(URL)._replace(path=f"/{REPORTS}").geturl()
        upgrade_database(url)
        with psycopg.connect(url, autocommit=True) as connection:
            query = plain_sql(connection)
            coordinator = psycopg.conninfo.conninfo_to_dict(URL)
            statements = guide()[1]
            for example, name in (
                ("'coordinator.example'", "host"),
                ("'5432'", "port"),
                ("'ingestor'", "dbname"),
                ("'ingestor_auditor'", "user"),
                ("'PASSWORD'", "password"),
            ):
                assert statements.count(example) == 1
                statements = statements.replace(example, f"'{coordinator.get(name, '')}'")
            query(statements)
        with psycopg.connect(url, autocommit=True) as connection:
            yield plain_sql(connection)
    finally:
        distributed(f"DROP DATABASE {REPORTS} WITH (FORCE)")


def test_two_accounts_on_two_workers_lose_nothing(distributed: Query, reports: Query, tmp_path: Path) -> None:
    accounts = [str(name) for (name,) in distributed(ONE_ON_EACH_WORKER)]
    assert len(accounts) == 2, "two workers are needed"
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: live(name, tmp_path / name), accounts))
    for name in accounts:
        verdict = judge(tmp_path / name, URL, name)
        print(f"\n{name}: {verdict}")
        assert verdict.stored > 3_000
        assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)
    assert distributed("SELECT * FROM ingest.outcome WHERE outcome = 'quarantined'") == []
    assert distributed("SELECT * FROM report.unaccounted") == []
    answer_on_the_coordinator(distributed, accounts)
    answer_beside_it(reports, distributed, accounts)


def answer_on_the_coordinator(distributed: Query, accounts: list[str]) -> None:
    """Each view, for all accounts and for one of them; those made of report.event for one only."""
    changes = "SELECT count(*) FROM {} WHERE account = %s"
    for account in accounts:
        rows = distributed(changes.format("report.balance_history"), account)
        assert rows == distributed(changes.format("ingest.balance"), account) != [(0,)]
    views: dict[object, object] = dict(
        distributed("""
            SELECT view, bool_or("column" = 'account')
            FROM report.dictionary
            WHERE kind = 'view'
            GROUP BY view
        """)
    )
    for view, has_account in views.items():
        if has_account:
            distributed(f"SELECT v::text FROM report.{view} AS v WHERE account = %s", accounts[0])
        if view not in READERS_OF_EVENTS:
            distributed(f"SELECT v::text FROM report.{view} AS v")


def answer_beside_it(reports: Query, distributed: Query, accounts: list[str]) -> None:
    """Each view and function; what has the same rows on the coordinator has them here too."""
    views = {str(name) for (name,) in reports("SELECT viewname FROM pg_views WHERE schemaname = 'report'")}
    for view in views - HISTORIES:
        reports(f"SELECT v::text FROM report.{view} AS v")
    functions = reports(
        "SELECT DISTINCT split_part(view, '(', 1) FROM report.dictionary WHERE kind = 'function'"
    )
    for function in {str(name) for (name,) in functions} - HISTORIES:
        reports(f"SELECT f::text FROM report.{function}({ARGUMENTS[function]}) AS f")
    for view in ("version", "pair_history", "session", "unaccounted"):
        for account in accounts:
            rows = f"SELECT * FROM report.{view} WHERE account = %s"
            expected = sorted(map(str, distributed(rows, account)))
            assert sorted(map(str, reports(rows, account))) == expected
            assert bool(expected) == (view != "unaccounted")
    for account in accounts:
        totals = "SELECT asset, total FROM report.{} WHERE account = %s ORDER BY asset"
        as_of = reports(totals.format("balance_as_of(now())"), account)
        assert as_of == distributed(totals.format("balance_current"), account) != []
        covered = reports(
            """
            SELECT kind, round(sum(share), 6)
            FROM report.coverage_daily(current_date, current_date, 'UTC')
            WHERE account = %s
            GROUP BY kind
            ORDER BY kind
            """,
            account,
        )
        assert covered == [("balances", 1), ("pairs", 1)]
        # An open gap's durations are those so far.
        gaps = "SELECT kind, cause, missed_from, ended_at FROM report.gap WHERE account = %s ORDER BY 3"
        assert reports(gaps, account) == distributed(gaps, account) != []
        fresh = reports("SELECT kind FROM report.freshness WHERE account = %s ORDER BY kind", account)
        assert fresh == [("balances",), ("pairs",)]
    assert {name for (name,) in reports("SELECT DISTINCT account FROM report.balance_as_of(now())")} == set(
        accounts
    )


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
