"""The install with separate roles: one owns, one writes, one reads, and none may do more."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Self

import psycopg
import pytest
from psycopg import sql as composed

import ingestor
from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.postgres.roles import (
    ALL,
    APPENDED,
    AUDITOR,
    CHANGED,
    GRANTS,
    LIMITS,
    LOCKERS,
    MIGRATOR,
    OPERATOR,
    OWNER,
    PRUNER,
    READER,
    ROLES,
    WRITER,
    roles_sql,
)
from ingestor.app.database import upgrade_database
from ingestor.simulator import Fault, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import Daemon, command, environment, surroundings
from tests.support.journal import read_journal
from tests.support.partitions import months_since_2025
from tests.support.postgres import drop_database, libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

ROOT = Path(ingestor.__file__).parents[1]
LIMITED = {"alice": READER, "auditor": AUDITOR}
MEMBERS = {**LIMITED, "operator": OPERATOR}
"""People, each in a group."""
WHO = {**{role: role for role in (WRITER, PRUNER)}, **MEMBERS}
"""Who logs in, and the role whose privileges that shows."""

WRITTEN = {*APPENDED, *CHANGED}
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
ATTEMPTS = {
    "SELECT": "SELECT 1 FROM {} LIMIT 1",
    "INSERT": "INSERT INTO {} SELECT * FROM {} WHERE false",
    "UPDATE": "UPDATE {} SET account = account WHERE false",
    "DELETE": "DELETE FROM {} WHERE false",
    "TRUNCATE": "TRUNCATE {}",
}
CLOSED = (
    "CREATE TABLE {schema}.mine ()",
    "CREATE FUNCTION {schema}.mine() RETURNS int LANGUAGE sql RETURN 1",
    "CREATE TEMPORARY TABLE mine (id int)",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "SELECT lo_create(0)",
    "SELECT lo_from_bytea(0, 'x')",
    "DROP VIEW report.gap",
    "DO $$ BEGIN LOCK TABLE report.gap IN SHARE MODE; END $$",
    "SET ROLE ingestor_owner",
)
"""What none of them may do."""
LOCKS = (
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT pg_advisory_lock_shared(1)",
    "SELECT pg_try_advisory_lock(1)",
    "SELECT pg_try_advisory_lock(1, 1)",
    "SELECT pg_try_advisory_xact_lock_shared(1)",
)


def as_role(url: str, role: str) -> str:
    return url.replace("//postgres@", f"//{role}@")


@pytest.fixture
def installed(empty_database: str, postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A database with roles as the guide makes it, and people; gives the superuser's URL. Roles belong to the
    whole server."""
    people = [composed.Identifier(name) for name in MEMBERS]
    with psycopg.connect(libpq_url(empty_database), autocommit=True) as admin:
        admin.execute(roles_sql().encode())
        made = composed.SQL("CREATE ROLE {} LOGIN IN ROLE {}")
        for person, group in zip(people, MEMBERS.values(), strict=True):
            admin.execute(made.format(person, composed.Identifier(group)))
        name = admin.info.dbname
    yield empty_database
    drop_database(postgres_server, name)
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as admin:
        for role in (*map(composed.Identifier, ROLES), *people):
            admin.execute(composed.SQL("DROP ROLE {}").format(role))


@pytest.fixture
def granted(installed: str) -> str:
    """The same with the schema, and with the grants, twice: once by the command."""
    upgrade_database(as_role(installed, MIGRATOR))
    with psycopg.connect(libpq_url(installed), autocommit=True) as admin:
        admin.execute(roles_sql().encode())
    done = command("db", "roles", "--apply", env=surroundings() | {"INGESTOR_DATABASE__URL": installed})
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return installed


@pytest.fixture
def sql(granted: str) -> Iterator[Query]:
    with psycopg.connect(libpq_url(granted), autocommit=True) as connection:
        yield lambda statement, *values: connection.execute(statement, values).fetchall()


def declared(role: str, schema: str, name: str) -> set[str]:
    """The privileges of a role on a table or view, as the one list of grants has them."""
    return {
        privilege
        for grant in GRANTS
        if role in grant.roles and grant.schema == schema and (name in grant.names or ALL in grant.names)
        for privilege in grant.privileges
    }


