"""`ingestor support-bundle`: what it has, and that key, password, amounts and people are in none of it.

Invariant I18.
"""

import base64
import json
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import uuid4

import psycopg
import pytest

from ingestor.app.support.contents import BundleContents
from ingestor.simulator import HubConfig, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, Daemon, command, environment
from tests.support.documents import document_of
from tests.support.postgres import libpq_url
from tests.support.rows import NOW, gap, insert
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

KEY = "bundle-canary-key-73a91f-that-can-trade"
PASSWORD = "canary/pass word+4f9c2d7b1e"
ELSEWHERE = "token-of-another-program-5d1e88"
PERSON = "alice.liddell@example.org"
HOST = "laptop-in-wonderland"
AMOUNT = "98765.43210123"
"""None shares eight characters with a secret: those would be masked wherever they stand."""
SECRETS = (KEY, PASSWORD)
PRIVATE = (ELSEWHERE, PERSON, HOST, AMOUNT)
PIECE = 8
NOWHERE = "postgresql://somebody@127.0.0.1:1/nothing"


def forms(text: str) -> set[bytes]:
    """As it could appear: as it is, escaped, in hex, or inside a base64 text that began before it."""
    content = text.encode()
    found = {text, quote(text, safe=""), quote_plus(text), json.dumps(text)[1:-1], content.hex()}
    found |= {each.lower() for each in found} | {content.hex().upper()}
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        found |= {encode(b"\0" * shift + content).decode()[4:-4] for shift in range(3)}
    return {each.encode() for each in found}


def pieces(secret: str) -> set[bytes]:
    """Of a secret any run that is long enough to matter, too."""
    return {secret[at : at + PIECE].encode() for at in range(len(secret) - PIECE + 1)} | forms(secret)


def members(archive: Path) -> dict[str, bytes]:
    """By name the files of an archive."""
    found = {}
    with tarfile.open(archive) as opened:
        for each in opened:
            file = opened.extractfile(each)
            assert file is not None
            assert (each.uname, each.gname, each.mode) == ("", "", 0o600)
            found[each.name.rpartition("/")[2]] = file.read()
    return found


def contents(archive: Path) -> Any:
    """All parts by name, after they have been found to be what the schema's type says, and no more."""
    parts = {name.removesuffix(".json"): json.loads(text) for name, text in members(archive).items()}
    whole = {name: parts.get(name) for name in BundleContents.__dataclass_fields__}
    assert parts.keys() <= whole.keys()
    return document_of("support-bundle contents", json.dumps(whole))


@pytest.fixture
def hub() -> Iterator[SimulatedHub]:
    with SimulatedHub(HubConfig(changes_per_second=20, seed=11, api_key=KEY)) as running:
        yield running


