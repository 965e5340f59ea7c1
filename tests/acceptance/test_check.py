"""`ingestor check` as a process: in time whatever does not answer, and without a trace in the tables."""

import json
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest

from ingestor.adapters.postgres.account_lock import lock_key
from ingestor.app.check.checks import MOST_SECONDS
from ingestor.cli.documents import CheckDocument
from ingestor.simulator import SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, Daemon, command, environment
from tests.support.fake_server import FakeServer, logged_in
from tests.support.fault_hub import Act, FaultHub, Peer, negotiated, stay
from tests.support.hub_listener import KEY
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

STEPS = [
    *(
        "configuration",
        "key",
        "dns",
        "connection",
        "negotiate",
        "hub-clock",
        "handshake",
        "balances",
        "pairs",
    ),
    *("database", "encoding", "pooler", "clock", "schema", "roles", "disk", "unit", "stored"),
]


def findings(env: dict[str, str], code: int) -> dict[str, dict[str, Any]]:
    """By step, after the document has been found to be what its published type says."""
    done = command("check", "--json", env=env)
    assert done.returncode == code, done.stdout + done.stderr
    document = json.loads(done.stdout)
    as_typed = msgspec.json.decode(done.stdout, type=CheckDocument, strict=True)
    assert json.loads(msgspec.json.encode(as_typed)) == document
    assert document["ok"] == (code == 0)
    assert [each["name"] for each in document["findings"]] == STEPS
    return {each["name"]: each for each in document["findings"]}


def verdicts(found: dict[str, dict[str, Any]], verdict: str) -> set[str]:
    return {name for name, each in found.items() if each["verdict"] == verdict}


@pytest.fixture
def runtime() -> Iterator[Path]:
    """With a short name: the path of a socket may have 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


# --- what does not answer ---


def deaf(peer: Peer) -> None:
    peer.until_gone()


def shakes_no_hand(peer: Peer) -> None:
    peer.raw(peer.accept_answer())
    peer.until_gone()


@contextmanager
def silent_port() -> Iterator[int]:
    """Takes connections, as the kernel does for a process that is frozen, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("step", "negotiation", "session"),
    [
        ("negotiate", deaf, deaf),
        ("handshake", negotiated, deaf),
        ("handshake", negotiated, shakes_no_hand),
        ("balances", negotiated, stay),
    ],
    ids=["negotiate", "upgrade", "handshake", "requests"],
)
def test_a_hub_that_never_answers_costs_less_than_15_seconds(
    step: str, negotiation: Act, session: Act, database: str
) -> None:
    """And the database is tried all the same. With the deadlines of the daemon, which are longer."""
    with FaultHub([session], [negotiation]) as hub:
        env = environment(hub.url, database, KEY)
        for name in [name for name in env if name.startswith("INGESTOR_HUB__") and "SECONDS" in name]:
            del env[name]
        began = time.monotonic()
        found = findings(env, 76 if step == "balances" else 69)
        seconds = time.monotonic() - began
    assert seconds < MOST_SECONDS
    assert verdicts(found, "failed") == {step} | ({"pairs"} if step == "balances" else set())
    assert found[step]["fix"]
    assert "needs" in found["stored"]["what"]
    assert {"database", "schema", "roles"} <= verdicts(found, "ok")


def test_nothing_that_answers_costs_less_than_15_seconds() -> None:
    """A port for the hub's TLS, and a database that freezes after the login."""
    with silent_port() as port, FakeServer(logged_in) as database:
        env = environment(f"https://127.0.0.1:{port}/hub", database, KEY)
        began = time.monotonic()
        found = findings(env, 69)
        seconds = time.monotonic() - began
    assert seconds < MOST_SECONDS
    assert verdicts(found, "failed") == {"connection", "database"}
    assert verdicts(found, "skipped") > {"handshake", "schema", "stored"}


# --- what is stored, and by whom ---


def rows(sql: Query) -> list[int]:
    tables = ("account", "session", "raw_event", "request", "outcome", "version", "pair", "gap", "watermark")
    return [sql(f"SELECT count(*) FROM ingest.{table}")[0][0] for table in tables]