def test_the_catalogue_has_exactly_the_declared_privileges(sql: Query) -> None:
    found = sql(
        "SELECT r.role, n.nspname, c.relname, coalesce(array_agg(privilege) "
        "  FILTER (WHERE has_table_privilege(r.role, c.oid, p.privilege)), '{}') "
        "FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace "
        "CROSS JOIN unnest(%s::text[]) AS r(role) CROSS JOIN unnest(%s::text[]) AS p(privilege) "
        "WHERE n.nspname IN ('ingest', 'report') AND c.relkind IN ('r', 'v') GROUP BY 1, 2, 3",
        *(list(WHO), list(PRIVILEGES)),
    )
    assert {name for _, schema, name, _ in found if schema == "ingest"} >= WRITTEN
    for role, schema, name, has in found:
        assert set(has) == declared(WHO[role], schema, name), (role, schema, name)
    owners = sql(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'ingest'::regnamespace "
        "OR relnamespace = 'report'::regnamespace"
    )
    assert owners == [(OWNER,)]


@pytest.mark.parametrize("who", WHO)
def test_what_is_declared_works_and_all_else_is_refused(who: str, granted: str, sql: Query) -> None:
    objects = sql(
        "SELECT relnamespace::regnamespace::text, relname, relkind = 'v' FROM pg_class "
        "WHERE relkind IN ('r', 'v') AND relnamespace IN ('ingest'::regnamespace, 'report'::regnamespace) "
        "AND relname <> 'alembic_version'"
    )
    with psycopg.connect(libpq_url(as_role(granted, who)), autocommit=True) as connection:
        for schema, name, is_view in objects:
            allowed = declared(WHO[who], schema, name)
            tried = ATTEMPTS if schema == "ingest" and not is_view else {"SELECT": ATTEMPTS["SELECT"]}
            for privilege, attempt in tried.items():
                place = composed.Identifier(schema, name)
                statement = composed.SQL(attempt).format(*[place] * attempt.count("{}"))
                if privilege in allowed:
                    connection.execute(statement)
                else:
                    with pytest.raises(psycopg.errors.InsufficientPrivilege):
                        connection.execute(statement)
        for schema in ("ingest", "report", "public"):
            for attempt in CLOSED:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(attempt.format(schema=schema).encode())
        for attempt in LOCKS:
            if WHO[who] in LOCKERS:
                connection.execute(attempt.encode())
            else:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(attempt.encode())


@pytest.mark.parametrize("who", LIMITED)
def test_a_member_of_a_group_has_its_limits(who: str, granted: str) -> None:
    with psycopg.connect(libpq_url(as_role(granted, who)), autocommit=True) as connection:
        for name, limit in LIMITS.items():
            # As the server writes it: 60s is 1min there.
            shown = connection.execute("SELECT current_setting(%s)", (name,)).fetchall()
            assert shown == [({"60s": "1min"}.get(limit, limit),)], name
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SET temp_file_limit = -1")


def test_every_function_of_report_answers_an_analyst(granted: str, sql: Query) -> None:
    """With the owner's rights, though each reads what only the private schema has."""
    functions = sql(
        "SELECT proname, ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes::oid[]) AS a (t)) "
        "FROM pg_proc WHERE pronamespace = 'report'::regnamespace AND proretset "
        "AND proname <> 'decoded_event'"
    )
    values = {
        "date": "'2025-03-01'",
        "text": "'UTC'",
        "interval": "'1 day'",
        "timestamp with time zone": "'2025-03-01'",
        "timestamp with time zone[]": "'{2025-03-01}'",
    }
    calls = [
        f"SELECT * FROM report.{name}({', '.join(values[each] for each in types)})"
        for name, types in functions
    ]
    assert len(calls) > 10
    with psycopg.connect(libpq_url(as_role(granted, "alice")), autocommit=True) as analyst:
        for call in calls:
            analyst.execute(call.encode())


def test_the_daemon_needs_no_more_than_it_is_granted(hub: SimulatedHub, granted: str, sql: Query) -> None:
    """A life with all in it that is written: resets, dead letters, gaps, floods, restarts. No clock steps.
    Its operator, who discards the dead letters, has the daemon's role."""
    env = environment(hub.url, as_role(granted, WRITER), hub.config.api_key)
    with Daemon(env) as daemon:
        eventually(lambda: sql("SELECT 1 FROM ingest.request HAVING count(ended_at) >= 2"), within=20)
        hub.inject(Fault.GARBAGE, count=1)
        hub.burst(1_000)
        eventually(lambda: sql("SELECT 1 FROM ingest.dead_letter"))
        assert command("dead-letters", "discard", "--all", "--reason", "seen", env=env).returncode == 0
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
    written = {table for table in WRITTEN if sql(f"SELECT 1 FROM ingest.{table} LIMIT 1")}
    assert written == WRITTEN - {"clock_step"}


