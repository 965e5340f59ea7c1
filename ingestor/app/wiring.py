"""Creates the daemon's parts and connects them.

Settings become plain values, values become adapters, adapters are passed to the pipeline. `start` starts each
part after those that it needs, `stop` stops them in the reverse order.
"""

import random
import threading
from collections.abc import Callable
from dataclasses import asdict, replace

import structlog

from ingestor import __version__
from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.account_lock import AccountLockedElsewhere
from ingestor.adapters.postgres.connecting import Address
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.schema import REVISION
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.adapters.schedule import SnapshotSchedule
from ingestor.adapters.systemd import Notifier
from ingestor.app.control import control_server
from ingestor.app.daemon_status import in_short, status_line
from ingestor.app.database import database_timing
from ingestor.app.endpoint import metrics_server
from ingestor.app.hub import hub_link
from ingestor.app.observer import Observer, intervals
from ingestor.config import Settings, Snapshots
from ingestor.domain.decision import Policy, Step
from ingestor.domain.decode import Decoder
from ingestor.domain.errors import IngestorError, Transient
from ingestor.domain.limits import Limits
from ingestor.domain.requests import Command, RequestCause
from ingestor.logs import redact
from ingestor.pipeline.apply import Rules
from ingestor.pipeline.backoff import Backoff
from ingestor.pipeline.inbox import Inbox, InboxLimits
from ingestor.pipeline.intake import Intake
from ingestor.pipeline.request_scheduler import RequestRules, RequestScheduler
from ingestor.pipeline.state import State
from ingestor.pipeline.writer import Writer, WriterRules

__all__ = ["Ingestor", "Notifier"]

log = structlog.get_logger()

_STANDBY_SECONDS = 1.0
"""How often a standby tries to take over."""
_RETRY_CAP_SECONDS = 1.0


class Ingestor:
    """The connected parts of the daemon. `start` once, `stop` once."""

    def __init__(self, settings: Settings, address: Address, key: Callable[[], str]) -> None:
        clock = DatabaseClock()
        self._settings = settings
        self._clock = clock
        self._inbox = Inbox(InboxLimits(**asdict(settings.inbox)))
        intake = Intake(self._inbox, lambda: clock.offset_seconds)
        self._store = PostgresStore(
            DatabaseSession(address, database_timing(settings), clock),
            settings.account,
            settings.hub.environment.value,
            __version__,
            clock,
        )
        self._link = hub_link(settings, key, intake, clock)
        sequence, rules = settings.sequence, _request_rules(settings.snapshots)
        self._scheduler = RequestScheduler(
            self._link,
            self._inbox.put,
            clock,
            rules,
            random.SystemRandom(),
        )
        intake.attach(self._scheduler)
        self._schedule = SnapshotSchedule(self._scheduler.request, rules.interval_seconds)
        self._observer = observer = Observer(
            settings, clock, self._inbox, self._store, self._link, self._scheduler, self._schedule
        )
        self._writer = Writer(
            self._inbox,
            self._store,
            self._scheduler,
            clock,
            observer.heartbeat,
            WriterRules(max_records=settings.writer.batch_max_records),
            Rules(
                policy=Policy(
                    step=Step(sequence.step.value),
                    reset_confirmations=sequence.reset_confirmations,
                    epochs_per_hour=sequence.max_epochs_per_hour,
                ),
                mass_delete_share=sequence.mass_delete_share,
                software_version=__version__,
            ),
            Decoder(Limits(record_bytes=settings.hub.max_record_bytes), redact).decoded,
        )
        self._writer.pause = lambda paused: self._link.pause(paused=paused)
        self.dead, self.failure, self.turns = observer.dead, observer.failure, observer.turns
        self.daemon_status, self.activity = observer.daemon_status, observer.activity
        self._stopped = False
        self._servers = [
            each
            for each in (
                metrics_server(settings.metrics.listen, self.daemon_status, clock),
                control_server(
                    settings.account,
                    self.daemon_status,
                    self.activity,
                    self._writer.tail,
                    self._snapshot_now,
                    self._link.reconnect,
                    clock,
                ),
            )
            if each is not None
        ]
        observer.watch(self._writer, self._servers)

    def start(self, stop: threading.Event, waiting: Callable[[str], object]) -> None:
        """Load the stored state, then connect to the hub.

        Until `stop` is set, waits for a database that is away, and as a standby while another process
        writes the account.

        Args:
            stop: set when the process must stop.
            waiting: called with the reason while it waits.

        Raises:
            Fatal: the database refuses the credential, the schema or the account.
        """
        for server in self._servers:
            server.start()
        state = self._open(stop, waiting)
        if state is None:
            return
        self._observer.started_at = self._clock.now()  # which is the database's time from now on
        self._writer.start(state)
        self._scheduler.start()
        self._link.start()
        self._schedule.start()
        self._observer.running = True
        log.info(
            "daemon_started",
            version=__version__,
            account=self._settings.account,
            schema=REVISION,
            resumed_streams=len(state.streams),
        )

    def stop(self, drain_seconds: float) -> bool:
        """Stop listening, write what has been received and a last heartbeat. False if not all was written."""
        if self._stopped:
            return True
        self._stopped = True
        for server in self._servers:
            server.stop(1.0)
        if not self._observer.running:
            if not self._writer.alive():
                self._store.close()
            return True
        self._schedule.stop()
        self._scheduler.stop(1.0)
        self._link.stop(2.0)
        drained = self._writer.finish(drain_seconds)
        if not self._writer.alive():  # the store belongs to the writer's thread until that has ended
            self._last_heartbeat()
            self._store.close()
        return drained

    def use_snapshots(self, snapshots: Snapshots) -> None:
        """Use these intervals and deadlines from now on."""
        if snapshots == self._observer.snapshots:
            return
        rules = _request_rules(snapshots)
        self._observer.snapshots = snapshots
        self._scheduler.use(rules)
        self._schedule.use(rules.interval_seconds)

    def abandon(self) -> None:
        """Stop waiting for a database that is away, because the process must end now."""
        self._writer.abandon()

    def status_line(self) -> str:
        """For `systemctl status`."""
        return status_line(self.daemon_status())

    def _snapshot_now(self) -> None:
        for command in Command:
            self._scheduler.request(command, RequestCause.OPERATOR)

    def _open(self, stop: threading.Event, waiting: Callable[[str], object]) -> State | None:
        backoff = Backoff(self._clock, _RETRY_CAP_SECONDS)
        while not stop.is_set():
            try:
                state = self._store.open()
                self._link.pause(paused=self._store.paused())
            except AccountLockedElsewhere as error:
                waiting("standby: " + str(error).partition("\n")[0])
                if not self._observer.standby:
                    log.warning("standby", account=self._settings.account, backend=error.backend)
                self._observer.standby = True
                stop.wait(_STANDBY_SECONDS)
            except Transient as error:
                waiting(f"waiting for the database ({in_short(str(error))})")
                if backoff.should_log(str(error)):
                    log.warning("database_awaited", error=str(error))
                stop.wait(backoff.next_pause())
            else:
                self._observer.standby = False
                return state
        return None

    def _last_heartbeat(self) -> None:
        try:
            self._store.heartbeat(replace(self._observer.heartbeat(), stopped_at=self._clock.now()))
        except IngestorError as error:
            log.debug("heartbeat_failed", error=str(error))


def _request_rules(snapshots: Snapshots) -> RequestRules:
    return RequestRules(
        snapshots.reply_deadline_seconds,
        snapshots.retry_cap_seconds,
        snapshots.overdue_factor,
        intervals(snapshots),
    )
