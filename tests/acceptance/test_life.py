"""The daemon's life as systemd and an operator see it: ready, alive, drained, with the right exit code."""

import fcntl
import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from ingestor import __version__
from ingestor.adapters.postgres.schema import REVISION
from ingestor.simulator import Fault, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, ROOT, Daemon, command, environment
from tests.support.oracle import judge
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

F_SETPIPE_SZ = 1031
NOWHERE = "postgresql://nobody@127.0.0.1:1/nothing"
LAUNCHER = """
import fcntl, os, signal, sys, termios
for number in (signal.SIGHUP, signal.SIGINT):
    signal.signal(number, signal.SIG_DFL)
{first}
os.execv(sys.executable, [sys.executable, "-m", "ingestor", "run"])
"""
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start() -> Iterator[Start]:
    """`ingestor run` with standard streams of the test's choice, and no signal ignored by inheritance."""
    started: list[subprocess.Popen[bytes]] = []

    def run(env: dict[str, str], *, first: str = "", **streams: Any) -> subprocess.Popen[bytes]:
        command_line = [sys.executable, "-c", LAUNCHER.format(first=first)]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, **streams}
        process = subprocess.Popen(command_line, env=env, cwd=ROOT, **streams)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_commits_what_was_received_and_exits_0(
    number: signal.Signals, hub: SimulatedHub, database: str, sql: Query, journal: Path, start: Start
) -> None:
    """Invariant I20."""
    process = start(environment(hub.url, database, hub.config.api_key), stderr=subprocess.DEVNULL)
    eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances'"), within=20)
    hub.burst(2_000)
    process.send_signal(number)
    assert process.wait(10) == 0

    assert sql("SELECT ending, received = committed_records FROM ingest.session") == [("clean", True)]
    assert sql("SELECT stopped_at IS NOT NULL FROM ingest.heartbeat") == [(True,)]
    verdict = judge(journal, libpq_url(database), ACCOUNT)
    assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_a_signal_after_the_drain_does_not_change_how_the_process_ends(
    name: str, hub: SimulatedHub, database: str, sql: Query, start: Start
) -> None:
    """Invariant I20."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(1 << 12))
    os.set_blocking(writer, True)  # so the end waits for its last log lines, two seconds long
    env = environment(hub.url, database, hub.config.api_key)
    process = start(env, stderr=writer, start_new_session=True)
    eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances'"), within=20)
    process.terminate()
    eventually(lambda: not sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'hercle-ingestor'"))
    process.send_signal(getattr(signal, name))
    assert process.wait(15) == 0
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("fault", [Fault.NEGOTIATE_HANG, Fault.UPGRADE_HANG, Fault.HANDSHAKE_HANG])
def test_sigterm_while_the_hub_hangs_exits_0(fault: Fault, hub: SimulatedHub, database: str) -> None:
    """Invariant I20."""
    hub.inject(fault, count=None)
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        eventually(lambda: hub.requests["negotiate"], within=20)
        assert daemon.terminate(10) == 0, daemon.log()


def test_sigterm_while_waiting_for_a_hub_that_is_away_exits_0(hub: SimulatedHub, database: str) -> None:
    """Invariant I20."""
    hub.go_away()
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        eventually(lambda: daemon.events("link_attempt_failed"), within=20)
        assert daemon.terminate(10) == 0, daemon.log()


def test_sigterm_while_waiting_for_a_database_that_is_away_exits_0(hub: SimulatedHub) -> None:
    """Invariant I20."""
    with Daemon(environment(hub.url, NOWHERE, hub.config.api_key)) as daemon:
        eventually(lambda: daemon.events("database_awaited"), within=20)
        assert daemon.terminate(10) == 0, daemon.log()


def test_systemd_gets_the_true_state(hub: SimulatedHub, database: str, tmp_path: Path) -> None:
    """Invariant I15."""
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


@pytest.mark.parametrize("fails", [False, True])
def test_the_start_names_all_that_it_uses_also_where_it_fails(
    hub: SimulatedHub, database: str, tmp_path: Path, sql: Query, fails: bool
) -> None:
    if fails:
        sql("UPDATE ingest.alembic_version SET version_num = '9999' RETURNING 1")
    file = tmp_path / "ingestor.toml"
    file.write_text("[log]\nlevel = 'info'\n")
    with_password = database.replace("//postgres@", "//postgres:canary-password@")
    env = environment(hub.url, with_password, hub.config.api_key, INGESTOR_CONFIG=str(file))
    with Daemon(env) as daemon:
        (last,) = eventually(lambda: daemon.events("daemon_failed" if fails else "daemon_started"), within=20)
        (first,) = daemon.events("daemon_starting")
        daemon.terminate()
        assert "canary" not in daemon.log()
    assert first["account"] == ACCOUNT
    assert first["hub"] == hub.url
    assert first["database"].startswith("postgresql://postgres:********@/test_")
    assert first["configuration"] == str(file)
    assert first["version"] == __version__
    assert fails or last["schema"] == REVISION
    shown = command("config", "show", env=env).stdout
    assert f"# hash of the values: {first['settings_hash']}\n" in shown
    changed = command("config", "show", "--set", "log.level=debug", env=env).stdout
    assert first["settings_hash"] not in changed


def test_a_missing_schema_exits_78_and_names_the_command(hub: SimulatedHub, empty_database: str) -> None:
    """Invariant I19."""
    done = command("run", env=environment(hub.url, empty_database, hub.config.api_key))

    assert done.returncode == 78
    assert "ingestor db upgrade" in done.stderr


def test_a_newer_schema_exits_78(hub: SimulatedHub, database: str, sql: Query) -> None:
    """Invariant I19."""
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


def test_an_account_of_another_environment_exits_78(hub: SimulatedHub, database: str, sql: Query) -> None:
    sql(
        "INSERT INTO ingest.account (account, environment, created_at) "
        "VALUES (%s, 'production', now()) RETURNING 1",
        ACCOUNT,
    )
    done = command("run", env=environment(hub.url, database, hub.config.api_key))

    assert done.returncode == 78
    assert "production" in done.stderr


def test_status_and_check_describe_a_running_daemon(hub: SimulatedHub, database: str, sql: Query) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env):
        eventually(lambda: sql("SELECT 1 FROM ingest.heartbeat WHERE link_state = 'up'"), within=20)
        running = command("status", "--json", env=env)
        checked = command("check", "--json", env=env)
    assert running.returncode == 0, running.stdout
    assert checked.returncode == 0, checked.stdout


def test_a_log_that_nobody_reads_stops_nothing(
    hub: SimulatedHub, database: str, sql: Query, start: Start
) -> None:
    """Invariant I14."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, F_SETPIPE_SZ, 4096)
    env = environment(hub.url, database, hub.config.api_key, INGESTOR_LOG__LEVEL="debug")
    process = start(env, stderr=writer)
    os.close(writer)
    for sessions in range(1, 6):  # some lines each, and many more at debug
        assert hub.wait_until(lambda hub: hub.connections >= 1, timeout_s=20)
        eventually(
            lambda seen=sessions: len(sql("SELECT 1 FROM ingest.session")) >= seen,  # type: ignore[misc]
            within=30,
        )
        hub.inject(Fault.RST)
    hub.burst(500)
    before = sql("SELECT coalesce(max(sequence), 0) FROM ingest.watermark")
    hub.burst(500)
    eventually(lambda: sql("SELECT coalesce(max(sequence), 0) FROM ingest.watermark") > before, within=20)
    process.terminate()
    assert process.wait(15) == 0
    held = b""
    while piece := os.read(reader, 1 << 16):
        held += piece
    os.close(reader)
    assert len(held) >= 3000, "the pipe was never full, so nothing was shown"


