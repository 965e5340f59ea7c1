"""The main job in miniature: a simulated hub that misbehaves, a private Postgres, the daemon between them.

Nothing in here is a stand-in for the daemon: it is the same `Ingestor`, with other addresses.
"""

import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from sqlalchemy import Engine, text

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.postgres.engine import DatabaseTiming, make_engine
from ingestor.adapters.postgres.queries import AccountTotals, account_totals
from ingestor.app.database import DATABASE_NAME, upgrade_database
from ingestor.app.wiring import Ingestor, Picture
from ingestor.config import Environment, Hub, Settings, Snapshots
from ingestor.simulator import Fault, HubConfig, SimulatedHub

ACCOUNT = "demo"
_CUT_AFTER_SECONDS = 4.0
_HEALING_SECONDS = 10.0
"""An answer that was dropped is asked for again after its deadline and a pause: seven seconds at most."""
_HEALING_TURNS = 100


@dataclass(frozen=True, slots=True)
class Holding:
    """One line of `report.balance_current`."""

    asset: str
    available: Decimal
    allocated: Decimal
    certainty: str


@dataclass(frozen=True, slots=True)
class GapLine:
    """One line of `report.gap`."""

    kind: str
    cause: str
    opened_at: datetime
    ending: str | None


@dataclass(frozen=True, slots=True)
class Scene:
    """What is to be seen at one moment."""

    daemon: Picture
    sequence: int | None
    hub_sequence: int
    holdings: tuple[Holding, ...]
    gaps: tuple[GapLine, ...]


class Demo:
    """A running demonstration; made by `demo()`."""

    def __init__(self, ingestor: Ingestor, hub: SimulatedHub, engine: Engine, url: str) -> None:
        self.url = url
        self._ingestor = ingestor
        self._hub = hub
        self._engine = engine

    def scene(self) -> Scene:
        """Look at daemon, hub and tables."""
        with self._engine.connect() as connection:
            holdings = connection.execute(
                text(
                    "SELECT asset, available, allocated, certainty FROM report.balance_current "
                    "WHERE account = :account ORDER BY asset"
                ),
                {"account": ACCOUNT},
            )
            gaps = connection.execute(
                text(
                    "SELECT kind, cause, opened_at, ending FROM report.gap "
                    "WHERE account = :account ORDER BY opened_at DESC LIMIT 6"
                ),
                {"account": ACCOUNT},
            )
            sequence = connection.scalar(
                text("SELECT max(sequence) FROM report.balance_current WHERE account = :account"),
                {"account": ACCOUNT},
            )
            return Scene(
                daemon=self._ingestor.picture(),
                sequence=sequence,
                hub_sequence=self._hub.account.sequence,
                holdings=tuple(Holding(*row) for row in holdings),
                gaps=tuple(GapLine(*row) for row in gaps),
            )

    def _open_gaps(self) -> int:
        with self._engine.connect() as connection:
            return connection.scalar(text("SELECT count(*) FROM report.gap WHERE is_open")) or 0

    def dead(self) -> str | None:
        """A part of the daemon that has ended by itself."""
        return self._ingestor.dead()

    def finish(self) -> AccountTotals:
        """Let the hub behave until the gaps are healed, stop in good order, and count what is there."""
        self._hub.clear_faults()
        patience = threading.Event()
        for _ in range(_HEALING_TURNS):
            if not self._open_gaps():
                break
            patience.wait(_HEALING_SECONDS / _HEALING_TURNS)
        self._ingestor.stop(drain_seconds=10.0)
        return account_totals(self._engine, ACCOUNT)


@contextmanager
def demo(*, rate: float, seed: int, seconds: float | None) -> Iterator[Demo]:
    """Start everything; leaving the block stops everything and removes the database.

    Args:
        rate: account changes per second at the hub.
        seed: of all that happens by chance at the hub.
        seconds: how long it is going to run, so that a short run sees a reconnect too; None: open-ended.
    """
    cut = _CUT_AFTER_SECONDS if seconds is None else min(_CUT_AFTER_SECONDS, seconds * 0.4)
    config = HubConfig(
        seed=seed,
        changes_per_second=rate,
        pair_change_interval_s=7.0,
        misbehave=True,
        schedule=((cut, Fault.FIN, {}),),
    )
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ingestor-demo-")))
        directory.chmod(0o711)  # run by root, Postgres is another user who must get through
        server = stack.enter_context(EmbeddedPostgres(directory / "postgres"))
        url = server.ensure_database(DATABASE_NAME)
        upgrade_database(url)
        engine = make_engine(url, DatabaseTiming(), application_name="ingestor demo")
        stack.callback(engine.dispose)
        hub = stack.enter_context(SimulatedHub(config))
        settings = Settings(
            account=ACCOUNT,
            hub=Hub(environment=Environment.CUSTOM, url=hub.url),
            snapshots=Snapshots(
                balances_interval_seconds=15, pairs_interval_seconds=15, reply_deadline_seconds=3
            ),
        )
        ingestor = Ingestor(settings, url, lambda: hub.config.api_key)
        ingestor.start(threading.Event(), lambda _: None)
        stack.callback(ingestor.stop, 5.0)
        yield Demo(ingestor, hub, engine, url)
