"""A demonstration: a simulated hub with faults, a private Postgres, and the daemon.

The daemon is the same `Ingestor` as in production, with other addresses.
"""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from textwrap import dedent
from typing import Any

import psycopg

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.embedded_postgres import EmbeddedPostgres, remove_leftovers
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.reading import rows, value
from ingestor.app.activity import Activity
from ingestor.app.database import DATABASE_NAME, upgrade_database
from ingestor.app.demo_faults import DemoFaults, InjectedFault
from ingestor.app.totals import AccountTotals, account_totals
from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings, Snapshots
from ingestor.simulator import Fault, HubConfig, SimulatedHub

__all__ = ["Answer", "Demo", "Ending", "InjectedFault", "Scene", "demo"]

ACCOUNT = "demo"
_DIRECTORY = "ingestor-demo-"
_CUT_AFTER_SECONDS = 4.0
_CONFIRMATION_SECONDS = 10.0
"""A request whose answer was dropped is repeated after its deadline and a pause: five seconds at most."""
_CONFIRMATION_CHECKS = 100
_UNSETTLED_SECONDS = 5
"""The coverage of a second can still change for this long, until the next push confirms the state."""

_QUESTIONS = {
    "What does the account contain, and how certain is that?": """
        SELECT asset, total, certainty
        FROM report.balance_current
        ORDER BY asset""",
    "How much BTC did it contain half-way?": """
        SELECT total, certainty, observed_at
        FROM report.balance_as_of('{1}')
        WHERE asset = 'BTC'""",
    "For which share of the time were the balances known, and what caused the rest?": """
        SELECT cause, round(share, 4) AS share, intervals
        FROM report.coverage('{0}', '{2}')
        WHERE kind = 'balances'
        ORDER BY share DESC""",
    "When may something have been missed, and for how long?": """
        SELECT kind, cause, count(*) AS gaps, max(balances_unknown_for) AS longest
        FROM report.gap
        GROUP BY kind, cause
        ORDER BY longest DESC""",
}
"""Questions with their queries; {0} is the start, {1} the middle, {2} the end."""

# The database is the demo's own, with one account.
_HOLDINGS = "SELECT asset, total, certainty FROM report.balance_current ORDER BY asset"
_KNOWN = """
    SELECT each.since, coalesce(sum(c.share), 0)::float8 AS share
    FROM generate_series($1::timestamptz, $2 - interval '1 second', interval '1 second') AS each (since)
    LEFT JOIN report.coverage(each.since, each.since + interval '1 second') AS c
        ON c.kind = 'balances' AND c.cause = 'known'
    GROUP BY each.since
    ORDER BY each.since
"""
_OPEN_GAPS = "SELECT count(*) FROM report.gap WHERE is_open"


@dataclass(frozen=True, slots=True)
class Scene:
    """Daemon, hub and tables at one moment."""

    daemon: Activity
    holdings: list[Any]
    """Rows of `report.balance_current`: asset, total, certainty."""
    known: list[float]
    """For each whole second since the start, the share in which the balances were known, from 0 to 1."""
    faults: list[InjectedFault]
    """The oldest first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An analyst's question, its query, and the result."""

    question: str
    query: str
    rows: list[Any]


@dataclass(frozen=True, slots=True)
class Ending:
    """The summary at the end."""

    totals: AccountTotals
    faults: list[InjectedFault]
    answers: list[Answer]


