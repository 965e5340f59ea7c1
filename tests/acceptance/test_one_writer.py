"""One process writes an account: a second one waits until the first has ended (I16)."""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from ingestor.adapters.postgres.account_lock import lock_key
from ingestor.simulator import SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, Daemon, environment
from tests.support.oracle import judge
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

HOLDER = """
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


class Told:
    """The messages of a process to its service manager, one string for each datagram."""

    def __init__(self, address: str, listener: socket.socket) -> None:
        self.address = address
        self._listener = listener
        self._received: list[str] = []

    def __call__(self) -> list[str]:
        with suppress(BlockingIOError):
            while True:
                self._received.append(self._listener.recv(4096).decode())
        return self._received


@contextmanager
def systemd(directory: Path) -> Iterator[Told]:
    address = str(directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        listener.setblocking(False)
        yield Told(address, listener)


REFUSED = """
    SELECT 1 FROM pg_stat_activity
    WHERE application_name = 'hercle-ingestor' AND pid <> %s AND query LIKE '%%pg_locks%%'
"""
"""The daemon's new connection, which has just looked up who has the lock."""


def holder(sql: Query) -> int:
    """Pid of the session that has an account's lock; 0 if none has."""
    rows = sql(HOLDER)
    return int(rows[0][0]) if rows else 0


def records(sql: Query) -> int:
    return int(sql("SELECT count(*) FROM ingest.raw_event")[0][0])


def test_a_second_daemon_waits_as_a_standby_and_takes_over(
    hub: SimulatedHub, database: str, sql: Query, tmp_path: Path
) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env) as first:
        eventually(lambda: records(sql), within=20)
        with systemd(tmp_path) as messages, Daemon({**env, "NOTIFY_SOCKET": messages.address}) as second:
            eventually(lambda: any("STATUS=standby: another process writes" in each for each in messages()))
            before = records(sql)
            eventually(lambda: records(sql) > before)
            assert sql("SELECT pid FROM ingest.heartbeat") == [(first.process.pid,)]
            assert not any("READY=1" in each for each in messages())
            assert any("EXTEND_TIMEOUT_USEC" in each for each in messages())
            assert second.process.poll() is None

            assert first.terminate() == 0
            eventually(
                lambda: sql("SELECT 1 FROM ingest.heartbeat WHERE pid = %s", second.process.pid), within=20
            )
            assert [each["level"] for each in second.events("standby")] == ["warning"]
            assert second.terminate() == 0


def test_daemons_of_two_accounts_do_not_mind_each_other(hub: SimulatedHub, database: str, sql: Query) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env), Daemon({**env, "INGESTOR_ACCOUNT": "another"}):
        eventually(lambda: len(sql("SELECT DISTINCT account FROM ingest.raw_event")) == 2, within=20)


def test_after_a_kill_the_account_is_free(hub: SimulatedHub, database: str, sql: Query) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env) as killed:
        eventually(lambda: holder(sql), within=20)
        killed.kill()
    eventually(lambda: not holder(sql))
    with Daemon(env) as next_one:
        eventually(
            lambda: sql("SELECT 1 FROM ingest.heartbeat WHERE pid = %s", next_one.process.pid), within=20
        )


def test_a_kill_in_the_middle_of_a_statement_frees_the_account(
    hub: SimulatedHub, database: str, sql: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    """The server would work on to the statement's end, and only then look whether anybody is there."""
    with Daemon(environment(hub.url, database, hub.config.api_key)) as killed:
        eventually(lambda: records(sql), within=20)
        with psycopg.connect(libpq_url(database), autocommit=True) as owner:
            owner.execute(SLEEPS)
        eventually(lambda: sql("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"), within=20)
        killed.kill()
        began = time.monotonic()
    eventually(lambda: not holder(sql))
    seconds = time.monotonic() - began
    with capsys.disabled():
        print(f"\nkilled in a statement of 9 s: lock free after {seconds:.2f} s")
    assert seconds < 4


SLEEPS = """
    CREATE FUNCTION public.sleeps() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN PERFORM pg_catalog.pg_sleep(9); RETURN NULL; END';
    CREATE TRIGGER sleeps AFTER INSERT ON ingest.raw_event
        FOR EACH STATEMENT EXECUTE FUNCTION public.sleeps();
"""


def test_a_new_connection_takes_the_lock_anew(hub: SimulatedHub, database: str, sql: Query) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env) as daemon:
        before = eventually(lambda: holder(sql), within=20)
        sql("SELECT pg_terminate_backend(%s)", before)
        eventually(lambda: holder(sql) not in {0, before})

        assert daemon.terminate() == 0


