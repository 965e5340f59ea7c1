"""Commands that only read: what they print, and that they leave everything as it was."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestor.simulator import SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import Daemon, command, environment
from tests.support.documents import document_of
from tests.support.postgres import libpq_url, postgres_directory, server_under_test
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

NOBODY_LISTENS = "http://127.0.0.1:1/hub"
READ_COMMANDS = [("status",), ("db", "status"), ("check",)]


@pytest.fixture
def directory() -> Iterator[Path]:
    """Where a private Postgres could be made: the account that runs it can pass through what lies above."""
    with postgres_directory() as above:
        above.chmod(0o711)
        yield above / "postgres"


def private(directory: Path, hub_url: str = NOBODY_LISTENS, **more: str) -> dict[str, str]:
    """The environment of an ingestor that has no server but its own."""
    env = environment(hub_url, "", "a-key", INGESTOR_DATABASE__EMBEDDED_DIRECTORY=str(directory), **more)
    del env["INGESTOR_DATABASE__URL"]
    return env


def findings(printed: str) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in json.loads(printed)["findings"]}


@pytest.mark.parametrize("read_command", READ_COMMANDS)
def test_a_read_only_command_makes_no_private_postgres(
    read_command: tuple[str, ...], directory: Path
) -> None:
    done = command(*read_command, env=private(directory))

    assert done.returncode == 69
    assert "`ingestor run` or `ingestor db upgrade` creates it" in done.stdout + done.stderr
    assert not directory.exists()


@pytest.mark.parametrize("read_command", READ_COMMANDS)
def test_a_read_only_command_leaves_a_private_postgres_at_its_schema(
    read_command: tuple[str, ...], directory: Path
) -> None:
    with server_under_test(directory) as server:
        server.ensure_database()
    done = command(*read_command, env=private(directory))

    assert done.returncode == 78
    assert "ingestor db upgrade" in done.stdout + done.stderr
    with server_under_test(directory) as server, psycopg.connect(server.dsn()) as connection:
        assert connection.execute("SELECT to_regnamespace('ingest')").fetchone() == (None,)


def test_an_upgrade_makes_the_private_postgres(directory: Path) -> None:
    env = private(directory)
    made = command("db", "upgrade", "--json", env=env)
    assert made.returncode == 0, made.stderr
    done = document_of("db upgrade", made.stdout)
    assert (done["found"], done["done"][0][:4]) == (None, "0001")

    state = command("db", "status", "--json", env=env)
    assert document_of("db status", state.stdout)["fits"]
    assert "nothing to do" in command("db", "upgrade", env=env).stdout


def test_before_the_first_run_check_says_who_makes_the_database(directory: Path, hub: SimulatedHub) -> None:
    done = command(
        "check", "--json", env={**private(directory, hub.url), "HERCLE_API_KEY": hub.config.api_key}
    )

    assert done.returncode == 0, done.stdout
    for name in ("database", "schema"):
        finding = findings(done.stdout)[name]
        assert finding["ok"]
        assert "`ingestor run`" in finding["fix"]


def test_check_gives_every_failure_a_fix_of_its_own(database: str) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    done = command("check", "--json", env=environment(NOBODY_LISTENS, nowhere, "a-key"))

    failed = [each for each in findings(done.stdout).values() if not each["ok"]]
    assert {each["name"] for each in failed} == {"connection", "database"}
    assert all(each["fix"] and "above" not in each["fix"] for each in failed)


def test_check_lists_every_invalid_setting_as_a_finding(tmp_path: Path) -> None:
    wrong = {"INGESTOR_LOG__LEVEL": "loud", "INGESTOR_INBOX__MAX_RECORDS": "0"}
    done = command("check", "--json", env=private(tmp_path, **wrong))

    assert done.returncode == 78
    document = json.loads(done.stdout)
    assert not document["ok"]
    assert [each["name"] for each in document["findings"]] == ["configuration", "configuration"]
    assert {each["what"].partition(":")[0] for each in document["findings"]} == {
        "log.level",
        "inbox.max_records",
    }
    assert all("expected:" in each["fix"] for each in document["findings"])


def test_check_lists_a_missing_file_as_a_finding(tmp_path: Path) -> None:
    done = command("check", "--json", "--config", "/nonexistent/x.toml", env=private(tmp_path))

    assert done.returncode == 78
    assert "/nonexistent/x.toml" in findings(done.stdout)["configuration"]["what"]
    assert "--config" in findings(done.stdout)["configuration"]["what"]
    assert "ingestor config example" in findings(done.stdout)["configuration"]["fix"]


@pytest.mark.parametrize("state", ["missing", "stopped", "running"])
def test_json_is_one_document_and_nothing_else(state: str, directory: Path, hub: SimulatedHub) -> None:
    """Also if something is logged meanwhile, at the level that logs everything."""
    env = private(directory, hub.url, INGESTOR_LOG__LEVEL="debug") | {"HERCLE_API_KEY": hub.config.api_key}
    if state == "stopped":
        assert command("db", "upgrade", env=env).returncode == 0
    if state == "running":
        with Daemon(env) as daemon:
            eventually(lambda: daemon.events("batch_committed"), within=30)
            _one_document_each(env)
            assert daemon.terminate() == 0
    else:
        _one_document_each(env)


def _one_document_each(env: dict[str, str]) -> None:
    for words in (*READ_COMMANDS, ("check", "--config-only")):
        done = command(*words, "--json", env=env)
        assert isinstance(json.loads(done.stdout), dict), words


def test_a_failure_in_json_is_a_document_too() -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    done = command("status", "--json", env=environment(NOBODY_LISTENS, nowhere, "a-key"))

    document = document_of("failure", done.stdout)
    assert document["exit_code"] == done.returncode == 69
    assert "cannot be reached" in document["error"]
    assert any(line.startswith("fix: ") for line in document["advice"])
    assert document["error"] in done.stderr


def test_a_demo_in_json_is_one_document(tmp_path: Path) -> None:
    done = command("demo", "--for", "3", "--json", env=private(tmp_path, INGESTOR_LOG__LEVEL="debug"))
    assert document_of("demo", done.stdout)["unaccounted"] == 0


def state(env: dict[str, str]) -> str:
    found: str = json.loads(command("status", "--json", env=env).stdout)["daemon"]
    return found


def test_a_frozen_daemon_is_told_from_one_that_runs_and_one_that_died(
    hub: SimulatedHub, database: str, sql: Query
) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env) as daemon:
        eventually(lambda: sql("SELECT 1 FROM ingest.heartbeat"), within=20)
        assert state(env) == "running"

        os.kill(daemon.process.pid, signal.SIGSTOP)
        eventually(lambda: state(env) == "frozen", within=40)
        assert "problem   the daemon is frozen" in command("status", env=env).stdout
        daemon.kill()
        eventually(lambda: state(env) == "silent", within=20)


@pytest.mark.parametrize("sqlstate", ["53100", "55P03"])
def test_a_daemon_whose_database_takes_no_writes_runs_and_does_not_write(
    sqlstate: str, hub: SimulatedHub, database: str, sql: Query
) -> None:
    """A full disk costs it the session each time; what another session has locked does not."""
    tables = ("heartbeat", "raw_event", "session", "request")
    raises = f"RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = 'no'"
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env) as daemon, psycopg.connect(libpq_url(database), autocommit=True) as admin:
        eventually(lambda: sql("SELECT 1 FROM ingest.heartbeat"), within=20)
        admin.execute(
            "CREATE FUNCTION ingest.fail() RETURNS trigger LANGUAGE plpgsql "
            f"AS $$ BEGIN {raises}; END $$".encode()
        )
        for table in tables:
            on = f"ON ingest.{table} EXECUTE FUNCTION ingest.fail()"
            admin.execute(f"CREATE TRIGGER fail BEFORE INSERT OR UPDATE {on}".encode())
        eventually(lambda: daemon.events("commit_delayed"), within=20)
        eventually(lambda: state(env) == "not_writing", within=40)
        problem = "problem   the daemon runs and has written nothing for "
        assert problem in command("status", env=env).stdout

        for table in tables:
            admin.execute(f"DROP TRIGGER fail ON ingest.{table}".encode())
        eventually(lambda: state(env) == "running", within=20)
        assert daemon.terminate() == 0
