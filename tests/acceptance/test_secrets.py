"""A canary for a key and a password: after a life full of trouble at DEBUG, neither is found anywhere.

Invariant I18.
"""

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import Daemon, command, environment
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

KEY = "eyJhbGciOiJIUzI1NiJ9.Y2FuYXJ5LW9mLXRoZS1rZXktNzNhOTFm.c2lnbmF0dXJlLXRoYXQtc2luZ3M"
PASSWORD = "canary/pass word+4f9c2d7b1e"
PIECE = 8


@pytest.fixture
def hub(journal: Path) -> Iterator[SimulatedHub]:
    config = HubConfig(changes_per_second=20, journal_path=journal, journal_fsync=False, api_key=KEY)
    with SimulatedHub(config) as running:
        yield running


def _forms(secret: str) -> list[bytes]:
    """The secret as it could appear: whole, encoded, and any piece of it that is long enough to matter."""
    pieces = {secret[n : n + PIECE] for n in range(len(secret) - PIECE + 1)}
    encoded = {quote(secret, safe=""), *(_inner_base64(secret, shift) for shift in range(3))}
    return [each.encode() for each in pieces | encoded]


def _inner_base64(secret: str, shift: int) -> str:
    """The part of its base64 that does not depend on what stands before or behind it."""
    text = base64.b64encode(b"\0" * shift + secret.encode()).decode()
    return text[4:-4]


def _found(secret: str, haystack: bytes) -> set[bytes]:
    return {form for form in _forms(secret) if form in haystack}


def _whole_database(url: str) -> bytes:
    """Every text and bytea of every table, as bytes."""
    said: list[bytes] = []
    with psycopg.connect(libpq_url(url)) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables "
            "WHERE table_schema = 'ingest' AND table_type = 'BASE TABLE'"
        ).fetchall()
        for (table,) in tables:
            for row in connection.execute(
                psycopg.sql.SQL("SELECT * FROM ingest.{}").format(psycopg.sql.Identifier(table))
            ):
                said += [bytes(each) if isinstance(each, bytes) else str(each).encode() for each in row]
    return b"\n".join(said)


def test_nothing_shows_the_key_or_the_password(
    hub: SimulatedHub, database: str, sql: Query, journal: Path, tmp_path: Path
) -> None:
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD)
    password_file.chmod(0o600)
    env = environment(
        hub.url,
        database,
        KEY,
        INGESTOR_LOG__LEVEL="debug",
        INGESTOR_DATABASE__PASSWORD_FILE=str(password_file),
    )
    outputs: list[str] = []
    with Daemon(env) as daemon:
        eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'pairs'"), within=20)
        cmdline = Path(f"/proc/{daemon.process.pid}/cmdline")
        if cmdline.exists():
            outputs.append(cmdline.read_text())
        assert _found(KEY, journal.read_bytes()) == set(), "the hub has received it where it should not"
        echo = f"permission denied for {KEY}"
        faults = (Fault.COMMAND_COMPLETION_ERROR, Fault.COMMAND_PRECHECKS_ERROR)
        for refusals, fault in enumerate(faults, 1):
            hub.inject(fault, error=echo, count=1)
            _cut(hub, sql)
            eventually(lambda seen=refusals: _refused(sql) >= seen, within=20)  # type: ignore[misc]
        hub.inject(Fault.HANDSHAKE_ERROR, error=f"no: {KEY}", count=1)
        hub.inject(Fault.NEGOTIATE_STATUS, status=401, count=1)
        hub.inject(Fault.NEGOTIATE_REDIRECT, url="http://127.0.0.1:9/elsewhere", status=307, count=1)
        _cut(hub, sql)
        for words in (("status",), ("check",), ("config", "show"), ("config", "validate"), ("db", "status")):
            done = command(*words, "--debug", env=env)
            outputs += [done.stdout, done.stderr]
        base, _, query = database.partition("?")
        nowhere = f"{base.rpartition('/')[0]}/nowhere?{query}"
        broken = command("run", "--debug", env={**env, "INGESTOR_DATABASE__URL": nowhere})
        assert "Traceback" in broken.stderr
        outputs += [broken.stdout, broken.stderr]
        assert daemon.terminate() == 0
        outputs.append(daemon.log())
    assert hub.fault_counts[Fault.COMMAND_COMPLETION_ERROR] == 1
    assert hub.fault_counts[Fault.COMMAND_PRECHECKS_ERROR] == 1
    said = "\n".join(outputs).encode()
    assert b'"level":"debug"' in said

    for secret in (KEY, PASSWORD):
        assert _found(secret, said) == set()
    # The bytes of the hub's own error event are evidence and stay as received; nothing else may echo them.
    sql("UPDATE ingest.raw_event SET raw = '' WHERE raw LIKE '%%preChecksError%%' RETURNING 1")
    for secret in (KEY, PASSWORD):
        assert _found(secret, _whole_database(database)) == set()


def _refused(sql: Query) -> int:
    return len(sql("SELECT 1 FROM ingest.request WHERE outcome = 'refused'"))


def _cut(hub: SimulatedHub, sql: Query) -> None:
    """Reset the link once it is up, and wait for the session after it."""
    assert hub.wait_until(lambda hub: hub.connections >= 1, timeout_s=20)
    sessions = len(sql("SELECT 1 FROM ingest.session"))
    hub.inject(Fault.RST)
    eventually(lambda: len(sql("SELECT 1 FROM ingest.session")) > sessions, within=30)


def test_the_search_finds_what_it_looks_for() -> None:
    for disguise in (
        f"Bearer {KEY}",
        quote(KEY, safe=""),
        base64.b64encode(f"x:{KEY}".encode()).decode(),
        KEY[20:28],
    ):
        assert _found(KEY, disguise.encode())