def test_without_a_daemon_the_answer_is_stored_read_and_rolled_back(
    hub: SimulatedHub, database: str, sql: Query
) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    found = findings(env, 0)
    assert "rolled back" in found["stored"]["what"]
    assert "(6 pairs)" in found["stored"]["what"]
    assert rows(sql) == [0] * 9

    with Daemon(env) as daemon:
        eventually(lambda: sql("SELECT 1 FROM ingest.pair"), within=20)
        daemon.terminate()
    before = rows(sql)
    assert "rolled back" in findings(env, 0)["stored"]["what"]
    assert rows(sql) == before


def test_a_running_daemon_commits_the_answer_itself(
    hub: SimulatedHub, database: str, sql: Query, runtime: Path
) -> None:
    """Its session and its account stay its own (I16)."""
    env = environment(hub.url, database, hub.config.api_key, XDG_RUNTIME_DIR=str(runtime))
    with Daemon(env) as daemon:
        eventually(lambda: command("status", env=env).returncode == 0, within=40)
        found = findings(env, 0)

        assert "by the running daemon" in found["stored"]["what"]
        asked = sql("SELECT outcome FROM ingest.request WHERE cause = 'operator' AND command = 'GetPairs'")
        assert asked == [("answered",)]
        assert sql("SELECT count(*), count(closed_at) FROM ingest.session") == [(1, 0)]
        assert daemon.process.poll() is None


def test_a_daemon_that_cannot_be_asked_is_left_alone(hub: SimulatedHub, database: str, sql: Query) -> None:
    """On another machine, say: the account's lock tells."""
    env = environment(hub.url, database, hub.config.api_key)
    with psycopg.connect(libpq_url(database), autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [lock_key(ACCOUNT)])
        found = findings(env, 0)
        assert found["stored"]["verdict"] == "note"
        assert "holds the account's lock" in found["stored"]["what"]
    assert rows(sql) == [0] * 9


def test_what_the_tables_reject_is_found_before_the_daemon_meets_it(
    hub: SimulatedHub, database: str, sql: Query
) -> None:
    with psycopg.connect(libpq_url(database), autocommit=True) as admin:
        admin.execute("ALTER TABLE ingest.pair ADD CONSTRAINT mine CHECK (name = 'none')")
    found = findings(environment(hub.url, database, hub.config.api_key), 76)
    assert verdicts(found, "failed") == {"stored"}
    assert "dead-letters" in found["stored"]["fix"]
    assert "mine" in found["stored"]["what"]
    assert rows(sql) == [0] * 9


def test_an_account_of_another_environment_is_found(hub: SimulatedHub, database: str) -> None:
    with psycopg.connect(libpq_url(database), autocommit=True) as admin:
        admin.execute("INSERT INTO ingest.account VALUES (%s, 'production', now())", [ACCOUNT])
    found = findings(environment(hub.url, database, hub.config.api_key), 78)
    assert verdicts(found, "failed") == {"stored"}
    assert "'production'" in found["stored"]["what"]


# --- for a monitor ---


def test_nagios_gets_one_line_and_its_own_exit_codes(hub: SimulatedHub, database: str) -> None:
    well = command("check", "--nagios", env=environment(hub.url, database, hub.config.api_key))
    assert well.returncode == 0
    (line,) = well.stdout.splitlines()
    said, _, data = line.partition(" | ")
    assert said == f"INGESTOR OK - {len(STEPS)} steps"
    assert [each.partition("=")[0] for each in data.split()] == ["time", *STEPS]

    refused = command("check", "--nagios", env=environment(hub.url, database, "another-key"))
    assert refused.returncode == 2
    assert refused.stdout.startswith("INGESTOR CRITICAL - negotiate: no link: http_401")
    assert len(refused.stdout.splitlines()) == 1

    wrong = environment(hub.url, database, KEY, INGESTOR_INBOX__MAX_RECORDS="0")
    assert command("check", "--nagios", env=wrong).returncode == 2
