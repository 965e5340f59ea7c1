"""A database session is ours whatever its surroundings are, and is replaced when it is of no more use."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from psycopg import sql

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.postgres import connecting
from ingestor.adapters.postgres.connecting import Address, DatabaseTiming, backend_pid
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.reading import value
from ingestor.domain.errors import BadConfiguration, Fatal, IngestorError, RowRejected, TooSlow, Transient
from tests.support.postgres import drop_database, libpq_url

pytestmark = pytest.mark.slow

SETTINGS = {
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "search_path": "pg_catalog",
    "lock_timeout": "5s",
    "statement_timeout": "10s",
    "idle_in_transaction_session_timeout": "15s",
    "idle_session_timeout": "0",
    "default_transaction_isolation": "read committed",
    "default_transaction_read_only": "off",
    "default_transaction_deferrable": "off",
}

UNKIND = {
    "client_encoding": "LATIN1",
    "DateStyle": "SQL, DMY",
    "IntervalStyle": "iso_8601",
    "TimeZone": "Asia/Kathmandu",
    "search_path": "nowhere",
    "lock_timeout": "0",
    "statement_timeout": "10",
    "idle_in_transaction_session_timeout": "1",
    "idle_session_timeout": "1000",
    "default_transaction_isolation": "serializable",
    "default_transaction_read_only": "on",
    "default_transaction_deferrable": "on",
}
"""What a DBA may have set; each of these breaks a driver, a deadline or a batch."""


@contextmanager
def session_at(address: Address, timing: DatabaseTiming | None = None) -> Iterator[DatabaseSession]:
    with closing(DatabaseSession(address, timing or DatabaseTiming(), DatabaseClock())) as session:
        yield session


def shown(session: DatabaseSession, names: dict[str, str]) -> dict[str, str]:
    with session.use() as connection:
        return {name: value(connection, "SELECT current_setting($1)", name) for name in names}


def pid(session: DatabaseSession) -> int:
    with session.use() as connection:
        return backend_pid(connection)


def run(session: DatabaseSession, statement: str) -> None:
    with session.use() as connection:
        connection.execute(statement.encode())


@contextmanager
def administrator(server: EmbeddedPostgres) -> Iterator[Callable[[str], object]]:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        yield lambda statement: connection.execute(statement.encode())


@pytest.fixture
def role(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    with administrator(postgres_server) as run_as_admin:
        run_as_admin("CREATE ROLE picky LOGIN")
        yield "picky"
        run_as_admin("DROP ROLE picky")


@pytest.mark.parametrize("where", ["role", "database"])
def test_settings_of_role_or_database_do_not_reach_the_session(
    where: str, postgres_server: EmbeddedPostgres, empty_database: str, role: str
) -> None:
    name = sql.Identifier(str(psycopg.conninfo.conninfo_to_dict(libpq_url(empty_database))["dbname"]))
    target = sql.SQL("ROLE picky") if where == "role" else sql.SQL("DATABASE {}").format(name)
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as admin:
        for setting, kind in UNKIND.items():
            change = sql.SQL("ALTER {} SET {} = {}")
            admin.execute(change.format(target, sql.Identifier(setting), sql.Literal(kind)))
    with session_at(empty_database.replace("//postgres@", f"//{role}@")) as session:
        assert shown(session, SETTINGS) == SETTINGS
        with session.use() as connection:
            assert value(connection, "SELECT 'Ü'") == "Ü"
            assert str(value(connection, "SELECT interval '1 day 2 hours'")) == "1 day, 2:00:00"


def test_settings_of_the_cluster_do_not_reach_the_session(
    durable_postgres: Callable[..., EmbeddedPostgres],
) -> None:
    server = durable_postgres()
    url = server.ensure_database("some")
    with administrator(server) as run_as_admin:
        for name, value in UNKIND.items():
            if name not in {"default_transaction_read_only", "client_encoding"}:
                run_as_admin(f"ALTER SYSTEM SET {name} = '{value}'")
        run_as_admin("SELECT pg_reload_conf()")
    with session_at(url) as session:
        assert shown(session, SETTINGS) == SETTINGS


def test_the_environment_does_not_reach_the_session(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    monkeypatch.setenv("PGOPTIONS", "-c DateStyle=German -c statement_timeout=1")
    monkeypatch.setenv("PGDATESTYLE", "German")
    with session_at(empty_database) as session:
        assert shown(session, SETTINGS) == SETTINGS


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII", "EUC_JP"])
def test_a_database_that_is_not_utf8_is_rejected(
    encoding: str, postgres_server: EmbeddedPostgres, empty_database: str
) -> None:
    name = f"encoded_{encoding.lower()}"
    with administrator(postgres_server) as run_as_admin:
        run_as_admin(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    try:
        with (
            session_at(postgres_server.url(name)) as session,
            pytest.raises(BadConfiguration, match=encoding),
            session.use(),
        ):
            pass
    finally:
        drop_database(postgres_server, name)


def test_options_of_the_url_are_joined(empty_database: str) -> None:
    options = "&options=-c%20synchronous_commit%3Doff%20--plan_cache_mode%3Dforce_generic_plan"
    with session_at(empty_database) as session:
        assert shown(session, {"plan_cache_mode": ""}) == {"plan_cache_mode": "auto"}
    with session_at(f"{empty_database}{options}&application_name=mine") as session:
        wanted = {
            "synchronous_commit": "off",
            "plan_cache_mode": "force_generic_plan",
            "application_name": "mine",
        }
        assert shown(session, wanted) == wanted
        assert shown(session, SETTINGS) == SETTINGS


def test_a_server_that_cannot_watch_its_clients_is_used_all_the_same(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server on Windows rejects any value, as every server does this one."""
    name = "client_connection_check_interval"
    with session_at(empty_database) as session:
        assert shown(session, {name: ""}) == {name: "2s"}
    monkeypatch.setattr(connecting, "_SOME_PLATFORMS_ONLY", (name, "-1"))
    with session_at(empty_database) as session:
        assert shown(session, SETTINGS | {name: "0"}) == SETTINGS | {name: "0"}