def test_a_batch_that_fails_puts_no_statement_into_the_servers_log(
    hub: SimulatedHub, granted: str, sql: Query, postgres_server: EmbeddedPostgres
) -> None:
    """The disk that is full may be the one with the log."""
    env = environment(hub.url, as_role(granted, WRITER), hub.config.api_key)
    with Daemon(env) as daemon, psycopg.connect(libpq_url(granted), autocommit=True) as admin:
        eventually(lambda: sql("SELECT 1 FROM ingest.watermark"), within=20)
        admin.execute(
            "CREATE FUNCTION ingest.fail() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RAISE EXCEPTION USING ERRCODE = '53100', MESSAGE = 'no room'; END $$"
        )
        before = len(postgres_server.log_file.read_bytes())
        admin.execute("CREATE TRIGGER fail BEFORE INSERT ON ingest.raw_event EXECUTE FUNCTION ingest.fail()")
        logged = eventually(
            lambda: (
                text
                if (text := postgres_server.log_file.read_text()[before:]).count("ERROR:  no room") >= 3
                else ""
            ),
            within=20,
        )
        admin.execute("DROP TRIGGER fail ON ingest.raw_event")
        assert daemon.terminate() == 0
    assert "STATEMENT:" not in logged
    assert len(logged) < 1_500


def test_an_operator_pauses_an_account_and_the_daemon_reads_it(
    hub: SimulatedHub, granted: str, sql: Query
) -> None:
    env = environment(hub.url, as_role(granted, WRITER), hub.config.api_key)
    with Daemon(env) as daemon:
        eventually(lambda: daemon.events("link_up"), within=30)
        asked = command("pause", env=env | {"INGESTOR_DATABASE__URL": as_role(granted, "operator")})
        assert (asked.returncode, asked.stderr) == (0, "")
        eventually(lambda: daemon.events("link_paused"), within=10)
        assert command("resume", env=env).returncode == 0
        eventually(lambda: daemon.events("link_resumed"), within=10)
        assert daemon.terminate() == 0, daemon.log()
    sent = sql("SELECT signal, sent_by FROM ingest.signal ORDER BY sent_at")
    assert sent == [("pause", "operator"), ("resume", WRITER)]


def test_a_check_reads_back_as_an_analyst(hub: SimulatedHub, granted: str, sql: Query) -> None:
    """What the daemon's role can read, an analyst may not be able to."""
    env = environment(hub.url, as_role(granted, WRITER), hub.config.api_key)
    well = stored(env, 0)
    assert f"read as {READER}" in well["what"]
    assert "rolled back" in well["what"]

    with psycopg.connect(libpq_url(granted), autocommit=True) as admin:
        admin.execute(f"REVOKE SELECT ON report.request FROM {READER}".encode())
    closed = stored(env, 78)
    assert "permission denied" in closed["what"]
    assert "`ingestor db roles`" in closed["fix"]
    assert sql("SELECT count(*) FROM ingest.account") == [(0,)]


def stored(env: dict[str, str], code: int) -> dict[str, str]:
    done = command("check", "--json", env=env)
    assert done.returncode == code, done.stdout + done.stderr
    (found,) = [each for each in json.loads(done.stdout)["findings"] if each["name"] == "stored"]
    return dict(found)


def test_a_check_names_what_the_role_lacks(hub: SimulatedHub, granted: str) -> None:
    with psycopg.connect(libpq_url(granted), autocommit=True) as admin:
        admin.execute(f"REVOKE INSERT ON ingest.gap FROM {WRITER}".encode())
    done = command("check", env=environment(hub.url, as_role(granted, WRITER), hub.config.api_key))
    assert done.returncode == 78
    assert f"FAIL roles          {WRITER} lacks INSERT on ingest.gap  (" in done.stdout
    assert "the output of `ingestor db roles`" in done.stdout


def test_the_daemon_has_no_readers_limits(granted: str) -> None:
    with psycopg.connect(libpq_url(as_role(granted, WRITER)), autocommit=True) as connection:
        for name in LIMITS:
            shown = connection.execute("SELECT source FROM pg_settings WHERE name = %s", (name,)).fetchall()
            assert shown != [("database user",)], name


