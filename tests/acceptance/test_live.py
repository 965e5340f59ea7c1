"""What an operator sees of a running daemon: `ingestor top` and `ingestor tail`, over its local socket."""

import json
import os
import pty
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import pytest

from ingestor.cli.documents import DOCUMENTS
from ingestor.simulator import SimulatedHub
from tests.acceptance.conftest import Query
from tests.acceptance.test_local_socket import NOWHERE, document
from tests.support.daemon import ACCOUNT, ROOT, Daemon, command, environment
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def runtime() -> Iterator[str]:
    """With a short name: the path of a socket may have 107 bytes."""
    with tempfile.TemporaryDirectory() as name:
        yield name


@pytest.fixture
def running(hub: SimulatedHub, database: str, runtime: str) -> Iterator[dict[str, str]]:
    """A daemon that is well; gives the environment of who looks, without the database."""
    env = environment(hub.url, database, hub.config.api_key, XDG_RUNTIME_DIR=runtime)
    with Daemon(env) as daemon:
        eventually(lambda: command("status", env=env).returncode == 0, within=40)
        yield environment(hub.url, NOWHERE, hub.config.api_key, XDG_RUNTIME_DIR=runtime)
        assert daemon.terminate() == 0, daemon.log()


def test_top_tells_what_the_tables_have(running: dict[str, str], sql: Query) -> None:
    now = document("top", "top", env=running, code=0)

    assert (now["account"], now["daemon_status"]["link"], now["not_ready"]) == (ACCOUNT, "up", {})
    assert {each["kind"] for each in now["streams"]} == {"balances", "pairs"}
    recent = sum(now["records_each_ten_seconds"])
    assert sum(each["records"] for each in now["latency"]) == recent
    ((records,),) = sql("SELECT count(*) FROM ingest.raw_event")
    assert 0 < recent <= records


def test_top_fits_a_narrow_terminal_without_colour(running: dict[str, str]) -> None:
    done = command("top", "--once", env=running)

    lines = done.stdout.splitlines()
    assert done.returncode == 0
    assert max(map(len, lines)) <= 80
    assert "\x1b" not in done.stdout
    labels = [label for line in lines[1:] if (label := line[:10].strip())]
    assert " ".join(labels) == "ready link rate outcomes records latency inbox streams gaps requests"


def test_top_goes_on_until_it_is_interrupted(running: dict[str, str]) -> None:
    """On a terminal, where it waits for a daemon that has gone too."""
    master, terminal = pty.openpty()
    env = running | {"TERM": "xterm", "COLUMNS": "80", "LINES": "40"}
    words = [sys.executable, "-m", "ingestor", "top", "--every", "0.2"]
    with subprocess.Popen(words, env=env, cwd=ROOT, stdin=terminal, stdout=terminal, stderr=terminal) as top:
        os.close(terminal)
        shown = b""
        while shown.count(b"streams") < 3:
            shown += os.read(master, 65_536)
        top.send_signal(signal.SIGINT)
        try:
            while os.read(master, 65_536):
                pass
        except OSError:  # a terminal without a program
            pass
        assert top.wait(10) == 0
    os.close(master)


def tailed(env: Mapping[str, str], *words: str) -> list[dict[str, Any]]:
    """The events that `ingestor tail` shows, after they have been found to be what the schema's type says."""
    done = command("tail", "--json", *words, env=env)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    read: list[Any] = [msgspec.json.decode(line, type=DOCUMENTS["tail"]) for line in lines]
    assert [json.loads(msgspec.json.encode(each)) for each in read] == [json.loads(line) for line in lines]
    return [json.loads(line) for line in lines]


def test_tail_shows_what_is_committed_in_its_order(running: dict[str, str], sql: Query) -> None:
    events = tailed(running, "-n", "30")

    assert len(events) == 30
    numbers = [each["number"] for each in events]
    assert numbers == list(range(numbers[0], numbers[0] + 30))
    stored = "SELECT outcome, sequence FROM ingest.event_outcome WHERE session_id = %s AND ordinal = %s"
    for each in events:
        assert sql(stored, each["session_id"], each["ordinal"]) == [(each["outcome"], each["sequence"])]


def test_tail_filters_and_masks(running: dict[str, str], sql: Query) -> None:
    """I18."""
    env = running
    ((user,),) = sql("SELECT user_id FROM ingest.watermark WHERE kind = 'balances'")
    (event,) = tailed(env, "-n", "1", "--stream", "balances", "--outcome", "applied", "--record")
    assert (event["stream"], event["outcome"]) == ("balances", "applied")
    assert "account.balances.snapshot" in event["record"]
    assert user not in event["record"]

    done = command("tail", "-n", "2", "--record", "--subject", "account.balances.snapshot", env=env)
    assert done.returncode == 0
    assert user not in done.stdout
    heads = [line for line in done.stdout.splitlines() if not line.startswith("    ")]
    assert len(heads) == 2
    assert all(len(line) <= 80 and "account.balances.snapshot" in line for line in heads)


def test_a_reader_that_stands_still_costs_the_daemon_nothing_and_is_told_what_it_missed(
    hub: SimulatedHub, running: dict[str, str], sql: Query
) -> None:
    """I13: what is kept for it is bounded, and the writer goes on."""
    words = [sys.executable, "-m", "ingestor", "tail", "--json"]
    with subprocess.Popen(words, env=running, cwd=ROOT, stdout=subprocess.PIPE, text=True) as tail:
        assert tail.stdout is not None
        tail.stdout.readline()
        tail.send_signal(signal.SIGSTOP)
        before = sql("SELECT count(*) FROM ingest.raw_event")[0][0]
        for _ in range(4):
            hub.burst(3_000)
        eventually(lambda: sql("SELECT count(*) FROM ingest.raw_event")[0][0] >= before + 12_000, within=60)
        tail.send_signal(signal.SIGCONT)
        missed = 0
        while not missed:
            missed = json.loads(tail.stdout.readline())["missed"]
        assert missed > 5_000
        tail.send_signal(signal.SIGINT)
        tail.stdout.read()
        assert tail.wait(10) == 0


def test_without_a_daemon_both_say_so(runtime: str) -> None:
    env = environment("http://127.0.0.1:1/hub", NOWHERE, "a-key", XDG_RUNTIME_DIR=runtime)
    for name in ("top", "tail"):
        done = command(name, "--json", env=env)
        assert done.returncode == 69
        assert "no daemon" in json.loads(done.stdout)["error"]
