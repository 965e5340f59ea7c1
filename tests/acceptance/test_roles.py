"""The install with separate roles: one owns, one writes, one reads, and none may do more."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql as composed

import ingestor
from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.app.database import upgrade_database
from ingestor.simulator import Fault, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import Daemon, command, environment
from tests.support.postgres import drop_database, libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

ROOT = Path(ingestor.__file__).parents[1]
GRANTS = (ROOT / "deploy" / "grants.sql").read_text()
OWNER, WRITER, READER = "ingestor-migrator", "ingestor", "ingestor_analyst"

APPENDED = {
    *("account", "raw_event", "outcome", "version", "balance", "exposure", "exposure_total", "pair"),
    *("epoch", "clock_step"),
}
UNWRITTEN = {"ingest.alembic_version", "ingest.event_outcome", "ingest.known_asset", "ingest.record"}
CHANGED = {"session", "watermark", "gap", "confirmation", "request", "dead_letter", "heartbeat"}


def as_role(url: str, role: str) -> str:
    return url.replace("//postgres@", f"//{role}@")


@pytest.fixture
def installed(empty_database: str, postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A database as the guide makes it; gives the superuser's URL. Roles belong to the whole server."""
    roles = [composed.Identifier(role) for role in (OWNER, WRITER, READER)]
    with psycopg.connect(libpq_url(empty_database), autocommit=True) as admin:
        for role in roles:
            admin.execute(composed.SQL("CREATE ROLE {} LOGIN").format(role))
        name = admin.info.dbname
        owned = composed.SQL("ALTER DATABASE {} OWNER TO {}")
        admin.execute(owned.format(composed.Identifier(name), roles[0]))
    yield empty_database
    drop_database(postgres_server, name)
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as admin:
        for role in roles:
            admin.execute(composed.SQL("DROP ROLE {}").format(role))


@pytest.fixture
def granted(installed: str) -> str:
    """The same with the schema, and with the grants, twice."""
    upgrade_database(as_role(installed, OWNER))
    with psycopg.connect(libpq_url(as_role(installed, OWNER)), autocommit=True) as owner:
        owner.execute(GRANTS.encode())
        owner.execute(GRANTS.encode())
    return installed


@pytest.fixture
def sql(granted: str) -> Iterator[Query]:
    with psycopg.connect(libpq_url(granted), autocommit=True) as connection:
        yield lambda statement, *values: connection.execute(statement, values).fetchall()


def test_each_role_has_exactly_the_declared_privileges(sql: Query) -> None:
    privileges = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    found = sql(
        "SELECT r.role, n.nspname || '.' || c.relname, "
        "array_agg(privilege ORDER BY privilege) "
        "  FILTER (WHERE has_table_privilege(r.role, c.oid, p.privilege)) "
        "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "CROSS JOIN unnest(%s::text[]) AS r(role) CROSS JOIN unnest(%s::text[]) AS p(privilege) "
        "WHERE n.nspname IN ('ingest', 'report') AND c.relkind IN ('r', 'v') GROUP BY 1, 2",
        *([WRITER, READER], list(privileges)),
    )
    declared = {
        **{f"ingest.{name}": ["INSERT", "SELECT"] for name in APPENDED},
        **{f"ingest.{name}": ["INSERT", "SELECT", "UPDATE"] for name in CHANGED},
        **{name: ["SELECT"] for name in UNWRITTEN},
        "report.freshness": ["SELECT"],
        "report.sequence_steps": ["SELECT"],
        "report.unaccounted": ["SELECT"],
    }
    assert {name for _, name, _ in found if name.startswith("ingest.")} == {
        name for name in declared if name.startswith("ingest.")
    }
    for role, name, has in found:
        views = ["SELECT"] if name.startswith("report.") else None
        assert has == (views if role == READER else declared.get(name)), (role, name)
    schemas = sql(
        "SELECT role, has_schema_privilege(role, schema, 'CREATE') FROM unnest(%s::text[]) AS r(role), "
        "unnest(ARRAY['ingest', 'report', 'public']) AS s(schema)",
        [WRITER, READER],
    )
    assert not any(may for _, may in schemas)


def test_the_daemon_needs_no_more_than_it_is_granted(hub: SimulatedHub, granted: str, sql: Query) -> None:
    """A life with all in it that is written: resets, dead letters, gaps, floods, restarts. No clock steps."""
    env = environment(hub.url, as_role(granted, WRITER), hub.config.api_key)
    with Daemon(env) as daemon:
        eventually(lambda: sql("SELECT 1 FROM ingest.request HAVING count(ended_at) >= 2"), within=20)
        hub.inject(Fault.GARBAGE, count=1)
        hub.burst(1_000)
        eventually(lambda: sql("SELECT 1 FROM ingest.dead_letter"))
        hub.inject(Fault.SEQUENCE_RESET)
        eventually(lambda: sql("SELECT 1 FROM ingest.confirmation WHERE resolution = 'confirmed'"), within=20)
        hub.inject(Fault.RST)
        eventually(
            lambda: sql("SELECT 1 FROM ingest.gap WHERE ended_at IS NOT NULL AND cause = 'reset'"), within=20
        )
        daemon.kill()
    with Daemon(env) as daemon:
        ended = "SELECT 1 FROM ingest.gap WHERE kind = 'unclean_end' AND ended_at IS NOT NULL"
        eventually(lambda: sql(ended), within=20)
        eventually(lambda: sql("SELECT 1 FROM ingest.heartbeat WHERE link_state = 'up'"))
        status = command("status", "--json", env=env)
        assert daemon.terminate() == 0, daemon.log()

    assert json.loads(status.stdout)["daemon"] == "running"
    written = {table for table in APPENDED | CHANGED if sql(f"SELECT 1 FROM ingest.{table} LIMIT 1")}
    assert written == (APPENDED | CHANGED) - {"clock_step"}


def test_the_daemon_without_its_grants_names_the_file(hub: SimulatedHub, installed: str) -> None:
    upgrade_database(as_role(installed, OWNER))
    done = command("run", env=environment(hub.url, as_role(installed, WRITER), hub.config.api_key))

    assert done.returncode == 78
    assert "deploy/grants.sql" in done.stderr


def test_an_analyst_reads_the_views_and_writes_nothing(granted: str) -> None:
    questions = (ROOT / "ingestor" / "DATA.md").read_text().partition("<!-- queries")[2]
    queries = re.findall(r"```sql\n(.*?)```", questions.partition("## Words")[0], re.DOTALL)
    tables = [composed.Identifier("ingest", name) for name in sorted(APPENDED | CHANGED)]
    with psycopg.connect(libpq_url(as_role(granted, READER)), autocommit=True) as analyst:
        for query in queries:
            analyst.execute(query.encode())
        for table in tables:
            for attempt in (
                "SELECT * FROM {}",
                "INSERT INTO {} DEFAULT VALUES",
                "UPDATE {} SET account = ''",
                "DELETE FROM {}",
                "TRUNCATE {}",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    analyst.execute(composed.SQL(attempt).format(table))
        for attempt in (
            "CREATE TABLE report.mine ()",
            "DROP VIEW report.gap",
            "SELECT ingest.require(true, '')",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                analyst.execute(attempt.encode())
