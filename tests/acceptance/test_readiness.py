"""How long readiness is wrong, and which alerts fire, for each fault of hub, database and process: the real
daemon with the deadlines that it has by default."""

import os
import re
import signal
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg
import pytest

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.app import metrics, wiring
from ingestor.app.database import upgrade_database
from ingestor.app.health import not_ready
from ingestor.app.metrics import PREFIX
from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings
from ingestor.domain.records import Record
from ingestor.pipeline.inbox import Inbox
from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.alerts import PROMTOOL, check, firing_at, history, scraped
from tests.support.daemon import QUICK, ROOT, Daemon, environment
from tests.support.postgres import postgres_directory, server_under_test
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

DOCUMENT = (ROOT / "deploy" / "METRICS.md").read_text()
_PROBE_SECONDS = 1.0
LONGEST_SECONDS = 45.0


@dataclass
class World:
    """A daemon, what it depends on, and a probe."""

    daemon: Daemon
    hub: SimulatedHub
    address: str
    server: EmbeddedPostgres

    def page(self, path: str) -> tuple[int, str]:
        """Status 0: no answer in time."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=_PROBE_SECONDS) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def is_ready(self) -> bool:
        return self.page("/health/ready")[0] == 200

    def metrics(self) -> str | None:
        status, text = self.page("/metrics")
        return text if status == 200 else None

    def shows(self, sample: str) -> bool:
        return f"\n{PREFIX}{sample}\n" in (self.metrics() or "")


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """Of this module alone, because it is stopped."""
    with postgres_directory() as directory, server_under_test(directory) as running:
        yield running


@contextmanager
def world(
    server: EmbeddedPostgres, name: str, hub: HubConfig, settings: Mapping[str, str]
) -> Iterator[World]:
    url = server.ensure_database(name)
    upgrade_database(url)
    with SimulatedHub(hub) as simulated:
        env = environment(simulated.url, url, simulated.config.api_key)
        env = {key: value for key, value in env.items() if key not in QUICK}
        with Daemon({**env, "INGESTOR_METRICS__LISTEN": "127.0.0.1:0", **settings}) as daemon:
            here = World(daemon, simulated, _address(daemon), server)
            eventually(here.is_ready, within=20)
            yield here
            assert daemon.terminate(20) == 0


def _address(daemon: Daemon) -> str:
    (listening,) = eventually(lambda: daemon.events("metrics_listening"), within=20)
    return str(listening["address"])


# --- the faults: each gives the moment from which data does not flow, and is over when its block ends ---


@contextmanager
def hub_gone(here: World) -> Iterator[float]:
    yield _since(here.hub.go_away)
    here.hub.come_back()


@contextmanager
def hub_silent(here: World) -> Iterator[float]:
    yield _since(lambda: here.hub.inject(Fault.SILENCE))


@contextmanager
def commands(here: World, fault: Fault) -> Iterator[float]:
    """Nothing is missing before the first request of the hub that is not answered as it should be."""
    here.hub.inject(fault, count=None)
    eventually(lambda: here.hub.fault_counts[fault], within=30)
    yield time.monotonic()
    here.hub.clear_faults()


@contextmanager
def commands_refused(here: World) -> Iterator[float]:
    with commands(here, Fault.COMMAND_COMPLETION_ERROR) as since:
        yield since


@contextmanager
def commands_unanswered(here: World) -> Iterator[float]:
    with commands(here, Fault.COMMAND_SILENCE) as since:
        yield since


@contextmanager
def key_refused(here: World) -> Iterator[float]:
    key = here.hub.config.api_key
    here.hub.change_key("another")
    yield _since(lambda: here.hub.inject(Fault.RST))
    here.hub.change_key(key)


@contextmanager
def database_locked(here: World) -> Iterator[float]:
    with psycopg.connect(here.server.dsn("database_locked")) as rival:
        yield _since(lambda: rival.execute("LOCK TABLE ingest.raw_event IN ACCESS EXCLUSIVE MODE"))


@contextmanager
def database_gone(here: World) -> Iterator[float]:
    yield _since(here.server.stop)
    here.server.start()


@contextmanager
def database_hangs(here: World) -> Iterator[float]:
    """As when its host vanishes: nothing is answered, and nothing ends."""
    with processes(here.server) as pids:
        began = time.monotonic()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        yield began


@contextmanager
def processes(server: EmbeddedPostgres) -> Iterator[list[int]]:
    """Of a server; they go on when the block ends."""
    postmaster = psutil.Process(server.postmaster_pid)
    pids = [postmaster.pid, *(child.pid for child in postmaster.children())]
    try:
        yield pids
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def process_stopped(here: World) -> Iterator[float]:
    yield _since(lambda: here.daemon.process.send_signal(signal.SIGSTOP))
    here.daemon.process.send_signal(signal.SIGCONT)


def _since(cause: Callable[[], object]) -> float:
    began = time.monotonic()
    cause()
    return began


@dataclass(frozen=True)
class Case:
    """A fault, what it must set off, and where it is listed in METRICS.md."""

    documented: str
    fault: Callable[[World], AbstractContextManager[float]]
    firing: tuple[str, ...] | None
    """After ten minutes of it; None: it ends by itself."""
    shows: str | None = None
    """What the metrics show once it has had all its effects; None: no metrics."""
    settings: Mapping[str, str] = field(default_factory=dict)
    changes_per_second: float = 20.0


_OFTEN = {"INGESTOR_SNAPSHOTS__BALANCES_INTERVAL_SECONDS": "15"}
_SMALL_INBOX = {"INGESTOR_INBOX__MAX_RECORDS": "50", "INGESTOR_INBOX__PUT_TIMEOUT_SECONDS": "0.5"}

CASES = (
    Case("the hub is gone", hub_gone, ("NotReady", "GapOpen"), 'gaps_open{kind="disconnected"} 1.0'),
    Case("the hub is silent", hub_silent, None),
    Case(
        "the hub refuses requests",
        commands_refused,
        ("NotReady", "GapOpen"),
        'gaps_open{kind="unanswered"} 1.0',
        _OFTEN,
        changes_per_second=0,
    ),
    Case(
        "the hub does not answer requests",
        commands_unanswered,
        ("NotReady", "GapOpen"),
        'gaps_open{kind="unanswered"} 1.0',
        _OFTEN,
        changes_per_second=0,
    ),
    Case("the hub refuses the key", key_refused, ("NotReady", "GapOpen", "KeyRefused"), "key_refused 1.0"),
    Case("the database is locked", database_locked, ("NotReady", "NotCommitting"), "commit_retrying 1.0"),
    Case("the database hangs", database_hangs, ("NotReady", "NotCommitting"), "commit_retrying 1.0"),
    Case(
        "the database is gone",
        database_gone,
        ("NotReady", "NotCommitting", "Dropped"),
        "dropping 1.0",
        _SMALL_INBOX,
    ),
    Case(
        "the database is gone, and the hub sends nothing",
        database_gone,
        ("NotReady",),
        'not_ready_reason{reason="commits"} 1.0',
        changes_per_second=0,
    ),
    Case("the process is stopped", process_stopped, ("Down",)),
)


def published() -> dict[str, float]:
    """The longest wrong time for each fault, in seconds."""
    text = DOCUMENT.partition("## How long readiness can be wrong")[2]
    return {name: float(most) for name, most in re.findall(r"(?m)^\| (.+) \| ([\d.]+) s \|", text)}


def test_every_published_time_is_measured_and_short_enough() -> None:
    assert published().keys() == {case.documented for case in CASES}
    assert max(published().values()) <= LONGEST_SECONDS


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", CASES, ids=[case.documented.replace(" ", "-") for case in CASES])
def test_readiness_is_wrong_for_no_longer_than_published_and_the_alerts_fire(
    case: Case, server: EmbeddedPostgres, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = case.fault.__name__
    hub = HubConfig(changes_per_second=case.changes_per_second, seed=11)
    with world(server, name, hub, case.settings) as here:
        well = here.metrics()
        assert well is not None
        assert f"\n{len(scraped(well)) - 1} series for an account." in DOCUMENT  # less `up`
        with case.fault(here) as since:
            last_ready = since
            while (asked := time.monotonic()) < since + 2 * LONGEST_SECONDS and here.is_ready():
                last_ready = asked
                time.sleep(0.02)
            assert asked < since + 2 * LONGEST_SECONDS, "it was ready all the time"
            during = _scrapes(here, case) if case.firing is not None else None
        eventually(here.is_ready, within=90, every=0.1)
    wrong = last_ready - since
    with capsys.disabled():
        print(f"\n{case.documented}: ready for {wrong:.1f} s; published {published()[case.documented]:g} s")
    assert wrong <= published()[case.documented]
    if case.firing is not None and PROMTOOL is not None:
        check(tmp_path, history(well, during, 12), [firing_at(1.75), firing_at(12, *case.firing)])


def _scrapes(here: World, case: Case) -> tuple[str, str] | None:
    """Two, a second apart, once the fault has had its effects."""
    if case.shows is None:
        return None
    eventually(lambda: here.shows(case.shows or ""), within=60, every=0.1)
    first = here.metrics()
    time.sleep(1.1)  # two moments, to see which ages grow
    second = here.metrics()
    assert first is not None
    assert second is not None
    return first, second


@contextmanager
def inside(hub: SimulatedHub, database: str) -> Iterator[Callable[[], str]]:
    """The daemon in this process, for what cannot be provoked from outside; gives its metrics."""
    settings = Settings(hub=Hub(environment=Environment.CUSTOM, url=hub.url))
    ingestor = Ingestor(settings, database, lambda: hub.config.api_key)
    ingestor.start(threading.Event(), lambda _: None)
    try:
        eventually(lambda: not not_ready(ingestor.daemon_status()), within=20)
        yield lambda: metrics.page(ingestor.daemon_status).decode()
    finally:
        ingestor.stop(5.0)


def _value(text: str, name: str) -> float:
    return next(value for series, value in scraped(text).items() if series.startswith(f"{PREFIX}{name}{{"))


def test_a_host_whose_clock_is_wrong_sets_off_its_alert(
    hub: SimulatedHub, database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = timedelta(0)
    clock = DatabaseClock(lambda: datetime.now(UTC) + ahead)
    monkeypatch.setattr(wiring, "DatabaseClock", lambda: clock)
    with inside(hub, database) as scrape:
        well = scrape()
        ahead = timedelta(seconds=6)
        eventually(lambda: _value(scrape(), "clock_offset_seconds") > 5, within=20, every=0.1)
        wrong = scrape()
    assert _value(well, "clock_offset_seconds") < 1
    if PROMTOOL is not None:
        check(tmp_path, history(well, (wrong, wrong), 12), [firing_at(1.75), firing_at(12, "ClockOffset")])


def test_a_record_that_is_lost_inside_sets_off_its_alert(
    hub: SimulatedHub, database: str, sql: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant I1, broken by a bug: a record that the link has numbered never reaches the inbox."""
    put, lose = Inbox.put_records, threading.Event()

    def put_all_but_one(inbox: Inbox, records: Sequence[Record]) -> None:
        lost = len(records) if lose.is_set() else 0
        lose.clear()
        put(inbox, records[lost:])

    monkeypatch.setattr(Inbox, "put_records", put_all_but_one)
    with inside(hub, database) as scrape:
        well = scrape()
        lose.set()
        eventually(lambda: _value(scrape(), "unaccounted_records"), within=20)
        wrong = scrape()
    assert _value(well, "unaccounted_records") == 0
    assert sql("SELECT records FROM report.unaccounted") == [(_value(wrong, "unaccounted_records"),)]
    if PROMTOOL is not None:
        check(tmp_path, history(well, (wrong, wrong), 12), [firing_at(1.75), firing_at(12, "Unaccounted")])


