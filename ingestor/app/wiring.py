"""The daemon's parts and how they are plugged together.

Read top to bottom it says what is plugged in where: settings become plain values, values become adapters,
adapters meet the pipeline. The order of `start` is the order of need, that of `stop` its reverse.
"""

import os
import random
import socket
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import timedelta
from uuid import uuid4

import structlog

from ingestor import __version__
from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.hub.causes import advice
from ingestor.adapters.postgres.account_lock import AccountLockedElsewhere
from ingestor.adapters.postgres.connecting import Address
from ingestor.adapters.postgres.schema import REVISION
from ingestor.adapters.postgres.session import DatabaseSession
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.adapters.schedule import SnapshotSchedule
from ingestor.adapters.systemd import Notifier
from ingestor.app.activity import Activity, activity
from ingestor.app.control import control_server
from ingestor.app.database import database_timing
from ingestor.app.endpoint import metrics_server
from ingestor.app.hub import hub_link
from ingestor.app.picture import Picture, in_short, status_line
from ingestor.config import Settings, Snapshots
from ingestor.domain.decision import Policy, Step
from ingestor.domain.decode import Decoder
from ingestor.domain.errors import CredentialRefused, IngestorError, Transient
from ingestor.domain.limits import Limits
from ingestor.domain.requests import Command, RequestCause
from ingestor.domain.streams import Kind
from ingestor.logs import redact
from ingestor.pipeline.apply import Rules
from ingestor.pipeline.inbox import Inbox, InboxLimits
from ingestor.pipeline.intake import Intake
from ingestor.pipeline.patience import Patience
from ingestor.pipeline.ports import Heartbeat
from ingestor.pipeline.request_scheduler import RequestRules, RequestScheduler
from ingestor.pipeline.state import State
from ingestor.pipeline.writer import Writer, WriterRules

__all__ = ["Ingestor", "Notifier"]

log = structlog.get_logger()

_STANDBY_SECONDS = 1.0
"""How often a standby tries to take over."""
_RETRY_CAP_SECONDS = 1.0