def test_the_daemon_without_its_grants_names_the_command(hub: SimulatedHub, installed: str) -> None:
    upgrade_database(as_role(installed, MIGRATOR))
    done = command("run", env=environment(hub.url, as_role(installed, WRITER), hub.config.api_key))

    assert done.returncode == 78
    assert "ingestor db roles" in done.stderr


def test_an_analyst_asks_the_questions_of_the_guide(granted: str) -> None:
    questions = (ROOT / "ingestor" / "DATA.md").read_text().partition("<!-- queries")[2]
    queries = re.findall(r"```sql\n(.*?)```", questions.partition("## Words")[0], re.DOTALL)
    assert queries
    with psycopg.connect(libpq_url(as_role(granted, "alice")), autocommit=True) as analyst:
        for query in queries:
            analyst.execute(query.encode())


def test_what_a_superuser_made_passes_to_the_owner(installed: str) -> None:
    """So the migrator can upgrade it."""
    upgrade_database(installed)
    with psycopg.connect(libpq_url(installed), autocommit=True) as admin:
        admin.execute(roles_sql().encode())
    with psycopg.connect(libpq_url(as_role(installed, MIGRATOR)), autocommit=True) as migrator:
        migrator.execute("ALTER TABLE ingest.account ADD COLUMN more int")


def test_without_a_superuser_the_command_says_what_is_left_open(installed: str) -> None:
    upgrade_database(as_role(installed, MIGRATOR))
    with psycopg.connect(libpq_url(installed), autocommit=True) as admin:
        admin.execute("ALTER ROLE alice CREATEROLE")
        for role in (*ROLES, "auditor", "operator"):
            admin.execute(
                composed.SQL("GRANT {} TO alice WITH ADMIN OPTION").format(composed.Identifier(role))
            )
        admin.execute(
            composed.SQL("ALTER DATABASE {} OWNER TO alice").format(composed.Identifier(admin.info.dbname))
        )
        admin.execute("GRANT EXECUTE ON FUNCTION pg_advisory_lock(bigint) TO PUBLIC")
    url = as_role(installed, "alice")
    done = command("db", "roles", "--apply", env=surroundings() | {"INGESTOR_DATABASE__URL": url})

    assert done.returncode == 0, done.stderr
    assert "warning: temp_file_limit of ingestor_analyst is not set" in done.stderr
    assert "warning: readers may call pg_advisory_lock(bigint)" in done.stderr


def test_the_printed_sql_is_what_is_applied() -> None:
    done = command("db", "roles", env=surroundings())
    assert (done.returncode, done.stdout) == (0, roles_sql())


BACK = """
    DO $$
    DECLARE changed record;
    BEGIN
        FOR changed IN
            SELECT c.oid::regclass AS name,
                string_agg(format('%1$I = %1$I - interval ''60 days''', a.attname), ', ') AS moved
            FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
            WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind IN ('r', 'p')
              AND NOT c.relispartition AND a.atttypid = 'timestamptz'::regtype
            GROUP BY c.oid
        LOOP
            EXECUTE format('UPDATE %s SET %s', changed.name, changed.moved);
        END LOOP;
    END $$
"""
"""All that is stored, as if it had been 60 days ago."""
GAP_OPEN = "SELECT session_id, ordinal FROM ingest.gap WHERE kind = 'undecodable' AND ended_at IS NULL"
THEN = "SELECT to_char(max(received_at), 'YYYY-MM') FROM ingest.raw_event"
RECORDS = "SELECT count(*) FROM ingest.raw_event"
FRESH = "SELECT count(*) FROM ingest.raw_event WHERE received_at > now() - interval '1 day'"
DAYS = ("retention.duplicates_days=2", "retention.records_days=2", "retention.requests_days=2")


@pytest.fixture
def in_months(granted: str) -> Iterator[Query]:
    """Records in partitions, as the migrator makes them; gives what runs SQL as a superuser."""
    env = surroundings() | {"INGESTOR_DATABASE__URL": as_role(granted, PRUNER)}
    refused = command("db", "partition", "--yes", env=env)
    assert (refused.returncode, "ingestor-migrator" in refused.stderr) == (78, True)
    made = command(
        "db", "partition", "--yes", "--json", env=env | {"INGESTOR_DATABASE__URL": as_role(granted, MIGRATOR)}
    )
    assert made.returncode == 0, made.stderr
    assert len(json.loads(made.stdout)["months"]) == 12
    with psycopg.connect(libpq_url(granted), autocommit=True) as admin:

        def change(statement: str, *values: object) -> list[tuple[Any, ...]]:
            cursor = admin.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

        months_since_2025(change)
        change(roles_sql())
        yield change