def test_a_start_that_waits_for_its_database_is_live_and_not_ready(
    hub: SimulatedHub, server: EmbeddedPostgres
) -> None:
    nowhere = "postgresql://ingestor@127.0.0.1:9/x"
    env = environment(hub.url, nowhere, hub.config.api_key, INGESTOR_METRICS__LISTEN="127.0.0.1:0")
    with Daemon(env) as daemon:
        here = World(daemon, hub, _address(daemon), server)
        assert here.page("/health/live") == (200, "live\n")
        assert here.page("/health/ready") == (503, "not ready\nstarting: it waits for the database\n")
        assert here.shows('not_ready_reason{reason="starting"} 1.0')
        assert daemon.terminate() == 0


def test_a_standby_says_so_and_is_ready_after_it_has_taken_over(
    hub: SimulatedHub, database: str, server: EmbeddedPostgres
) -> None:
    env = environment(hub.url, database, hub.config.api_key, INGESTOR_METRICS__LISTEN="127.0.0.1:0")
    with Daemon(env) as first, Daemon(env) as second:
        worlds = [World(daemon, hub, _address(daemon), server) for daemon in (first, second)]
        ready = eventually(lambda: [each for each in worlds if each.is_ready()], within=20)[0]
        standby = next(each for each in worlds if each is not ready)
        said = "not ready\nstandby: another process writes the account\n"
        eventually(lambda: standby.page("/health/ready") == (503, said), within=20)
        assert ready.daemon.terminate() == 0
        eventually(standby.is_ready, within=20)
        assert standby.daemon.terminate() == 0
