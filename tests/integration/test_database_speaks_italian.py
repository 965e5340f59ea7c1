"""A server with Italian messages gives every command the exit code that one with English messages gives."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.embedded_postgres.binaries import SYSTEM, find_binaries
from ingestor.app.database import upgrade_database
from ingestor.domain.errors import BadConfiguration
from ingestor.simulator import HubConfig, SimulatedHub
from tests.support.daemon import Daemon, command, environment
from tests.support.postgres import postgres_directory
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

LOCALE = "it_IT.utf8"
COMMANDS = (("check",), ("status",), ("db", "status"), ("db", "upgrade"))
WAITS = "waits"
"""What `run` does where it does not exit."""

Admin = Callable[[str], object]


def italian_server(directory: Path) -> EmbeddedPostgres:
    """Debian's server: the one of the wheel is built without translations."""
    try:
        binaries = find_binaries(SYSTEM)
    except BadConfiguration:
        pytest.skip("there is no Postgres of the system (Debian: apt-get install postgresql)")
    known = subprocess.run(["locale", "-a"], capture_output=True, text=True, check=True).stdout
    if LOCALE not in known.splitlines():
        pytest.skip("there is no Italian locale (Debian: localedef -i it_IT -f UTF-8 it_IT.UTF-8)")
    return EmbeddedPostgres(directory, durable=False, binaries=binaries, settings={"lc_messages": LOCALE})


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with postgres_directory() as directory, italian_server(directory) as running:
        upgrade_database(running.ensure_database("ours"))
        running.ensure_database("empty")
        with administrator(running) as run:
            run("CREATE ROLE keeper LOGIN PASSWORD 'right'")
            run("CREATE ROLE crowded LOGIN PASSWORD 'right' CONNECTION LIMIT 0")
            run("CREATE DATABASE closed")
            run("REVOKE CONNECT ON DATABASE closed FROM public")
            (running.data / "pg_hba.conf").write_text(
                "local all keeper,crowded,stranger scram-sha-256\nlocal all postgres trust\n"
            )
            run("SELECT pg_reload_conf()")
        yield running


@contextmanager
def administrator(server: EmbeddedPostgres) -> Iterator[Admin]:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        yield lambda statement: connection.execute(statement.encode())


@pytest.fixture(scope="module")
def hub() -> Iterator[SimulatedHub]:
    with SimulatedHub(HubConfig(seed=3)) as running:
        yield running


def codes(env: dict[str, str], reason: str) -> dict[str, object]:
    """Exit codes by command. Each must have told the server's own reason, in Italian."""
    found: dict[str, object] = {}
    for words in COMMANDS:
        done = command(*words, env=env)
        found[" ".join(words)] = done.returncode
        if done.returncode and reason not in done.stdout + done.stderr:
            found[" ".join(words)] = done.stdout + done.stderr
    with Daemon(env) as daemon:
        eventually(lambda: daemon.process.poll() is not None or daemon.events("database_awaited"), within=20)
        found["run"] = WAITS if daemon.process.poll() is None else daemon.process.returncode
        if reason not in daemon.log():
            found["run"] = daemon.log()
    return found


def everywhere(code: int) -> dict[str, object]:
    return {
        **{" ".join(words): code for words in COMMANDS},
        "run": WAITS if code == 69 else code,
    }


@pytest.mark.parametrize(
    ("role", "name", "code", "words"),
    [
        ("keeper:wrong", "ours", 77, "autenticazione con password fallita"),
        ("stranger:right", "ours", 77, "autenticazione con password fallita"),
        ("crowded:right", "ours", 69, "troppe connessioni per il ruolo"),
        ("keeper:right", "nowhere", 78, "non esiste"),
        ("keeper:right", "closed", 78, "permesso negato per il database"),
        ("keeper:right", "ours", 78, "permesso negato per lo schema ingest"),
    ],
    ids=["password", "role", "connections", "database", "may-not-connect", "no-privileges"],
)
def test_what_the_server_refuses(
    role: str, name: str, code: int, words: str, server: EmbeddedPostgres, hub: SimulatedHub
) -> None:
    url = server.url(name).replace("//postgres@", f"//{role}@")

    assert codes(environment(hub.url, url, hub.config.api_key), words) == everywhere(code)


def test_a_database_without_our_schema(server: EmbeddedPostgres, hub: SimulatedHub) -> None:
    env = environment(hub.url, server.url("empty"), hub.config.api_key)

    assert command("run", env=env).returncode == 78
    assert [command(*words, env=env).returncode for words in COMMANDS] == [78, 78, 78, 0]


def test_a_server_that_is_read_only(server: EmbeddedPostgres, hub: SimulatedHub) -> None:
    """A running daemon meets the server's own error, a new session asks first."""
    env = environment(hub.url, server.url("ours"), hub.config.api_key)
    with Daemon(env) as daemon, administrator(server) as run:
        eventually(lambda: daemon.events("daemon_started"), within=20)
        run("ALTER SYSTEM SET default_transaction_read_only = on")
        run("SELECT pg_reload_conf()")
        try:
            assert codes(env, "") == everywhere(69) | {"status": 1, "db status": 0}
            hub.account.change()
            eventually(lambda: daemon.events("commit_delayed"), within=20)
        finally:
            run("SET default_transaction_read_only = off")
            run("ALTER SYSTEM RESET default_transaction_read_only")
            run("SELECT pg_reload_conf()")
        eventually(lambda: daemon.events("commit_resumed"), within=20)
        assert daemon.terminate() == 0


def test_a_server_that_shuts_down(server: EmbeddedPostgres, hub: SimulatedHub) -> None:
    """It does so once the last client has gone."""
    env = environment(hub.url, server.url("ours"), hub.config.api_key)
    with administrator(server):
        os.kill(server.postmaster_pid, signal.SIGTERM)
        assert codes(env, "si sta spegnendo") == everywhere(69)
    eventually(lambda: not server.running, within=20)
    server.start()