@pytest.fixture
def runtime() -> Iterator[Path]:
    """With a short name: the path of a socket may have 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


RECORD = json.dumps({"userId": PERSON, "apiKey": KEY, "available": AMOUNT}).encode()
LINES = [
    {
        "event": "commit_delayed",
        "level": "warning",
        "timestamp": "2026-11-26T12:00:00Z",
        "error": f"Failing row contains ({PERSON}, {AMOUNT}, {PASSWORD})",
        "cause": PERSON,
        "reason": KEY,
        "waiting_records": 7,
        "exception_type": "builtins.ValueError",
        "exception": f'Traceback:\n  File "/home/alice/ingestor/pipeline/writer.py", line 12, in _turn\n'
        f"    give({AMOUNT!r})\nValueError: {KEY}",
    },
    {"event": f"said by {PERSON}", "level": "info", "error": KEY},
    {"event": "event_quarantined", "level": "warning", "detail": AMOUNT, "amount": AMOUNT, "ordinal": 3},
]
"""What a log may have, and what it should never have."""


def plant(database: str) -> None:
    """Texts that came from outside, wherever the database keeps some."""
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:

        def sql(statement: str, *values: object) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement.encode(), values)
            return cursor.fetchall() if cursor.description else []

        where = {"account": ACCOUNT, "session_id": str(uuid4()), "ordinal": 7, "received_at": NOW}
        insert(sql, "raw_event", **where, size=len(RECORD), raw=RECORD)
        insert(
            sql,
            "dead_letter",
            **where,
            position=0,
            stage="decode",
            reason="bad_number",
            detail=f"{PERSON}: {AMOUNT}, apiKey={KEY}",
            subject=f"{PERSON} {KEY}",
            software_version="1",
            occurrences=3,
            last_received_at=NOW,
        )
        gap(sql, "{balances}", name=ACCOUNT, user=PERSON, kind="sequence_skip")
        sql(
            "UPDATE ingest.heartbeat SET host = %s, connection_error_detail = %s",
            HOST,
            f"{PERSON}: {KEY} {AMOUNT}",
        )
        sql("UPDATE ingest.request SET error = %s", f"{PERSON}: {KEY}")


def private_values(sql: Query) -> set[str]:
    """The users and the long amounts that the hub has sent."""
    users = {user for (user,) in sql("SELECT DISTINCT user_id FROM ingest.watermark WHERE user_id <> ''")}
    amounts = {
        str(amount)
        for (amount,) in sql(
            "SELECT available FROM ingest.balance UNION SELECT allocated FROM ingest.balance "
            "UNION SELECT current_exposure FROM ingest.exposure UNION SELECT max_size FROM ingest.pair"
        )
    }
    return users | {each for each in amounts if len(each) >= 10}


def test_no_secret_no_amount_and_no_person_is_in_it(
    hub: SimulatedHub, database: str, sql: Query, tmp_path: Path, runtime: Path
) -> None:
    env = environment(
        hub.url,
        database.replace("//postgres@", f"//postgres:{quote(PASSWORD, safe='')}@"),
        KEY,
        XDG_RUNTIME_DIR=str(runtime),
        OTHER_TOKEN=ELSEWHERE,
    )
    log, archive = tmp_path / "daemon.log", tmp_path / "bundle.tar.gz"
    with Daemon(env) as daemon:
        eventually(lambda: command("status", env=env).returncode == 0, within=40)
        eventually(lambda: len(private_values(sql)) > 3, within=20)
        private = private_values(sql)
        log.write_text("\n".join([daemon.log(), *map(json.dumps, LINES)]))
        words = ("support-bundle", "--output", str(archive), "--log", str(log))
        done = command(*words, "--json", env=env)
        assert done.returncode == 0, done.stderr
        live = contents(archive)["live"]
        assert (live["daemon_status"]["link"], live["not_live"]) == ("up", [])
        assert daemon.terminate() == 0
    first = archive.read_bytes()
    assert command(*words, env=env).returncode == 73, "an archive is never overwritten"
    assert archive.read_bytes() == first
    archive.unlink()
    plant(database)
    shown = command(*words, env=env)
    assert shown.returncode == 0, shown.stderr

    assert archive.stat().st_mode & 0o777 == 0o600
    assert document_of("support-bundle", done.stdout)["missing"] == {}
    found = contents(archive)
    check_it_helps(found)
    assert "missing: live: no daemon of this account answers" in shown.stdout
    for name in members(archive):
        assert f"  {name}" in shown.stdout

    (tmp_path / "first").write_bytes(first)
    everything = b"\n".join(
        [
            *(text for each in (archive, tmp_path / "first") for text in members(each).values()),
            *(each.encode() for each in (done.stdout, done.stderr, shown.stdout, shown.stderr)),
        ]
    )
    for secret in SECRETS:
        assert {form for form in pieces(secret) if form in everything} == set()
    for value in (*PRIVATE, *private):
        assert {form for form in forms(value) if form in everything} == set()


def check_it_helps(found: dict[str, Any]) -> None:
    """Each part says something: what is left out is not simply everything."""
    assert found["versions"]["packages"]["psycopg"]
    assert int(found["versions"]["postgres"].split(".")[0]) >= 15
    settings = {each["key"]: each for each in found["settings"]}
    assert settings["account"] == {"key": "account", "value": ACCOUNT, "origin": "environment"}
    assert "dbname=test_" in settings["database.url"]["value"]
    assert found["status"]["daemon"] == "stopped"
    assert {each["kind"] for each in found["status"]["account"]["streams"]} == {"balances", "pairs"}
    assert found["schema"] == {"found": "0002", "wanted": "0002", "pending": []}
    assert found["outcomes"]["applied"] > 0
    assert "sequence_skip" in {each["kind"] for each in found["gaps"]}
    (letter,) = found["dead_letters"]
    assert (letter["reason"], letter["occurrences"]) == ("bad_number", 3)
    assert {"raw_event", "outcome", "balance"} <= {each["table"] for each in found["sizes"]}
    events = [each["event"] for each in found["log"]]
    assert {"daemon_started", "link_up"} <= set(events)
    delayed, quarantined = found["log"][-2:]
    assert delayed["facts"] == {"waiting_records": 7, "reason": "[redacted]"}
    assert delayed["frames"] == ["ingestor/pipeline/writer.py:12 _turn"]
    assert quarantined["facts"] == {"ordinal": 3}


def test_the_search_finds_what_it_looks_for() -> None:
    for value in (*SECRETS, *PRIVATE):
        for disguise in (
            f"said {value}",
            quote(value, safe=""),
            base64.b64encode(f"x:{value}".encode()).decode(),
            base64.urlsafe_b64encode(f"{{{value}".encode()).decode(),
            value.encode().hex(),
        ):
            assert [form for form in forms(value) if form in disguise.encode()], disguise
    assert [form for form in pieces(KEY) if form in KEY[10:18].encode()]


def test_with_the_database_down_the_rest_is_there_and_what_is_missing_is_named(tmp_path: Path) -> None:
    """The reasons may have names of hosts, so they are for the terminal and not in the archive."""
    archive, log = tmp_path / "bundle.tar.gz", tmp_path / "empty.log"
    log.write_text("no JSON\n")
    env = environment("http://127.0.0.1:1/hub", NOWHERE, KEY)
    words = ("support-bundle", "--output", str(archive), "--json")
    done = command(*words, "--log", str(log), env=env)

    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    in_database = {"postgres", "status", "schema", "outcomes", "gaps", "dead_letters", "sizes"}
    assert report["missing"].keys() == in_database | {"live", "log"}
    assert "Connection refused" in report["missing"]["postgres"]
    assert {each["name"] for each in report["files"]} == set(members(archive))
    assert members(archive).keys() == {"versions.json", "settings.json"}
    settings = {each["key"]: each["value"] for each in contents(archive)["settings"]}
    assert settings["database.url"] == "host=127.0.0.1 port=1 dbname=nothing"
    assert b"somebody" not in b"".join(members(archive).values())
    assert b"Connection refused" not in b"".join(members(archive).values())


def test_it_can_be_sent_to_standard_output(tmp_path: Path) -> None:
    env = environment("http://127.0.0.1:1/hub", NOWHERE, KEY)
    archive = tmp_path / "bundle.tar.gz"
    with archive.open("wb") as file:
        done = subprocess.run(
            [sys.executable, "-m", "ingestor", "support-bundle", "--output", "-"],
            env=env,
            cwd=tmp_path,
            stdout=file,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=True,
        )
    assert "versions.json" in members(archive)
    assert "  versions.json" in done.stderr
    assert list(tmp_path.iterdir()) == [archive]


def test_wrong_settings_are_78(tmp_path: Path) -> None:
    env = environment("http://127.0.0.1:1/hub", NOWHERE, KEY, INGESTOR_LOG__LEVEL="loud")
    done = command("support-bundle", "--output", str(tmp_path / "bundle.tar.gz"), env=env)
    assert done.returncode == 78
    assert list(tmp_path.iterdir()) == []
