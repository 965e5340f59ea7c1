"""SIGKILL at awkward moments: the next process ends where one that had simply run on would have ended.

Each story is told twice on a database of its own, once with a kill; then the tables and reports must be the
same but for what a kill leaves: its session, its gap, and what was pending as abandoned. That requests were
not answered for long enough is known only to a process that waits for them.

Invariants I9, I10, I11.
"""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import Daemon, command, environment
from tests.support.postgres import fresh_database, libpq_url
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

HUB = HubConfig(seed=7, answer_lag_seconds=0.5, ping_interval_s=0.5)
SETTINGS = {
    "INGESTOR_SNAPSHOTS__BALANCES_INTERVAL_SECONDS": "5",
    "INGESTOR_SNAPSHOTS__PAIRS_INTERVAL_SECONDS": "5",
    "INGESTOR_SEQUENCE__STEP": "contiguous",
    "INGESTOR_INBOX__MAX_RECORDS": "100",
    "INGESTOR_INBOX__PUT_TIMEOUT_SECONDS": "0.2",
}


@dataclass
class Scene:
    """A hub that changes when it is told to, and a daemon with its database."""

    hub: SimulatedHub
    sql: Query
    env: dict[str, str]
    url: str
    daemons: list[Daemon]
    held: ExitStack
    """What is let go once the process is dead."""

    def change(self) -> None:
        """One change of the account, which is stored."""
        sequence = self.hub.account.change().sequence
        self.soon(f"SELECT 1 FROM ingest.event_outcome WHERE sequence = {sequence}")

    def soon(self, fact: str) -> None:
        eventually(lambda: self.sql(fact), within=30, every=0.02)

    def calm(self) -> None:
        """All is known again."""
        eventually(lambda: self.sql(CALM) == [(2, self.hub.account.sequence)], within=40)

    def pending(self, reason: str) -> None:
        self.soon(f"SELECT 1 FROM ingest.confirmation WHERE reason = '{reason}' AND resolution IS NULL")

    def mute(self) -> None:
        """No request is answered."""
        self.hub.inject(Fault.COMMAND_SILENCE, count=None)


Midway = Callable[[Scene], object]
"""Leads to the moment of the kill."""


def an_emptied_list_waits(scene: Scene) -> None:
    scene.mute()
    scene.hub.account.empty_balances(1_000)
    scene.pending("mass_delete")


def an_emptied_list_was_an_error(scene: Scene) -> None:
    scene.mute()
    scene.hub.account.empty_balances(1)
    scene.pending("mass_delete")


def an_emptied_pair_list_waits(scene: Scene) -> None:
    scene.hub.account.empty_pairs(1_000)
    scene.pending("mass_delete")
    scene.mute()


def a_reset_is_suspected(scene: Scene) -> None:
    scene.hub.account.reset_sequence(5)
    scene.pending("reset_suspected")


def lower_pushes_were_seen(scene: Scene) -> None:
    scene.mute()
    scene.hub.account.reset_sequence(5)
    scene.change()


def two_contents_have_one_sequence(scene: Scene) -> None:
    scene.mute()
    scene.hub.account.reset_sequence(scene.hub.account.sequence - 1)
    scene.change()
    scene.pending("conflict")


def numbers_were_skipped(scene: Scene) -> None:
    scene.hub.inject(Fault.DROP)
    scene.hub.account.change()
    scene.hub.account.change()
    scene.soon("SELECT 1 FROM ingest.gap WHERE kind = 'sequence_skip' AND ended_at IS NULL")


def a_request_was_not_answered(scene: Scene) -> None:
    scene.mute()
    scene.soon("SELECT 1 FROM ingest.gap WHERE kind = 'unanswered' AND ended_at IS NULL")


def something_could_not_be_read(scene: Scene) -> None:
    scene.hub.inject(Fault.GARBAGE)
    scene.hub.account.change()
    scene.soon("SELECT 1 FROM ingest.gap WHERE kind = 'undecodable' AND ended_at IS NULL")


def it_is_paused(scene: Scene) -> None:
    assert command("pause", env=scene.env).returncode == 0
    scene.soon("SELECT 1 FROM ingest.gap WHERE cause = 'paused' AND ended_at IS NULL")
    scene.hub.account.change()


def it_drops_records(scene: Scene) -> None:
    other = scene.held.enter_context(psycopg.connect(libpq_url(scene.url)))
    other.execute("LOCK TABLE ingest.raw_event IN EXCLUSIVE MODE")
    scene.hub.burst(1_000)
    eventually(lambda: scene.daemons[0].events("dropping_started"), within=30)


STORIES: list[Midway] = [
    an_emptied_list_waits,
    an_emptied_list_was_an_error,
    an_emptied_pair_list_waits,
    a_reset_is_suspected,
    lower_pushes_were_seen,
    two_contents_have_one_sequence,
    numbers_were_skipped,
    a_request_was_not_answered,
    something_could_not_be_read,
    it_is_paused,
    it_drops_records,
]


