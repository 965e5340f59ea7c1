"""The threads of a running daemon are the ones that ARCHITECTURE.md lists, each while it says so."""

import re
import threading
from collections.abc import Iterator

import pytest

from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Metrics, Settings, Snapshots
from ingestor.simulator import Fault, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, ROOT
from tests.support.waiting import eventually

LISTENING = "if `metrics.listen` is set"


def documented(*lives: str) -> set[str]:
    """The threads that live always, and those that live then."""
    text = (ROOT / "ingestor" / "ARCHITECTURE.md").read_text()
    section = text.partition("## Threads")[2].partition("## ")[0]
    listed = dict(re.findall(r"(?m)^\| `(.+?)` \| .+ \| (.+) \|$", section))
    assert set(lives) <= set(listed.values())
    return {name for name, when in listed.items() if when in {"always", *lives}}


@pytest.fixture
def others(hub: SimulatedHub, database: str) -> set[threading.Thread]:
    """Threads that are not the daemon's: the simulated hub's, and what pytest itself has."""
    return set(threading.enumerate()) - {threading.main_thread()}


@pytest.fixture
def ingestor(others: set[threading.Thread], hub: SimulatedHub, database: str) -> Iterator[Ingestor]:
    settings = Settings(
        account=ACCOUNT,
        hub=Hub(environment=Environment.CUSTOM, url=hub.url, backoff_cap_seconds=0.1),
        snapshots=Snapshots(balances_interval_seconds=1, reply_deadline_seconds=1),
        metrics=Metrics(listen="127.0.0.1:0"),
    )
    made = Ingestor(settings, database, lambda: hub.config.api_key)
    made.start(threading.Event(), lambda _: None)
    yield made
    assert made.stop(10.0)


def test_a_daemon_has_exactly_the_threads_that_are_documented(
    hub: SimulatedHub, ingestor: Ingestor, others: set[threading.Thread], sql: Query
) -> None:
    def running() -> set[str]:
        # A pool numbers its threads.
        return {re.sub(r"-\d+_\d+$", "", thread.name) for thread in set(threading.enumerate()) - others}

    eventually(lambda: sql("SELECT 1 FROM ingest.request WHERE cause = 'schedule' AND outcome = 'answered'"))
    assert running() == documented("while connected", "from the first scheduled snapshot on", LISTENING)

    hub.inject(Fault.NEGOTIATE_HANG, count=None)
    hub.inject(Fault.RESTART, seconds=0.0)
    eventually(lambda: ingestor.daemon_status().link == "negotiating" and "hub connector" in running())
    assert running() == documented("while connecting", "from the first scheduled snapshot on", LISTENING)