@pytest.mark.parametrize("closed", [(2,), (1, 2), (0, 1, 2)])
def test_it_runs_without_standard_streams(
    closed: tuple[int, ...], hub: SimulatedHub, database: str, sql: Query, start: Start
) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    close = f"for number in {closed}: os.close(number)"
    process = start(env, first=close, stderr=subprocess.DEVNULL)
    eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances'"), within=20)
    numbers = Path(f"/proc/{process.pid}/fd")
    if numbers.exists():
        # A socket there would be sent whatever a library prints.
        assert {str((numbers / str(number)).readlink()) for number in closed} == {os.devnull}
    process.terminate()
    assert process.wait(10) == 0


def test_a_log_on_a_full_disk_stops_nothing(
    hub: SimulatedHub, database: str, sql: Query, start: Start
) -> None:
    """Invariant I14."""
    with Path("/dev/full").open("wb") as full:
        process = start(environment(hub.url, database, hub.config.api_key), stderr=full)
    eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances'"), within=20)
    process.terminate()
    assert process.wait(10) == 0


def test_a_terminal_that_is_closed_ends_it_in_good_order(
    hub: SimulatedHub, database: str, sql: Query, start: Start
) -> None:
    """Invariant I20."""
    ours, theirs = pty.openpty()
    env = environment(hub.url, database, hub.config.api_key)
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    process = start(env, first="fcntl.ioctl(0, termios.TIOCSCTTY, 0)", start_new_session=True, **streams)
    os.close(theirs)
    eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances'"), within=20)
    os.close(ours)
    assert process.wait(10) == 0
    assert sql("SELECT ending FROM ingest.session") == [("clean",)]


