"""The same daemon on TimescaleDB, with the tables in chunks as the operator's guide says.

`INGESTOR_TEST_TIMESCALE` is a libpq URL: a database with the extension and without our schemas, a superuser.
Our schemas are removed afterwards. What the guide's statement names is compared with the catalogue anyhow.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ingestor.app.database import upgrade_database
from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.support.daemon import ACCOUNT, ROOT, Daemon, command, environment
from tests.support.oracle import judge
from tests.support.rows import Query
from tests.support.waiting import eventually

URL = os.environ.get("INGESTOR_TEST_TIMESCALE", "")

CHUNKED = {"exposure", "exposure_total", "raw_event", "request"}


def guide() -> str:
    """What the operator's guide has run."""
    section = (ROOT / "deploy" / "README.md").read_text().split("\n## TimescaleDB\n")[1].split("\n## ")[0]
    (statement,) = re.findall(r"^```sql\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return str(statement)


def test_the_tables_of_the_guide_have_their_time_in_every_unique_key(sql: Query) -> None:
    """On any Postgres: a function in the extension's place tells what it is called with."""
    sql("""
        CREATE FUNCTION public.create_hypertable(
            relation regclass, time_column_name name, chunk_time_interval interval,
            create_default_indexes boolean, migrate_data boolean, if_not_exists boolean
        ) RETURNS text LANGUAGE sql RETURN relation || ' ' || time_column_name
    """)
    found = [text.split() for (text,) in sql(guide().replace("%", "%%"))]

    assert {table for table, _ in found} == {f"ingest.{name}" for name in CHUNKED}
    for table, column in found:
        keys = sql(
            "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = %s::regclass AND indisunique",
            table,
        )
        assert keys
        assert all(re.search(rf"\(.*\b{column}\b", key) for (key,) in keys)


@pytest.fixture
def chunked() -> Iterator[Query]:
    """Our schema, with the statement of the guide; gives plain SQL."""
    with psycopg.connect(URL, autocommit=True) as connection:

        def query(statement: str, *values: object) -> list[tuple[object, ...]]:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

        assert query("SELECT to_regnamespace('ingest')") == [(None,)], "the database is in use"
        try:
            upgrade_database(URL)
            query(guide())
            query(guide())  # as after a later upgrade
            yield query
        finally:
            query("DROP SCHEMA IF EXISTS report, ingest CASCADE")


@pytest.mark.skipif(not URL, reason="INGESTOR_TEST_TIMESCALE names no database with TimescaleDB")
def test_a_daemon_loses_nothing_and_old_rows_go(chunked: Query, tmp_path: Path) -> None:
    names = (
        "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_schema = 'ingest'"
    )
    assert {name for (name,) in chunked(names)} == CHUNKED
    records = "SELECT count(*) FROM ingest.raw_event"
    config = HubConfig(changes_per_second=20, journal_path=tmp_path / "journal", journal_fsync=False)
    with SimulatedHub(config) as hub:
        env = environment(hub.url, URL, config.api_key)
        with Daemon(env) as daemon:
            eventually(lambda: chunked(records) > [(20,)], within=30)
            hub.burst(1_000)
            hub.inject(Fault.RST)
            eventually(lambda: hub.connections_seen == 2, within=20)
            eventually(lambda: chunked(records) > [(1_020,)], within=60)
            eventually(lambda: command("status", env=env).returncode == 0, within=60)
            hub.stop()
            assert daemon.terminate() == 0
    verdict = judge(tmp_path / "journal", URL, ACCOUNT)
    assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)
    assert chunked("SELECT * FROM report.unaccounted") == []
    chunked("UPDATE ingest.request SET ended_at = ended_at - interval '9 days' WHERE outcome = 'answered'")
    gone = command("db", "prune", "--yes", "--set", "retention.requests_days=7", env=env)
    assert gone.returncode == 0, gone.stderr
    left = chunked("SELECT count(*) FROM ingest.request WHERE ended_at < now() - interval '7 days'")
    assert left == [(2,)], "the last answer of each kind"