@pytest.mark.timeout(240)
def test_the_pruner_removes_old_rows_while_the_daemon_writes(
    hub: SimulatedHub,
    journal: Path,
    granted: str,
    in_months: Query,
    sql: Query,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """With records in months, a gap that stays open, and a statement of what was then; I1 and I2 hold."""
    env = environment(hub.url, as_role(granted, WRITER), hub.config.api_key)
    as_pruner = env | {"INGESTOR_DATABASE__URL": as_role(granted, PRUNER)}
    as_admin = env | {"INGESTOR_DATABASE__URL": granted}
    prune = ("db", "prune", "--yes", "--json", *(word for each in DAYS for word in ("--set", each)))
    with Daemon(env) as daemon:
        eventually(lambda: sql("SELECT 1 FROM ingest.request HAVING count(ended_at) >= 2"), within=20)
        hub.burst(1_000)
        eventually(lambda: sql(RECORDS) > [(1_000,)], within=20)
        hub.inject(Fault.COMMAND_SILENCE, count=None)
        hub.inject(Fault.GARBAGE, count=1)
        eventually(lambda: sql(GAP_OPEN), within=20)
        assert daemon.terminate() == 0
    in_months(BACK)
    ((month,),) = sql(THEN)
    file = f"SELECT pg_relation_filenode('ingest.raw_event_{month.replace('-', '')}')::bigint"
    ((records,),) = sql(RECORDS)
    evidence, proof, old_file = sql(GAP_OPEN), proof_of(as_admin, month), sql(file)

    with Daemon(env) as daemon, Waits(libpq_url(granted)) as waits, ThreadPoolExecutor(1) as pool:
        eventually(lambda: sql(FRESH) > [(20,)], within=20)
        flood = pool.submit(hub.burst, 3_000)
        done = command(*prune, env=as_pruner)
        flood.result()
        eventually(lambda: sql(FRESH) > [(3_020,)], within=60)
        assert set(evidence) <= set(sql(GAP_OPEN)), "it was open all the time"
        hub.clear_faults()
        hub.settle()
        assert daemon.terminate() == 0

    assert done.returncode == 0, done.stderr
    gone = json.loads(done.stdout)["rows"]
    with capsys.disabled():
        print(f"\npruned {gone} of {records} records; longest wait for a lock {waits.longest:.3f} s")
    assert gone["raw_event"] > 1_000
    assert waits.longest < 1
    assert sql(file) != old_file, "the month was emptied at once"
    assert sql("SELECT * FROM report.unaccounted") == []
    ((fresh,),) = sql(FRESH)
    assert sql(RECORDS) == [(records - gone["raw_event"] + fresh,)]
    for session, ordinal in evidence:
        assert sql(f"{RECORDS} WHERE session_id = %s AND ordinal = %s", session, ordinal) == [(1,)]
    assert proof_of(as_admin, month) == proof
    assert not any(json.loads(command(*prune, env=as_pruner).stdout)["rows"].values())
    sent = [each for each in read_journal(journal).records if each.handed is not None]
    newest = max(sent, key=lambda each: each.time).connection
    stored = {hashlib.sha256(raw).hexdigest() for (raw,) in sql("SELECT raw FROM ingest.record")}
    assert len([each for each in sent if each.connection == newest]) > 3_000
    assert {each.sha256 for each in sent if each.connection == newest} <= stored


def proof_of(env: dict[str, str], month: str) -> str:
    """The figures that prove a statement, as it prints them."""
    done = command("statement", "--month", month, "--zone", "UTC", "-o", "-", env=env)
    assert done.returncode == 0, done.stderr
    proof = done.stdout.partition("<dt>Snapshots that became state")[2].partition("<dt>Written by")[0]
    assert "<code>" in proof
    return proof


class Waits:
    """How long anybody waits for a lock, looked at all the time while the block runs."""

    def __init__(self, url: str) -> None:
        self.longest = 0.0
        self._url = url
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def _look(self) -> None:
        waits = b"SELECT max(extract(epoch FROM clock_timestamp() - waitstart))::float8 FROM pg_locks"
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._ended.wait(0.01):
                ((seconds,),) = connection.execute(waits).fetchall()
                self.longest = max(self.longest, seconds or 0.0)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