def test_sigusr1_writes_the_stacks_of_all_threads_and_the_daemon_goes_on(
    hub: SimulatedHub, database: str, sql: Query
) -> None:
    """However often: a stack that is read while its thread runs would end the process now and then."""
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances'"), within=20)
        for number in range(1, 101):
            daemon.process.send_signal(signal.SIGUSR1)
            eventually(lambda: daemon.log().count("Thread MainThread (most recent call last):\n") == number)  # noqa: B023
        assert_stacks(daemon)
        assert daemon.terminate() == 0


def assert_stacks(daemon: Daemon) -> None:
    for thread in ("writer", "link supervisor", "hub receiver", "request scheduler"):
        assert f"Thread {thread} (most recent call last):\n" in daemon.log()
    assert re.search(r"Thread MainThread .*\n(?s:.*)daemon.py", daemon.log())


def test_a_dead_thread_ends_the_daemon_with_70(hub: SimulatedHub, database: str, tmp_path: Path) -> None:
    """The one that writes stacks: nothing else of the daemon needs it."""
    (tmp_path / "sitecustomize.py").write_text("import traceback; traceback.format_stack = None\n")
    path = f"{tmp_path}{os.pathsep}{ROOT}"
    with Daemon(environment(hub.url, database, hub.config.api_key, PYTHONPATH=path)) as daemon:
        eventually(lambda: daemon.events("link_up"), within=20)
        daemon.process.send_signal(signal.SIGUSR1)
        assert daemon.process.wait(20) == 70
        (died,), (failed,) = daemon.events("thread_died"), daemon.events("daemon_failed")
        assert (died["thread"], failed["error"]) == ("stacks", "the stacks thread has ended")


def test_what_systemds_watchdog_kills_leaves_the_stacks_of_all_threads(
    hub: SimulatedHub, database: str, sql: Query
) -> None:
    """Its signal is SIGABRT; there is no core file (LimitCORE=0)."""
    with Daemon(environment(hub.url, database, hub.config.api_key)) as daemon:
        eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances'"), within=20)
        daemon.process.send_signal(signal.SIGABRT)
        assert daemon.process.wait(10) == -signal.SIGABRT
        assert_stacks(daemon)


def test_a_start_that_waits_asks_systemd_for_more_time_at_each_turn(
    hub: SimulatedHub, tmp_path: Path
) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.bind(str(path))
        notify.settimeout(20)
        env = environment(hub.url, NOWHERE, hub.config.api_key, NOTIFY_SOCKET=str(path))
        with Daemon(env) as daemon:
            said: list[str] = []
            while sum(line.startswith("EXTEND_TIMEOUT_USEC=") for line in said) < 3:
                said += notify.recv(4096).decode().splitlines()
            assert "READY=1" not in said
            assert any(line.startswith("STATUS=waiting for the database") for line in said)
            assert len(daemon.events("database_awaited")) == 1, "the same reason is logged once a minute"
            assert daemon.terminate() == 0


@pytest.mark.parametrize(
    ("reason", "changed", "code", "said"),
    [
        ("no schema", {}, 78, "ingestor db upgrade"),
        ("no database", {}, 78, "nowhere"),
        ("wrong settings", {"INGESTOR_LOG__LEVEL": "loud", "INGESTOR_ACOUNT": "x"}, 78, "INGESTOR_ACCOUNT"),
        ("no key", {"HERCLE_API_KEY": ""}, 78, "write the secret there"),
        ("refused key", {"HERCLE_API_KEY": "not-the-hubs-key"}, 77, "the key"),
    ],
)
def test_a_fatal_reason_is_the_one_record_that_the_journal_shows_as_an_error(
    reason: str,
    changed: dict[str, str],
    code: int,
    said: str,
    hub: SimulatedHub,
    database: str,
    empty_database: str,
    tmp_path: Path,
    start: Start,
) -> None:
    log = tmp_path / "journal"
    url = empty_database if reason == "no schema" else database
    if reason == "no database":
        base, _, query = database.partition("?")
        url = f"{base.rpartition('/')[0]}/nowhere?{query}"
    with log.open("wb") as stderr:
        status = os.fstat(stderr.fileno())
        journal = f"{status.st_dev}:{status.st_ino}"
        more = {"JOURNAL_STREAM": journal, "RUNTIME_DIRECTORY": str(tmp_path / "run"), **changed}
        env = environment(hub.url, url, hub.config.api_key, **more)
        assert start(env, stderr=stderr).wait(30) == code
    assert not list(tmp_path.glob("run/*")), "the local socket is left"
    lines = log.read_text().splitlines()
    *_, last = lines
    assert [line for line in lines if line[:3] <= "<3>"] == [last]
    record = json.loads(last.removeprefix("<2>"))
    assert (record["level"], record["event"], record["exit_code"]) == ("critical", "daemon_failed", code)
    assert any(said in line for line in record["advice"]), record