@pytest.mark.parametrize(
    ("addition", "name"),
    [
        ("&options=-c%20statement_timeout%3D0", "statement_timeout"),
        ("&options=-cdatestyle%3DGerman", "datestyle"),
        ("&options=--TimeZone%3DEurope/Rome", "timezone"),
        ("&client_encoding=latin1", "client_encoding"),
        ("&replication=database", "replication"),
    ],
)
def test_what_the_url_must_not_set_is_rejected_by_name(empty_database: str, addition: str, name: str) -> None:
    with (
        session_at(empty_database + addition) as session,
        pytest.raises(BadConfiguration, match=name),
        session.use(),
    ):
        pass


def test_a_host_that_has_become_read_only_is_left_for_one_that_takes_writes(
    durable_postgres: Callable[..., EmbeddedPostgres],
) -> None:
    first, second = durable_postgres(), durable_postgres()
    hosts = [
        psycopg.conninfo.conninfo_to_dict(libpq_url(server.ensure_database("pair")))["host"]
        for server in (first, second)
    ]
    address = f"postgresql://postgres@/pair?host={','.join(map(str, hosts))}&port=5432"
    with session_at(address) as session, administrator(first) as run_as_admin:
        run(session, "CREATE TABLE public.here ()")
        run_as_admin("ALTER SYSTEM SET default_transaction_read_only = on")
        run_as_admin("SELECT pg_reload_conf()")
        with pytest.raises(Transient):  # noqa: PT012 - the reload takes a moment
            while True:
                run(session, "CREATE TABLE IF NOT EXISTS public.there ()")
        run(session, "CREATE TABLE IF NOT EXISTS public.there ()")
    with psycopg.connect(second.dsn("pair")) as connection:
        assert connection.execute("SELECT to_regclass('public.there')").fetchone() == ("there",)


