"""However the link is lost, it comes back, requests everything, and one gap row names the cause.

Invariants I2, I11, I12, I14.
"""

import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings, Snapshots
from ingestor.simulator import Fault, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

Harm = Callable[[SimulatedHub], float]
"""Harms the hub; gives the seconds after which it is well again."""

_seconds: dict[str, float] = {}


def _settings(hub: SimulatedHub) -> Settings:
    return Settings(
        account="acceptance",
        hub=Hub(
            environment=Environment.CUSTOM,
            url=hub.url,
            negotiate_deadline_seconds=1,
            start_deadline_seconds=1,
            handshake_deadline_seconds=1,
            receive_deadline_seconds=2,
            ping_interval_seconds=0.5,
            backoff_cap_seconds=1,
            refused_interval_seconds=1,
        ),
        snapshots=Snapshots(reply_deadline_seconds=3),
    )


@pytest.fixture
def ingestor(hub: SimulatedHub, database: str) -> Iterator[Ingestor]:
    made = Ingestor(_settings(hub), database, lambda: hub.config.api_key)
    made.start(threading.Event(), lambda _: None)
    yield made
    assert made.stop(10.0)


@pytest.fixture(scope="module", autouse=True)
def figures(request: pytest.FixtureRequest) -> Iterator[None]:
    """The seconds from a hub that is well again to a fresh committed snapshot, printed at the end."""
    yield
    if _seconds:
        spent = sorted(_seconds.values())
        line = f"\nseconds to a fresh snapshot: p50 {statistics.median(spent):.2f}, max {spent[-1]:.2f} "
        line += ", ".join(f"{name} {value:.2f}" for name, value in sorted(_seconds.items()))
        with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
            print(line)


def away(seconds: float) -> Harm:
    def harm(hub: SimulatedHub) -> float:
        hub.inject(Fault.RESTART, seconds=seconds)
        return seconds

    return harm


def at_once(fault: Fault, **particulars: Any) -> Harm:
    def harm(hub: SimulatedHub) -> float:
        hub.inject(fault, **particulars)
        return 0.0

    return harm


def on_return(fault: Fault, **particulars: Any) -> Harm:
    """The hub restarts, and the first attempts to come back meet this."""

    def harm(hub: SimulatedHub) -> float:
        hub.inject(fault, count=2, **particulars)
        hub.inject(Fault.RESTART, seconds=0.0)
        return 0.0

    return harm


HARMS: dict[str, tuple[Harm, str]] = {
    "away for 1 s": (away(1), "refused"),
    "401": (on_return(Fault.NEGOTIATE_STATUS, status=401), "http_401"),
    "403": (on_return(Fault.NEGOTIATE_STATUS, status=403), "http_403"),
    "404 at the upgrade": (on_return(Fault.UPGRADE_STATUS, status=404), "http_404"),
    "503": (on_return(Fault.NEGOTIATE_STATUS, status=503), "http_503"),
    "HTML": (on_return(Fault.NEGOTIATE_PAGE), "not_json"),
    "hanging negotiate": (on_return(Fault.NEGOTIATE_HANG), "timeout_negotiate"),
    "hanging upgrade": (on_return(Fault.UPGRADE_HANG), "timeout_upgrade"),
    "handshake error": (on_return(Fault.HANDSHAKE_ERROR, error="no"), "handshake_error"),
    "handshake never answered": (on_return(Fault.HANDSHAKE_HANG), "timeout_handshake"),
    "Close": (at_once(Fault.CLOSE), "closed_by_hub"),
    "Close with an error": (at_once(Fault.CLOSE, error="bye", allow_reconnect=True), "closed_by_hub"),
    "RST": (at_once(Fault.RST), "reset"),
    "FIN": (at_once(Fault.FIN), "eof"),
    "silence": (at_once(Fault.SILENCE), "silent"),
}

LONG = {"away for 10 s": (away(10), "refused"), "away for 60 s": (away(60), "refused")}


def _recovers(name: str, harm: Harm, cause: str, hub: SimulatedHub, ingestor: Ingestor, sql: Query) -> None:
    eventually(lambda: ingestor.daemon_status().outcomes.get("applied", 0) >= 2)
    sessions = sql("SELECT count(*) FROM ingest.session")[0][0]
    well_again = time.monotonic() + harm(hub)
    eventually(
        lambda: sql(
            "SELECT 1 FROM ingest.gap WHERE kind = 'disconnected' AND ordinal > 0 AND ended_at IS NOT NULL"
        ),
        within=90,
    )
    _seconds[name] = max(0.0, time.monotonic() - well_again)

    gaps = sql("SELECT cause, connection_errors FROM ingest.gap WHERE kind = 'disconnected' AND ordinal > 0")
    assert len(gaps) == 1, gaps
    assert cause in (gaps[0][0], *gaps[0][1])
    assert sql("SELECT count(*) FROM ingest.session")[0][0] == sessions + 1
    requested = sql(
        "SELECT command, outcome FROM ingest.request WHERE cause = 'link_up' AND session_id = "
        "(SELECT session_id FROM ingest.session ORDER BY opened_at DESC LIMIT 1) ORDER BY command"
    )
    assert requested == [("GetBalances", "answered"), ("GetPairs", "answered")]
    assert set(hub.targets_seen) == {"GetBalances", "GetPairs"}
    assert ingestor.dead() is None


@pytest.mark.parametrize("name", HARMS)
def test_the_link_recovers(name: str, hub: SimulatedHub, ingestor: Ingestor, sql: Query) -> None:
    _recovers(name, *HARMS[name], hub, ingestor, sql)


@pytest.mark.parametrize("name", LONG)
def test_the_link_recovers_from_a_long_absence(
    name: str, hub: SimulatedHub, ingestor: Ingestor, sql: Query
) -> None:
    _recovers(name, *LONG[name], hub, ingestor, sql)


def test_a_websocket_ping_with_a_payload_costs_nothing(
    hub: SimulatedHub, ingestor: Ingestor, sql: Query
) -> None:
    """uvicorn and proxies send them; signalrcore alone would lose the link."""
    eventually(lambda: ingestor.daemon_status().outcomes.get("applied", 0) >= 2)
    hub.inject(Fault.WEBSOCKET_PING, payload=b"\xff\x00payload")
    before = ingestor.daemon_status().records
    eventually(lambda: ingestor.daemon_status().records > before + 10)

    assert sql("SELECT count(*) FROM ingest.session")[0][0] == 1