class Demo:
    """A running demonstration, created by `demo()`."""

    def __init__(
        self, ingestor: Ingestor, hub: SimulatedHub, database: DatabaseSession, faults: DemoFaults
    ) -> None:
        self._ingestor = ingestor
        self._hub = hub
        self._database = database
        self._faults = faults
        self._started_at = ingestor.activity().at
        self._known: list[float] = []

    def scene(self) -> Scene:
        """Read the present state of daemon, hub and tables."""
        daemon = self._ingestor.activity()
        with self._database.use() as connection:
            settled = max(0, len(self._known) - _UNSETTLED_SECONDS)
            since = self._started_at + timedelta(seconds=settled)
            self._known[settled:] = [each.share for each in rows(connection, _KNOWN, since, daemon.at)]
            return Scene(
                daemon=daemon,
                holdings=rows(connection, _HOLDINGS),
                known=self._known,
                faults=self._faults.with_recoveries(connection),
            )

    def dead(self) -> str | None:
        """The name of a thread of the daemon that has ended unexpectedly; None while all run."""
        return self._ingestor.dead()

    def finish(self) -> Ending:
        """Stop the faults, wait until all are healed, run the queries, drain, and count the stored rows."""
        self._hub.clear_faults()
        pause = threading.Event()
        for _ in range(_CONFIRMATION_CHECKS):
            if self._healed():
                break
            pause.wait(_CONFIRMATION_SECONDS / _CONFIRMATION_CHECKS)
        with self._database.use() as connection:
            answers = list(_answers(connection, self._started_at, self._ingestor.activity().at))
        self._ingestor.stop(drain_seconds=10.0)
        with self._database.use() as connection:
            return Ending(
                account_totals(connection, ACCOUNT), self._faults.with_recoveries(connection), answers
            )

    def _healed(self) -> bool:
        with self._database.use() as connection:
            open_gaps: int = value(connection, _OPEN_GAPS)
            return not open_gaps and all(each.healed_by for each in self._faults.with_recoveries(connection))


def _answers(connection: psycopg.Connection, since: datetime, until: datetime) -> Iterator[Answer]:
    """Run the queries shortly before the end, after all faults are healed."""
    middle = since + (until - since) / 2
    for question, query in _QUESTIONS.items():
        asked = (
            dedent(query).strip().format(*(f"{each:%Y-%m-%d %H:%M:%SZ}" for each in (since, middle, until)))
        )
        yield Answer(question, asked, rows(connection, asked))


@contextmanager
def demo(*, rate: float, seed: int, seconds: float | None, stop: threading.Event) -> Iterator[Demo]:
    """Start everything; leaving the block stops everything and removes the database.

    Args:
        rate: account changes per second at the hub.
        seed: of the hub's changes and faults.
        seconds: duration of the run, so that a short run includes a reconnect too; None: without an end.
        stop: set to abandon the start.

    Raises:
        KeyboardInterrupt: `stop` was set before all was started.
    """

    def go_on() -> None:
        if stop.is_set():
            raise KeyboardInterrupt

    cut = _CUT_AFTER_SECONDS if seconds is None else min(_CUT_AFTER_SECONDS, seconds * 0.4)
    config = HubConfig(
        seed=seed,
        changes_per_second=rate,
        pair_change_interval_s=7.0,
        misbehave=True,
        schedule=((cut, Fault.FIN, {}),),
    )
    with ExitStack() as stack:
        remove_leftovers(Path(tempfile.gettempdir()), f"{_DIRECTORY}*")
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=_DIRECTORY)))
        directory.chmod(0o711)  # if root runs it, Postgres runs as another user, who must be able to enter
        server = stack.enter_context(EmbeddedPostgres(directory / "postgres"))
        go_on()
        url = server.ensure_database(DATABASE_NAME)
        go_on()
        upgrade_database(url)
        go_on()
        clock = DatabaseClock()
        database = DatabaseSession(url, DatabaseTiming(), clock, application_name="ingestor demo")
        stack.callback(database.close)
        faults = DemoFaults(clock.now)
        hub = stack.enter_context(SimulatedHub(config, faults.occurred))
        settings = Settings(
            account=ACCOUNT,
            hub=Hub(environment=Environment.CUSTOM, url=hub.url),
            snapshots=Snapshots(
                balances_interval_seconds=15,
                pairs_interval_seconds=15,
                reply_deadline_seconds=3,
                retry_cap_seconds=2,  # short, because somebody watches, and the hub is a simulation
            ),
        )
        ingestor = Ingestor(settings, url, lambda: hub.config.api_key)
        ingestor.start(stop, lambda _: None)
        stack.callback(ingestor.stop, 5.0)
        go_on()
        yield Demo(ingestor, hub, database, faults)