def test_a_daemon_that_has_lost_the_account_to_another_exits_75(
    hub: SimulatedHub, database: str, sql: Query
) -> None:
    with (
        Daemon(environment(hub.url, database, hub.config.api_key)) as daemon,
        closing(psycopg.connect(libpq_url(database), autocommit=True)) as rival,
    ):
        before = eventually(lambda: holder(sql), within=20)
        eventually(lambda: records(sql))
        # The rival stands in line, so that the lock is its own the moment the daemon's connection is gone.
        rival.pgconn.send_query(f"SELECT pg_advisory_lock({lock_key(ACCOUNT)})".encode())
        eventually(lambda: sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
        sql("SELECT pg_terminate_backend(%s)", before)

        assert daemon.process.wait(20) == 75
        assert f"another process writes the account {ACCOUNT}" in daemon.log()


def test_a_daemon_that_slept_while_another_had_the_account_exits_75_and_leaves_a_gap(
    hub: SimulatedHub, database: str, sql: Query, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a virtual machine that is suspended and resumed: the other one has come and gone."""
    env = environment(hub.url, database, hub.config.api_key)
    mine = "SELECT 1 FROM ingest.heartbeat WHERE pid = %s"
    with Daemon(env) as asleep:
        before = eventually(lambda: holder(sql), within=20)
        eventually(lambda: records(sql) > 20, within=20)
        os.kill(asleep.process.pid, signal.SIGSTOP)
        sql("SELECT pg_terminate_backend(%s)", before)
        with Daemon(env) as other:
            eventually(lambda: sql(mine, other.process.pid), within=20)
            stored = records(sql)
            eventually(lambda: records(sql) > stored + 20, within=20)
            assert other.terminate() == 0
        os.kill(asleep.process.pid, signal.SIGCONT)
        code = asleep.process.wait(20)
        assert "another process has written this account in the meantime" in asleep.log()
    with Daemon(env) as again:
        eventually(lambda: sql(mine, again.process.pid), within=20)
        eventually(lambda: sql("SELECT 1 FROM ingest.gap HAVING every(ended_at IS NOT NULL)"), within=20)
        assert again.terminate() == 0
    verdict = judge(journal, libpq_url(database), ACCOUNT, commits_lost=True)
    with capsys.disabled():
        print(f"\nslept while another had the account: exit {code}; {verdict}")
    assert code == 75
    assert (verdict.lost, verdict.invented) == (0, 0)


def test_a_lost_connection_that_the_server_still_keeps_is_no_rival(
    hub: SimulatedHub, database: str, sql: Query
) -> None:
    """The server's end of a connection can outlive ours: here its process is frozen, as on a stalled disk."""
    deadlines = {
        f"INGESTOR_DATABASE__{name}_DEADLINE_SECONDS": "1" for name in ("LOCK", "STATEMENT", "TRANSACTION")
    }
    with Daemon(environment(hub.url, database, hub.config.api_key, **deadlines)) as daemon:
        frozen = eventually(lambda: holder(sql), within=20)
        eventually(lambda: records(sql))
        os.kill(frozen, signal.SIGSTOP)
        try:
            eventually(lambda: daemon.events("commit_delayed"), within=20)
            eventually(lambda: sql(REFUSED, frozen), within=20)
        finally:
            os.kill(frozen, signal.SIGCONT)
        eventually(lambda: daemon.events("commit_resumed"), within=20)

        assert holder(sql) not in {0, frozen}
        assert f"another process writes the account {ACCOUNT}" not in daemon.log()
        assert daemon.terminate() == 0
