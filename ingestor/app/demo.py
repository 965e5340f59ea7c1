"""A demonstration: a simulated hub that misbehaves, a private Postgres, and the daemon between them.

The daemon is the same `Ingestor` as in production, with other addresses.
"""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.embedded_postgres import EmbeddedPostgres, remove_leftovers
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.reading import rows, value
from ingestor.adapters.postgres.session import DatabaseSession
from ingestor.adapters.postgres.totals import AccountTotals, account_totals
from ingestor.app.database import DATABASE_NAME, upgrade_database
from ingestor.app.picture import Picture
from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings, Snapshots
from ingestor.simulator import Fault, HubConfig, SimulatedHub

__all__ = ["AccountTotals", "Demo", "Scene", "demo"]

ACCOUNT = "demo"
_DIRECTORY = "ingestor-demo-"
_CUT_AFTER_SECONDS = 4.0
_CONFIRMATION_SECONDS = 10.0
"""A request whose answer was dropped is repeated after its deadline and a pause: seven seconds at most."""
_CONFIRMATION_CHECKS = 100


# The database is the demo's own, with one account.
_HOLDINGS = "SELECT asset, available, allocated, certainty FROM report.balance_current ORDER BY asset"
_SEQUENCE = "SELECT max(sequence) FROM report.balance_current"
_GAPS = "SELECT kind, cause, opened_at, ended_at FROM report.gap ORDER BY opened_at DESC LIMIT 6"
_OPEN_GAPS = "SELECT count(*) FROM report.gap WHERE is_open"


@dataclass(frozen=True, slots=True)
class Scene:
    """Daemon, hub and tables at one moment."""

    daemon: Picture
    sequence: int | None
    hub_sequence: int
    holdings: list[Any]
    """Rows of `report.balance_current`: asset, available, allocated, certainty."""
    gaps: list[Any]
    """Rows of `report.gap`: kind, cause, opened_at, ended_at; the newest first."""


class Demo:
    """A running demonstration; made by `demo()`."""

    def __init__(self, ingestor: Ingestor, hub: SimulatedHub, session: DatabaseSession) -> None:
        self._ingestor = ingestor
        self._hub = hub
        self._session = session

    def scene(self) -> Scene:
        """Look at daemon, hub and tables."""
        with self._session.use() as connection:
            return Scene(
                daemon=self._ingestor.picture(),
                sequence=value(connection, _SEQUENCE),
                hub_sequence=self._hub.account.sequence,
                holdings=rows(connection, _HOLDINGS),
                gaps=rows(connection, _GAPS),
            )

    def _open_gaps(self) -> int:
        with self._session.use() as connection:
            count: int = value(connection, _OPEN_GAPS)
            return count

    def dead(self) -> str | None:
        """The name of a thread of the daemon that has ended by itself; None while all run."""
        return self._ingestor.dead()

    def finish(self) -> AccountTotals:
        """Stop the faults, wait until the gaps have ended, drain, and count what is stored."""
        self._hub.clear_faults()
        pause = threading.Event()
        for _ in range(_CONFIRMATION_CHECKS):
            if not self._open_gaps():
                break
            pause.wait(_CONFIRMATION_SECONDS / _CONFIRMATION_CHECKS)
        self._ingestor.stop(drain_seconds=10.0)
        with self._session.use() as connection:
            return account_totals(connection, ACCOUNT)


@contextmanager
def demo(*, rate: float, seed: int, seconds: float | None, stop: threading.Event) -> Iterator[Demo]:
    """Start everything; leaving the block stops everything and removes the database.

    Args:
        rate: account changes per second at the hub.
        seed: of the hub's changes and faults.
        seconds: how long it is going to run, so that a short run sees a reconnect too; None: open-ended.
        stop: set when nobody wants the start any more.

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
        directory.chmod(0o711)  # run by root, Postgres is another user who must get through
        server = stack.enter_context(EmbeddedPostgres(directory / "postgres"))
        go_on()
        url = server.ensure_database(DATABASE_NAME)
        go_on()
        upgrade_database(url)
        go_on()
        session = DatabaseSession(url, DatabaseTiming(), DatabaseClock(), application_name="ingestor demo")
        stack.callback(session.close)
        hub = stack.enter_context(SimulatedHub(config))
        settings = Settings(
            account=ACCOUNT,
            hub=Hub(environment=Environment.CUSTOM, url=hub.url),
            snapshots=Snapshots(
                balances_interval_seconds=15, pairs_interval_seconds=15, reply_deadline_seconds=3
            ),
        )
        ingestor = Ingestor(settings, url, lambda: hub.config.api_key)
        ingestor.start(stop, lambda _: None)
        stack.callback(ingestor.stop, 5.0)
        go_on()
        yield Demo(ingestor, hub, session)
