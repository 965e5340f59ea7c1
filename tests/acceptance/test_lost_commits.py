"""Commits that the server acknowledged and lost: noticed at once, on record by ordinal, and made good."""

import json
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec
import psycopg
import pytest

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.app.database import upgrade_database
from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.support.clusters import (
    copy_data,
    crash,
    promote,
    put_back,
    stalled_replication,
    standby_of,
    url_of_both,
)
from tests.support.daemon import ACCOUNT, Daemon, environment
from tests.support.oracle import judge
from tests.support.postgres import postgres_directory, server_under_test
from tests.support.waiting import eventually

DATABASE = "lost"
POLLS = {
    "INGESTOR_SNAPSHOTS__BALANCES_INTERVAL_SECONDS": "5",
    "INGESTOR_SNAPSHOTS__PAIRS_INTERVAL_SECONDS": "5",
}
BUSY, QUIET = 80.0, 2.0
"""Changes a second."""

both = pytest.mark.parametrize("rate", [pytest.param(BUSY, id="busy"), pytest.param(QUIET, id="quiet")])
pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@dataclass
class Trading:
    """Changes of the account, while the block lasts."""

    hub: SimulatedHub
    rate: float
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, name="trading")
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self.hub.settle()

    def _run(self) -> None:
        while not self._stop.wait(1 / self.rate):
            self.hub.account.change()


def exactly(payload: object) -> Any:
    """What a payload says, with exact amounts."""
    return json.loads(msgspec.json.encode(payload), parse_float=Decimal, parse_int=Decimal)


@dataclass
class Scene:
    """A hub, its journal, and the daemon whose database is about to lose something."""

    hub: SimulatedHub
    journal: Path
    daemon: Daemon
    dsn: Callable[[], str]
    """Of the server that is, or is to be, the primary."""

    def sql(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            return connection.execute(query.encode()).fetchall()

    def records(self) -> int:
        return int(self.sql("SELECT count(*) FROM ingest.raw_event")[0][0])

    def more(self, count: int) -> None:
        """So many more records are stored."""
        wanted = self.records() + count
        self.soon(lambda: self.records() >= wanted)

    def soon(self, fact: Callable[[], object]) -> None:
        eventually(fact, within=30, every=0.1)

    def stored(self) -> set[tuple[Any, ...]]:
        """Session and ordinal of each record."""
        return set(self.sql("SELECT session_id, ordinal FROM ingest.raw_event"))

    def has_the_newest(self) -> bool:
        ((sequence,),) = self.sql("SELECT max(sequence) FROM ingest.watermark WHERE kind = 'balances'")
        return bool(sequence == self.hub.account.sequence)

    def is_as_the_hub_has_it(self) -> bool:
        return self._stored() == self._of_the_hub()

    def _stored(self) -> tuple[Any, ...]:
        assets = self.sql(
            "SELECT asset, available, allocated, current_exposure, max_exposure, base_currency "
            "FROM report.balance_current"
        )
        total = self.sql(
            "SELECT total_current_exposure FROM ingest.exposure_total ORDER BY observed_at DESC LIMIT 1"
        )
        pairs = self.sql("SELECT name, min_size, max_size FROM report.pair_current")
        return {each[0]: each[1:] for each in assets}, total, {each[0]: each[1:] for each in pairs}

    def _of_the_hub(self) -> tuple[Any, ...]:
        account = self.hub.account
        balances, listed = exactly(account.balances(account.read())), exactly(account.pairs())
        currency = balances["baseCurrency"]
        return (
            {
                each["name"]: (
                    *(each["available"], each["allocated"]),
                    *(each["currentExposure"], each["maxExposure"], currency),
                )
                for each in balances["assets"]
            },
            [(balances["totalCurrentExposure"],)],
            {each["name"]: (each["minSize"], each["maxSize"]) for each in listed},
        )


@contextmanager
def daemon_at(url: str, dsn: Callable[[], str], journal: Path) -> Iterator[Scene]:
    config = HubConfig(journal_path=journal, journal_fsync=False, seed=secrets.randbits(32))
    with (
        SimulatedHub(config) as hub,
        Daemon(environment(hub.url, url, hub.config.api_key, **POLLS)) as daemon,
    ):
        scene = Scene(hub, journal, daemon, dsn)
        scene.soon(lambda: scene.records() >= 2)
        yield scene


@pytest.fixture
def server(durable_postgres: Callable[[], EmbeddedPostgres]) -> EmbeddedPostgres:
    made = durable_postgres()
    upgrade_database(made.ensure_database(DATABASE))
    return made


@pytest.fixture
def proven(capsys: pytest.CaptureFixture[str]) -> Callable[..., int]:
    """Check that all is accounted for, exactly; gives how many records are gone.

    Its arguments: the scene; the records that were stored before a loss; and whether the link stayed up, so
    that nothing but commits was lost.
    """

    def prove(scene: Scene, before: set[tuple[Any, ...]], *, link_stayed: bool = True) -> int:
        scene.soon(scene.is_as_the_hub_has_it)
        scene.soon(lambda: not scene.sql("SELECT 1 FROM ingest.gap WHERE ended_at IS NULL"))
        assert scene.daemon.process.poll() is None
        assert scene.daemon.terminate() == 0, scene.daemon.log()
        after, gone = scene.stored(), _gone(scene)
        verdict = judge(scene.journal, scene.dsn(), ACCOUNT, commits_lost=True)
        with capsys.disabled():
            print(f"\n{verdict}, gone {len(gone)} in {len(scene.sql(COMMITS_LOST))} gaps")

        assert before - after <= gone
        assert gone.isdisjoint(after)
        assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)
        assert verdict.covered == len(gone) or not link_stayed
        assert scene.sql("SELECT * FROM report.unaccounted") == []
        assert scene.sql("SELECT sum(dropped_records) FROM ingest.session") == [(Decimal(len(gone)),)]
        assert scene.daemon.events("watermark_conflict")
        return len(gone)

    return prove