def test_a_host_that_is_down_is_passed_over(empty_database: str) -> None:
    host = psycopg.conninfo.conninfo_to_dict(libpq_url(empty_database))
    address = f"postgresql://postgres@/{host['dbname']}?host=127.0.0.1,{host['host']}&port=1,5432"
    with session_at(address) as session:
        assert pid(session)


@pytest.mark.parametrize(
    ("statement", "error", "kept"),
    [
        ("SELECT pg_sleep(60)", TooSlow, True),
        ("DO $$ BEGIN RAISE serialization_failure; END $$", Transient, True),
        ("DO $$ BEGIN RAISE deadlock_detected; END $$", Transient, True),
        ("DO $$ BEGIN RAISE lock_not_available; END $$", Transient, True),
        ("DO $$ BEGIN RAISE check_violation; END $$", RowRejected, True),
        ("DO $$ BEGIN RAISE read_only_sql_transaction; END $$", Transient, False),
        ("DO $$ BEGIN RAISE disk_full; END $$", Transient, False),
        ("DO $$ BEGIN RAISE io_error; END $$", Transient, False),
        ("DO $$ BEGIN RAISE internal_error; END $$", TooSlow, False),
        ("DO $$ BEGIN RAISE program_limit_exceeded; END $$", Transient, False),
        ("SELECT FROM public.nothing", Fatal, True),
    ],
)
def test_an_error_that_the_next_session_may_not_meet_ends_this_one(
    statement: str, error: type[IngestorError], kept: bool, empty_database: str
) -> None:
    with session_at(empty_database, DatabaseTiming(statement_seconds=0.2)) as session:
        before = pid(session)
        with pytest.raises(error):
            run(session, statement)
        assert (pid(session) == before) is kept


def test_the_third_repeat_of_any_error_ends_the_session(empty_database: str) -> None:
    deadlock = "DO $$ BEGIN RAISE deadlock_detected; END $$"
    with session_at(empty_database) as session:
        before = pid(session)
        for _ in range(2):
            with pytest.raises(Transient):
                run(session, deadlock)
        assert pid(session) == before  # and a success in between starts the count anew
        for _ in range(3):
            with pytest.raises(Transient):
                run(session, deadlock)
        assert pid(session) != before


def test_what_is_not_supported_stops_when_a_new_session_does_not_help(empty_database: str) -> None:
    unsupported = "DO $$ BEGIN RAISE feature_not_supported; END $$"
    with session_at(empty_database) as session:
        with pytest.raises(Transient):
            run(session, unsupported)
        with pytest.raises(BadConfiguration):
            run(session, unsupported)


@pytest.mark.parametrize("state", ["54000", "P0001", "39000", "42P01"])
def test_whether_a_row_or_the_server_is_at_fault_is_told_by_a_write_elsewhere(
    state: str, empty_database: str
) -> None:
    raising = f"DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{state}', MESSAGE = 'no'; END $$"
    with session_at(empty_database) as session:
        session.writes = lambda connection: connection.execute("SELECT pg_current_xact_id()")
        with pytest.raises(RowRejected):
            run(session, raising)
        session.writes = lambda connection: connection.execute(raising.encode())
        with pytest.raises(Transient):
            run(session, raising)


def test_the_address_is_asked_at_each_connect(empty_database: str) -> None:
    addresses = []

    def address() -> str:
        addresses.append(1)
        return empty_database

    with session_at(address) as session:
        before = pid(session)
        session.drop()
        assert pid(session) != before
        assert len(addresses) == 2


def test_a_new_session_is_prepared_before_its_first_use_and_again_if_that_failed(empty_database: str) -> None:
    prepared = []

    def prepare(_: object) -> None:
        prepared.append(1)
        if len(prepared) == 1:
            raise Fatal("not yet")

    with session_at(empty_database) as session:
        session.prepare = prepare
        with pytest.raises(Fatal):
            pid(session)
        assert pid(session) == pid(session)
        assert len(prepared) == 2
        session.drop()
        pid(session)
        assert len(prepared) == 3
