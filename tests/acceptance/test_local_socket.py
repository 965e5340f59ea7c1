"""A running daemon answers on its local socket, also to those whose database is away."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingestor.simulator import SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, Daemon, command, environment
from tests.support.documents import document_of
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"


@pytest.fixture
def runtime() -> Iterator[Path]:
    """With a short name: the path of a socket may have 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def document(of: str, *words: str, env: dict[str, str], code: int) -> Any:
    """What is printed, after it has been found to be what the schema's type says."""
    done = command(*words, "--json", env=env)
    assert done.returncode == code, done.stdout + done.stderr
    return document_of(of, done.stdout)


def test_status_and_snapshot_ask_the_daemon(
    hub: SimulatedHub, database: str, sql: Query, runtime: Path
) -> None:
    """I17: a snapshot on demand sends the two reads and nothing else."""
    more = {"XDG_RUNTIME_DIR": str(runtime)}
    env = environment(hub.url, database, hub.config.api_key, **more)
    blind = environment(hub.url, NOWHERE, hub.config.api_key, **more)
    with Daemon(env) as daemon:
        eventually(lambda: command("status", env=env).returncode == 0, within=40)

        live = document("status", "status", env=env, code=0)["live"]
        assert (live["account"], live["pid"], live["daemon_status"]["link"]) == (
            ACCOUNT,
            daemon.process.pid,
            "up",
        )

        seen = document("status without-database", "status", env=blind, code=1)
        assert seen["live"]["pid"] == daemon.process.pid
        assert "the database cannot be read: " in seen["problems"][0]
        shown = command("status", env=blind).stdout
        assert f"daemon    answers, pid {daemon.process.pid}" in shown
        assert hub.config.api_key not in shown + json.dumps(seen)

        planned = document("snapshot", "snapshot", env=blind, code=0)["planned"]
        assert planned == ["GetBalances", "GetPairs"]
        on_demand = "SELECT command, outcome FROM ingest.request WHERE cause = 'operator' ORDER BY 1"
        answered = [("GetBalances", "answered"), ("GetPairs", "answered")]
        eventually(lambda: sql(on_demand) == answered, within=20)
        assert set(hub.targets_seen) == {"GetBalances", "GetPairs"}

        assert daemon.terminate() == 0
    assert list((runtime / "ingestor").iterdir()) == []


def test_status_tells_root_what_the_daemon_says_where_root_is_no_role_of_the_database(
    hub: SimulatedHub, database: str, runtime: Path
) -> None:
    """As after the guide's install, where only the daemon's user has a role."""
    more = {"XDG_RUNTIME_DIR": str(runtime)}
    env = environment(hub.url, database, hub.config.api_key, **more)
    stranger = environment(
        hub.url, database.replace("//postgres@", "//stranger@"), hub.config.api_key, **more
    )
    with Daemon(env) as daemon:
        eventually(lambda: command("status", env=env).returncode == 0, within=40)
        seen = document("status without-database", "status", env=stranger, code=0)
        assert seen["problems"] == []
        assert 'role "stranger" does not exist' in seen["database"]
        shown = command("status", env=stranger).stdout
        assert "state     up · sequence " in shown
        assert "database  not read: the database refused our role" in shown

        hub.go_away()
        eventually(lambda: command("status", env=stranger).returncode == 1, within=20)
        assert "problem   link: " in command("status", env=stranger).stdout
        assert daemon.terminate() == 0
    gone = command("status", env=stranger)
    assert (gone.returncode, "does not exist" in gone.stderr) == (77, True)


def test_a_reconnect_ends_a_session_and_a_pause(
    hub: SimulatedHub, database: str, sql: Query, runtime: Path
) -> None:
    """I11: what an operator interrupts is a gap too, which ends once the state is confirmed."""
    more = {"XDG_RUNTIME_DIR": str(runtime)}
    env = environment(hub.url, database, hub.config.api_key, **more)
    with Daemon(env) as daemon:
        eventually(lambda: command("status", env=env).returncode == 0, within=40)
        assert document("reconnect", "reconnect", env=env, code=0) == {"account": ACCOUNT, "asked": True}
        ended = "SELECT 1 FROM ingest.gap WHERE cause = 'reconnect' AND ended_at IS NOT NULL"
        eventually(lambda: sql(ended), within=20)
        assert len(daemon.events("link_up")) == 2
        assert daemon.terminate() == 0


def test_without_a_daemon_a_snapshot_says_so(runtime: Path) -> None:
    env = environment("http://127.0.0.1:1/hub", NOWHERE, "a-key", XDG_RUNTIME_DIR=str(runtime))
    done = command("snapshot", "--json", env=env)

    assert done.returncode == 69
    assert "no daemon" in json.loads(done.stdout)["error"]
    assert str(runtime / "ingestor") in done.stderr


def test_without_a_runtime_directory_the_daemon_runs_all_the_same(hub: SimulatedHub, database: str) -> None:
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        eventually(lambda: daemon.events("daemon_started"), within=30)
        assert not daemon.events("control_listening")
        assert daemon.terminate() == 0