class Ingestor:
    """The daemon's parts, wired. `start` once, `stop` once."""

    def __init__(self, settings: Settings, address: Address, key: Callable[[], str]) -> None:
        clock = DatabaseClock()
        self._settings = settings
        self._clock = clock
        self._process_id = uuid4()
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
        self._writer = Writer(
            self._inbox,
            self._store,
            self._scheduler,
            clock,
            self._heartbeat,
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
        self._started = False
        self._running = False
        """All threads have been started."""
        self._standby = False
        self._stopped = False
        self._servers = [
            each
            for each in (
                metrics_server(settings.metrics.listen, self.picture, clock),
                control_server(
                    settings.account,
                    self.picture,
                    self.activity,
                    self._writer.tail,
                    self._snapshot_now,
                    self._link.reconnect,
                    clock,
                ),
            )
            if each is not None
        ]

    def start(self, stop: threading.Event, waiting: Callable[[str], object]) -> None:
        """Load what the database knows, then listen.

        Until `stop` is set, waits for a database that is away, and as a standby for the end of another
        process that writes the account.

        Args:
            stop: set when the process is to stop.
            waiting: called with the reason while it is not done yet.

        Raises:
            Fatal: the database refuses the credential, the schema or the account.
        """
        for server in self._servers:
            server.start()
        state = self._open(stop, waiting)
        if state is None:
            return
        self._started = True
        self._started_at = self._clock.now()  # which is the database's time from now on
        self._writer.start(state)
        self._scheduler.start()
        self._link.start()
        self._schedule.start()
        self._running = True
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
        if not self._started:
            self._store.close()
            return True
        self._schedule.stop()
        self._scheduler.stop(1.0)
        self._link.stop(2.0)
        drained = self._writer.finish(drain_seconds)
        if not self._writer.alive():  # the store is ours again only once its owner has ended
            self._last_heartbeat()
            self._store.close()
        return drained

    def use_snapshots(self, snapshots: Snapshots) -> None:
        """Request by these intervals and deadlines from now on."""
        if snapshots == self._settings.snapshots:
            return
        rules = _request_rules(snapshots)
        self._settings = replace(self._settings, snapshots=snapshots)
        self._scheduler.use(rules)
        self._schedule.use(rules.interval_seconds)

    def abandon(self) -> None:
        """Nobody waits for us any more."""
        self._writer.abandon()

    def dead(self) -> str | None:
        """The name of a thread that has ended although nobody asked it to, or that cannot do its work."""
        alive = {
            "hub key": self._refusal() is None,
            "link": self._link.alive(),
            "writer": self._writer.alive(),
            "committer": self._writer.committer_alive(),
            "request scheduler": self._scheduler.alive(),
            "scheduler": self._schedule.alive(),
            "database deadline": self._store.guarded(),
        }
        return next((name for name, lives in alive.items() if not lives), None)

    def failure(self) -> BaseException | None:
        """What ended it, where it is known."""
        return self._writer.failure or self._link.failure or self._refusal()

    def turns(self) -> dict[str, float]:
        """Of each thread that matters the seconds since it last came round its loop."""
        now = self._clock.monotonic()
        return {
            "writer": now - self._writer.progress.turned_at,
            "request scheduler": now - self._scheduler.turned_at,
            "link supervisor": now - self._link.turned_at,
            "database deadline": now - self._store.guard_turned_at,
        }

    def status_line(self) -> str:
        """For `systemctl status`."""
        return status_line(self.picture())

    def picture(self) -> Picture:
        """What a watcher sees now."""
        link, progress, level = self._link.state, self._writer.progress, self._inbox.level
        state, committed_at, oldest_at = self._writer.state, progress.committed_at, progress.oldest_at
        now, at = self._clock.monotonic(), self._clock.now()
        settings, newest = self._settings, {kind: state.newest(kind) for kind in Kind}
        balances = newest[Kind.BALANCES]
        return Picture(
            link=link.name,
            connection_error=link.connection_error,
            key_refused=link.failure is not None and link.failure.refuses_key,
            next_attempt_in_seconds=link.next_attempt_in_seconds,
            links_lost_last_hour=link.links_lost_last_hour,
            sequence=None if balances is None else balances.number.sequence,
            open_gaps=len(state.gaps),
            records=progress.committed_records,
            inbox_records=level.records,
            inbox_max_records=settings.inbox.max_records,
            dropped=level.dropped,
            dropping=level.dropping,
            outcomes=dict(progress.outcomes),
            retrying=progress.retrying,
            seconds_retrying=0.0 if progress.retrying is None else now - progress.retrying_since,
            seconds_since_commit=None if committed_at is None else (at - committed_at).total_seconds(),
            started=self._running,
            standby=self._standby and not self._started,
            ended_thread=self.dead() if self._running else None,
            turns=self.turns() if self._running else {},
            connection_attempts=link.generation,
            batches=progress.batches,
            seconds_uncommitted=0.0 if oldest_at is None else (at - oldest_at).total_seconds(),
            seconds_since_stored=None if progress.stored_at is None else now - progress.stored_at,
            inbox_bytes=level.bytes,
            inbox_max_bytes=settings.inbox.max_bytes,
            snapshot_seconds={
                kind: None if mark is None else (at - mark.confirmed_until).total_seconds()
                for kind, mark in newest.items()
            },
            snapshot_limits={
                command.kind: interval * settings.snapshots.overdue_factor
                for command, interval in _intervals(settings.snapshots).items()
            },
            gaps=Counter(gap.kind for gap in state.gaps),
            oldest_gap_seconds=max(((at - gap.opened_at).total_seconds() for gap in state.gaps), default=0.0),
            pending_confirmations=sum(len(each.state.pending) for each in state.streams.values()),
            failed_requests=self._scheduler.failures,
            clock_offset_seconds=self._clock.offset_seconds,
            unaccounted=progress.unaccounted,
        )

    def activity(self) -> Activity:
        """What `ingestor top` shows now."""
        picture, recently = self.picture(), self._writer.recent.look()
        return activity(self._settings.account, picture, self._writer.state, recently, self._clock.now())

    def _snapshot_now(self) -> None:
        for command in Command:
            self._scheduler.request(command, RequestCause.OPERATOR)

    def _refusal(self) -> CredentialRefused | None:
        """The hub refuses the key at the first start of this account: it has never worked, and whoever has
        just installed it is there. Later, a hub may refuse a good key for a while."""
        link = self._link.state
        failure = link.failure
        if failure is None or not failure.refuses_key or link.attempts < link.generation:
            return None  # attempts are counted anew after each session
        if self._writer.state.ever_connected:
            return None
        return CredentialRefused(
            f"the hub refuses the key\nwhy: {redact(str(failure))}\nfix: {advice(failure)}"
        )

    def _open(self, stop: threading.Event, waiting: Callable[[str], object]) -> State | None:
        patience = Patience(self._clock, _RETRY_CAP_SECONDS)
        while not stop.is_set():
            try:
                state = self._store.open()
                self._link.pause(paused=self._store.paused())
            except AccountLockedElsewhere as error:
                waiting("standby: " + str(error).partition("\n")[0])
                if not self._standby:
                    log.warning("standby", account=self._settings.account, backend=error.backend)
                self._standby = True
                stop.wait(_STANDBY_SECONDS)
            except Transient as error:
                waiting(f"waiting for the database ({in_short(str(error))})")
                if patience.is_news(str(error)):
                    log.warning("database_awaited", error=str(error))
                stop.wait(patience.next_pause())
            else:
                return state
        return None

    def _heartbeat(self) -> Heartbeat:
        link, level = self._link.state, self._inbox.level
        failure, due, intervals = (
            link.failure,
            link.next_attempt_in_seconds,
            _intervals(self._settings.snapshots),
        )
        return Heartbeat(
            process_id=self._process_id,
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at=self._started_at,
            link_state=link.name,
            connection_error=link.connection_error,
            connection_error_detail=None if failure is None else failure.detail or None,
            key_refused=failure is not None and failure.refuses_key,
            next_attempt_at=None if due is None else self._clock.now() + timedelta(seconds=due),
            last_heard_at=link.last_heard_at,
            inbox_records=level.records,
            inbox_bytes=level.bytes,
            dropped_records=level.dropped,
            clock_offset_seconds=self._clock.offset_seconds,
            balances_interval=timedelta(seconds=intervals[Command.GET_BALANCES]),
            pairs_interval=timedelta(seconds=intervals[Command.GET_PAIRS]),
        )

    def _last_heartbeat(self) -> None:
        try:
            self._store.heartbeat(replace(self._heartbeat(), stopped_at=self._clock.now()))
        except IngestorError as error:
            log.debug("heartbeat_failed", error=str(error))


def _intervals(snapshots: Snapshots) -> dict[Command, float]:
    return {
        Command.GET_BALANCES: snapshots.balances_interval_seconds,
        Command.GET_PAIRS: snapshots.pairs_interval_seconds,
    }


def _request_rules(snapshots: Snapshots) -> RequestRules:
    return RequestRules(
        snapshots.reply_deadline_seconds,
        snapshots.retry_cap_seconds,
        snapshots.overdue_factor,
        _intervals(snapshots),
    )