@pytest.fixture
def scenes(postgres_server: EmbeddedPostgres, migrated_template: str) -> Iterator[Callable[[], Scene]]:
    with ExitStack() as stack:

        def make() -> Scene:
            url = stack.enter_context(fresh_database(postgres_server, template=migrated_template))
            hub = stack.enter_context(SimulatedHub(HUB))
            sql = stack.enter_context(psycopg.connect(libpq_url(url), autocommit=True))
            env = environment(hub.url, url, hub.config.api_key, **SETTINGS)
            held = stack.enter_context(ExitStack())
            return Scene(hub, lambda query: sql.execute(query.encode()).fetchall(), env, url, [], held)

        yield make


def told(scene: Scene, midway: Midway, *, end: str) -> dict[str, list[tuple[Any, ...]]]:
    """The story up to its end, at which all is calm again."""
    with ExitStack() as life:
        daemon = life.enter_context(Daemon(scene.env))
        scene.daemons.append(daemon)
        scene.soon("SELECT 1 FROM (SELECT count(*) AS n FROM report.pair_current) AS p WHERE n > 0")
        scene.change()
        scene.soon("SELECT 1 WHERE NOT EXISTS (SELECT FROM ingest.gap WHERE ended_at IS NULL)")
        if end == "standby":
            first, daemon = daemon, life.enter_context(Daemon(scene.env))
            eventually(lambda: daemon.events("standby"), within=30)
            midway(scene)
            first.kill()
        else:
            midway(scene)
        if end == "reload":
            daemon.process.send_signal(signal.SIGHUP)
            eventually(lambda: daemon.events("reloaded"))
        if end == "restart":
            daemon.kill()
            daemon = life.enter_context(Daemon(scene.env))
        scene.held.close()
        eventually(lambda: daemon.events("daemon_started"), within=30)
        if end in {"restart", "standby"}:
            (raised,) = scene.sql("SELECT min(resolution) FROM ingest.confirmation")
            assert raised in {(None,), ("abandoned",)}, "it was killed too late"
        scene.hub.clear_faults()
        if midway is it_is_paused:
            assert command("resume", env=scene.env).returncode == 0
        scene.calm()
        scene.change()
        scene.calm()
        assert daemon.terminate() == 0, daemon.log()
    return {name: scene.sql(query) for name, query in SAID.items()}


CALM = """
    SELECT count(*), max(sequence) FILTER (WHERE kind = 'balances') FROM report.stream
    WHERE certainty = 'confirmed' AND NOT EXISTS (SELECT FROM ingest.gap WHERE ended_at IS NULL)
"""

SAID = {
    "balances": "SELECT asset, available, allocated, reported, current_exposure, max_exposure "
    "FROM report.balance_current ORDER BY 1",
    "pairs": "SELECT name, min_size, max_size FROM report.pair_current ORDER BY 1",
    "streams": "SELECT kind, epoch, sequence, revision, deleted FROM report.stream ORDER BY 1",
    "epochs": "SELECT kind, epoch, cause, first_sequence, previous_sequence, evidence FROM report.epoch "
    "ORDER BY 1, 2",
    "versions": "SELECT kind, epoch, sequence, revision FROM ingest.version ORDER BY 1, 2, 3, 4",
    "changes": "SELECT epoch, sequence, revision, asset, available, allocated, reported FROM ingest.balance "
    "ORDER BY 1, 2, 3, 4",
    "confirmations": "SELECT DISTINCT reason, kind FROM report.confirmation ORDER BY 1, 2",
    "gaps": "SELECT kind, cause, affects, first_missing, last_missing FROM ingest.gap "
    "WHERE kind NOT IN ('unclean_end', 'dropped', 'unanswered') AND cause <> 'stopped' ORDER BY opened_at",
    "dropped": "SELECT DISTINCT kind FROM ingest.gap WHERE kind = 'dropped'",
    "unaccounted": "SELECT * FROM report.unaccounted",
}


@pytest.mark.parametrize(
    ("midway", "end"),
    [
        *((midway, "restart") for midway in STORIES),
        (an_emptied_list_waits, "standby"),
        (an_emptied_list_waits, "reload"),
    ],
)
def test_a_kill_changes_nothing_but_what_it_leaves(
    scenes: Callable[[], Scene], midway: Midway, end: str
) -> None:
    with ThreadPoolExecutor() as both:
        lives = [both.submit(told, scenes(), midway, end=each) for each in ("none", end)]
        on, killed = (life.result() for life in lives)
    if midway is it_drops_records:  # a dead process stores nothing of what waited, and has its gap
        assert on["dropped"]
        for name in ("dropped", "versions", "changes", "gaps"):
            del on[name], killed[name]

    assert killed == on
