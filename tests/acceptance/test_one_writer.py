"""One process writes an account: a second one says so and leaves, and the first one stays the first."""

import os
import signal
from contextlib import closing

import psycopg

from ingestor.adapters.postgres.account_lock import lock_key
from ingestor.simulator import SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, Daemon, command, environment
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

HOLDER = """
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""


REFUSED = """
    SELECT 1 FROM pg_stat_activity
    WHERE application_name = 'hercle-ingestor' AND pid <> %s AND query LIKE '%%pg_locks%%'
"""
"""The daemon's new connection, which has just asked who has the lock."""


def holder(sql: Query) -> int:
    """Pid of the session that has an account's lock; 0 if none has."""
    rows = sql(HOLDER)
    return int(rows[0][0]) if rows else 0


def records(sql: Query) -> int:
    return int(sql("SELECT count(*) FROM ingest.raw_event")[0][0])


def test_a_second_daemon_says_why_and_exits_75(hub: SimulatedHub, database: str, sql: Query) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env) as first:
        eventually(lambda: records(sql), within=20)
        second = command("run", env=env)
        before = records(sql)
        eventually(lambda: records(sql) > before)

        assert second.returncode == 75
        assert f"another process writes the account {ACCOUNT}" in second.stderr
        assert "\n  fix: " in second.stderr
        assert '"event": "account_taken"' in second.stderr
        assert sql("SELECT pid FROM ingest.heartbeat") == [(first.process.pid,)]
        assert first.terminate() == 0


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


def test_a_new_connection_takes_the_lock_anew(hub: SimulatedHub, database: str, sql: Query) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    with Daemon(env) as daemon:
        before = eventually(lambda: holder(sql), within=20)
        sql("SELECT pg_terminate_backend(%s)", before)
        eventually(lambda: holder(sql) not in {0, before})

        assert command("run", env=env).returncode == 75
        assert daemon.terminate() == 0


def test_a_daemon_that_has_lost_the_account_to_another_exits_75(
    hub: SimulatedHub, database: str, sql: Query
) -> None:
    with (
        Daemon(environment(hub.url, database, hub.config.api_key)) as daemon,
        closing(psycopg.connect(libpq_url(database), autocommit=True)) as rival,
    ):
        before = eventually(lambda: holder(sql), within=20)
        # The rival stands in line, so that the lock is its own the moment the daemon's connection is gone.
        rival.pgconn.send_query(f"SELECT pg_advisory_lock({lock_key(ACCOUNT)})".encode())
        eventually(lambda: sql("SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"))
        sql("SELECT pg_terminate_backend(%s)", before)

        assert daemon.process.wait(20) == 75
        assert daemon.events("account_taken")


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
        assert daemon.events("account_taken") == []
        assert daemon.terminate() == 0
