"""The daemon's life as systemd and an operator see it: ready, alive, drained, and an exit code that tells."""

import socket
from pathlib import Path

import pytest

from ingestor.simulator import Fault, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, Daemon, command, environment
from tests.support.oracle import judge
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually


def test_sigterm_under_load_commits_what_was_received_and_exits_0(
    hub: SimulatedHub, database: str, sql: Query, journal: Path
) -> None:
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances'"), within=20)
        hub.burst(2_000)
        assert daemon.terminate(10) == 0, daemon.log()

    assert sql("SELECT ending, received = committed_records FROM ingest.session") == [("clean", True)]
    assert sql("SELECT stopped_at IS NOT NULL FROM ingest.heartbeat") == [(True,)]
    verdict = judge(journal, libpq_url(database), ACCOUNT)
    assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)


@pytest.mark.parametrize("fault", [Fault.NEGOTIATE_HANG, Fault.UPGRADE_HANG, Fault.HANDSHAKE_HANG])
def test_sigterm_while_the_hub_hangs_exits_0(fault: Fault, hub: SimulatedHub, database: str) -> None:
    hub.inject(fault, count=None)
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        eventually(lambda: hub.requests["negotiate"], within=20)
        assert daemon.terminate(10) == 0, daemon.log()


def test_sigterm_while_waiting_for_a_hub_that_is_away_exits_0(hub: SimulatedHub, database: str) -> None:
    hub.go_away()
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        eventually(lambda: daemon.events("link_attempt_failed"), within=20)
        assert daemon.terminate(10) == 0, daemon.log()


def test_sigterm_while_waiting_for_a_database_that_is_away_exits_0(hub: SimulatedHub) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    with Daemon(environment(hub.url, nowhere, hub.config.api_key)) as daemon:
        eventually(lambda: daemon.events("database_awaited"), within=20)
        assert daemon.terminate(10) == 0, daemon.log()


def test_systemd_is_told_the_truth(hub: SimulatedHub, database: str, tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(20)
        more = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "2000000"}
        with Daemon(environment(hub.url, database, hub.config.api_key, **more)) as daemon:
            said: list[str] = []
            while "WATCHDOG=1" not in said or not any("up ·" in line for line in said):
                said += notify.recv(4096).decode().splitlines()
            assert said.index("READY=1") < said.index("WATCHDOG=1")
            assert daemon.terminate() == 0
            while "STOPPING=1" not in said:
                said += notify.recv(4096).decode().splitlines()


def test_a_missing_schema_exits_78_and_names_the_command(hub: SimulatedHub, empty_database: str) -> None:
    done = command("run", env=environment(hub.url, empty_database, hub.config.api_key))

    assert done.returncode == 78
    assert "ingestor db upgrade" in done.stderr


def test_a_newer_schema_exits_78(hub: SimulatedHub, database: str, sql: Query) -> None:
    sql("UPDATE ingest.alembic_version SET version_num = '9999' RETURNING 1")
    done = command("run", env=environment(hub.url, database, hub.config.api_key))

    assert done.returncode == 78
    assert "newer" in done.stderr


def test_a_missing_key_exits_78_and_says_where_it_was_looked_for(hub: SimulatedHub, database: str) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    del env["HERCLE_API_KEY"]
    done = command("run", env=env)

    assert done.returncode == 78
    assert "HERCLE_API_KEY" in done.stderr


def test_an_unknown_database_exits_78(hub: SimulatedHub, database: str) -> None:
    base, _, query = database.partition("?")
    elsewhere = f"{base.rpartition('/')[0]}/nowhere?{query}"
    done = command("run", env=environment(hub.url, elsewhere, hub.config.api_key))

    assert done.returncode == 78
    assert "nowhere" in done.stderr


def test_an_account_of_another_environment_is_refused(hub: SimulatedHub, database: str, sql: Query) -> None:
    sql(
        "INSERT INTO ingest.account (account, environment, created_at) "
        "VALUES (%s, 'production', now()) RETURNING 1",
        ACCOUNT,
    )
    done = command("run", env=environment(hub.url, database, hub.config.api_key))

    assert done.returncode == 78
    assert "production" in done.stderr


def test_status_and_check_tell_of_a_running_daemon(hub: SimulatedHub, database: str, sql: Query) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env):
        eventually(lambda: sql("SELECT 1 FROM ingest.heartbeat WHERE link_state = 'up'"), within=20)
        running = command("status", "--json", env=env)
        checked = command("check", "--json", env=env)
    assert running.returncode == 0, running.stdout
    assert checked.returncode == 0, checked.stdout