COMMITS_LOST = "SELECT session_id, first_missing, last_missing FROM report.gap WHERE kind = 'commits_lost'"


def _gone(scene: Scene) -> set[tuple[Any, ...]]:
    """Session and ordinal of each record that a gap row calls lost; no two may call the same one so."""
    gone = [
        (session, ordinal)
        for session, first, last in scene.sql(COMMITS_LOST)
        for ordinal in range(first, last + 1)
    ]
    assert len(gone) == len(set(gone))
    return set(gone)


@both
def test_an_asynchronous_failover(
    rate: float, server: EmbeddedPostgres, journal: Path, proven: Callable[..., int]
) -> None:
    """The standby has not got what the primary had acknowledged when it died."""
    with standby_of(server) as standby:
        primary = [server]
        url = url_of_both(server, standby, DATABASE)
        with daemon_at(url, lambda: primary[0].dsn(DATABASE), journal) as scene, ExitStack() as trading:
            trading.enter_context(Trading(scene.hub, rate))
            scene.more(int(rate))
            with stalled_replication(server):
                scene.hub.account.change_pairs()
                scene.more(int(3 * rate))
                if rate == QUIET:  # nothing changes from here on: only the server can tell
                    trading.close()
                    scene.soon(scene.has_the_newest)
                before = scene.stored()
                crash(server)
            promote(standby)
            primary[0] = standby
            if rate == BUSY:
                scene.more(int(rate))
                trading.close()
            gone = proven(scene, before)
    assert gone >= 3 * rate


@both
def test_a_backup_put_back_under_a_running_daemon(
    rate: float, server: EmbeddedPostgres, journal: Path, tmp_path: Path, proven: Callable[..., int]
) -> None:
    with (
        daemon_at(server.url(DATABASE), lambda: server.dsn(DATABASE), journal) as scene,
        ExitStack() as trading,
    ):
        trading.enter_context(Trading(scene.hub, rate))
        scene.more(int(rate))
        backup = back_up(server, tmp_path)
        scene.hub.account.change_pairs()
        scene.more(int(3 * rate))
        if rate == QUIET:
            trading.close()
            scene.soon(scene.has_the_newest)
        before = scene.stored()
        crash(server)
        put_back(server, backup)
        server.start()
        if rate == BUSY:
            scene.more(int(rate))
            trading.close()
        gone = proven(scene, before)
    assert gone >= 3 * rate


@pytest.mark.parametrize("link", ["up", "down"])
def test_a_backup_from_before_the_last_sessions(
    link: str, server: EmbeddedPostgres, journal: Path, tmp_path: Path, proven: Callable[..., int]
) -> None:
    """The server has lost whole sessions, the end of the one before them, and it may be between two."""
    with daemon_at(server.url(DATABASE), lambda: server.dsn(DATABASE), journal) as scene:
        backup = back_up(server, tmp_path)
        for sessions in (2, 3):
            with Trading(scene.hub, 10):
                scene.more(10)
            scene.soon(scene.has_the_newest)
            scene.hub.inject(Fault.RESTART, seconds=0.2)
            scene.soon(lambda wanted=sessions: len(scene.sql("SELECT 1 FROM ingest.session")) == wanted)  # type: ignore[misc]
        scene.more(2)
        if link == "down":
            scene.hub.go_away()
            scene.soon(lambda: not scene.sql("SELECT 1 FROM ingest.session WHERE closed_at IS NULL"))
        before = scene.stored()
        crash(server)
        put_back(server, backup)
        server.start()
        if link == "down":
            scene.soon(lambda: scene.daemon.events("watermark_conflict"))
            scene.hub.come_back()
        gone = proven(scene, before, link_stayed=False)
        assert len(scene.sql("SELECT 1 FROM ingest.session")) == (3 if link == "up" else 4)
        assert scene.sql("SELECT 1 FROM ingest.session WHERE ending = 'unclean'") == []
    assert gone >= 20


def back_up(server: EmbeddedPostgres, directory: Path) -> Path:
    """A file-system copy of the whole cluster, which is away meanwhile."""
    server.stop()
    copy_data(server, directory / "backup")
    server.start()
    return directory / "backup"


@both
def test_crashes_without_synchronous_commits(rate: float, journal: Path, proven: Callable[..., int]) -> None:
    lax = {"synchronous_commit": "off", "wal_writer_delay": "1s", "wal_writer_flush_after": "1GB"}
    with (
        postgres_directory() as directory,
        server_under_test(directory, durable=True, settings=lax) as server,
    ):
        upgrade_database(server.ensure_database(DATABASE))
        with psycopg.connect(server.dsn(DATABASE), autocommit=True) as connection:
            connection.execute("CHECKPOINT")  # what is lost is to be ours
        before: set[tuple[Any, ...]] = set()
        with (
            daemon_at(server.url(DATABASE), lambda: server.dsn(DATABASE), journal) as scene,
            ExitStack() as trading,
        ):
            trading.enter_context(Trading(scene.hub, rate))
            for _ in range(4):
                scene.more(int(2 * rate))
                before |= scene.stored()
                crash(server)
                server.start()
            trading.close()
            gone = proven(scene, before)
            assert [each["settings"] for each in scene.daemon.events("commits_not_durable")][:1] == [
                ["synchronous_commit"]
            ]
    assert gone > 0
