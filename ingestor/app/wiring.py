"""The daemon's parts and how they are plugged together.

Read top to bottom it says what is plugged in where: settings become plain values, values become adapters,
adapters meet the pipeline. The order of `start` is the order of need, that of `stop` its reverse.
"""

import gc
import os
import random
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from uuid import uuid4

import structlog

from ingestor import __version__
from ingestor.adapters.clock import SystemClock
from ingestor.adapters.hub.link import HubLink, LinkLimits, LinkTiming
from ingestor.adapters.postgres.engine import DatabaseTiming, make_engine
from ingestor.adapters.postgres.failures import DatabaseUnavailable
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.adapters.schedule import SnapshotSchedule
from ingestor.config import Settings
from ingestor.domain.backoff import full_jitter
from ingestor.domain.commands import Command
from ingestor.domain.decision import Policy
from ingestor.domain.errors import BadConfiguration, CredentialRefused, IngestorError, Transient
from ingestor.domain.limits import Limits
from ingestor.logs import register_secret
from ingestor.pipeline.booking import BookingRules
from ingestor.pipeline.books import Books
from ingestor.pipeline.desk import CommandDesk, DeskRules
from ingestor.pipeline.inbox import Inbox, InboxLimits
from ingestor.pipeline.intake import Intake
from ingestor.pipeline.ports import Beat
from ingestor.pipeline.writer import Writer, WriterRules

log = structlog.get_logger()

_TURN_OF_A_THREAD_SECONDS = 0.0002


@dataclass(frozen=True, slots=True)
class Picture:
    """What a watcher sees of a running ingestor, read without disturbing it."""

    link: str
    obstacle: str | None
    records: int
    inbox_records: int
    shed: int
    """Records dropped at a limit since the start."""
    outcomes: dict[str, int]
    answered: int
    retrying: str | None
    seconds_since_commit: float | None


class Ingestor:
    """The daemon's parts, wired. `start` once, `stop` once."""

    def __init__(self, settings: Settings, url: str, key: Callable[[], str]) -> None:
        clock = SystemClock()
        chance = random.SystemRandom()
        self._settings = settings
        self._clock = clock
        self._started_at = clock.now()
        self._process_id = uuid4()
        self._inbox = Inbox(_inbox_limits(settings))
        intake = Intake(self._inbox)
        self._engine = make_engine(url, _database_timing(settings))
        self._store = PostgresStore(
            self._engine,
            settings.account,
            settings.hub.environment.value,
            __version__,
            settings.database.transaction_deadline_seconds,
            clock,
        )
        self._link = HubLink(
            url=settings.hub.address,
            key=lambda: kept_secret(key()),
            listener=intake,
            clock=clock,
            timing=link_timing(settings),
            limits=LinkLimits(
                message_bytes=settings.hub.max_message_bytes, record_bytes=settings.hub.max_record_bytes
            ),
            chance=chance,
            negotiation=settings.hub.negotiate.value,
            ca_file=settings.hub.ca_file,
        )
        intervals = {
            Command.GET_BALANCES: settings.snapshots.balances_interval_seconds,
            Command.GET_PAIRS: settings.snapshots.pairs_interval_seconds,
        }
        self._intervals = intervals
        self._desk = CommandDesk(
            self._link,
            self._inbox.put,
            clock,
            DeskRules(
                reply_deadline_seconds=settings.snapshots.reply_deadline_seconds,
                attempts=settings.snapshots.attempts,
                overdue_factor=settings.snapshots.overdue_factor,
                interval_seconds=intervals,
            ),
            chance,
        )
        intake.attach(self._desk)
        self._schedule = SnapshotSchedule(self._desk.ask, intervals)
        self._writer = Writer(
            self._inbox,
            self._store,
            self._desk,
            clock,
            self._beat,
            WriterRules(max_records=settings.writer.batch_max_records),
            BookingRules(
                policy=Policy(settings.sequence.reset_confirmations, settings.sequence.max_epochs_per_hour),
                limits=Limits(record_bytes=settings.hub.max_record_bytes),
                mass_delete_share=settings.sequence.mass_delete_share,
                software_version=__version__,
            ),
            chance,
        )
        self._started = False
        self._stopped = False

    def start(self, stop: threading.Event, waiting: Callable[[str], object]) -> None:
        """Load what the database knows, then listen. Waits for a database that is away until `stop` is set.

        Args:
            stop: set when nobody wants the start any more.
            waiting: told why it is not done yet.

        Raises:
            Fatal: the database refuses the credential, the schema or the account.
        """
        books = self._open(stop, waiting)
        if books is None:
            return
        self._started = True
        self._writer.start(books)
        self._desk.start()
        self._link.start()
        self._schedule.start()
        _tune_the_interpreter()
        log.info(
            "daemon_started",
            version=__version__,
            account=self._settings.account,
            hub=self._settings.hub.address,
            resumed_streams=len(books.streams),
        )

    def stop(self, drain_seconds: float) -> bool:
        """Stop listening, write what is held, say so in the heartbeat. False if not all was written."""
        if self._stopped:
            return True
        self._stopped = True
        if not self._started:
            self._store.close()
            return True
        self._schedule.stop()
        self._desk.stop(1.0)
        self._link.stop(2.0)
        drained = self._writer.finish(drain_seconds)
        if not self._writer.alive():  # the store is ours again only once its owner has ended
            self._last_beat()
            self._store.close()
            self._engine.dispose()
        return drained

    def abandon(self) -> None:
        """Nobody waits for us any more."""
        self._writer.abandon()

    def dead(self) -> str | None:
        """The name of a thread that has ended although nobody asked it to."""
        alive = {
            "link": self._link.alive(),
            "writer": self._writer.alive(),
            "committer": self._writer.committer_alive(),
            "command desk": self._desk.alive(),
            "scheduler": self._schedule.alive(),
            "database deadline": self._store.guarded(),
        }
        return next((name for name, lives in alive.items() if not lives), None)

    def failure(self) -> BaseException | None:
        """What ended it, where it is known."""
        return self._writer.failure or self._link.failure

    def seconds_since_turn(self) -> float:
        """Age of the writer's last turn."""
        return self._clock.monotonic() - self._writer.progress.turned_at

    def books(self) -> Books:
        """What the writer knows as of its last commit; for looking at, once it has ended."""
        return self._writer.books

    def status_line(self) -> str:
        """For `systemctl status`."""
        now = self.picture()
        commit = "never" if now.seconds_since_commit is None else f"{now.seconds_since_commit:.0f} s ago"
        trouble = f" · database away: {now.retrying}" if now.retrying else ""
        obstacle = f" ({now.obstacle})" if now.obstacle else ""
        return (
            f"{now.link}{obstacle} · {now.records} records · commit {commit} · "
            f"{now.inbox_records} waiting{trouble}"
        )

    def picture(self) -> Picture:
        """What a watcher sees now."""
        link, progress, level = self._link.state, self._writer.progress, self._inbox.level
        committed_at = progress.committed_at
        return Picture(
            link=link.name,
            obstacle=link.obstacle,
            records=progress.committed_records,
            inbox_records=level.records,
            shed=level.shed,
            outcomes=dict(progress.outcomes),
            answered=progress.answered,
            retrying=progress.retrying,
            seconds_since_commit=(
                None if committed_at is None else (self._clock.now() - committed_at).total_seconds()
            ),
        )

    def _open(self, stop: threading.Event, waiting: Callable[[str], object]) -> Books | None:
        attempt = 1
        while not stop.is_set():
            try:
                return self._store.open()
            except Transient as error:
                if isinstance(error, DatabaseUnavailable) and error.exit_code == 77:
                    raise CredentialRefused(str(error)) from error
                if isinstance(error, DatabaseUnavailable) and error.exit_code == 78:
                    raise BadConfiguration(str(error)) from error
                waiting(f"waiting for the database: {error}")
                log.warning("database_awaited", error=str(error))
                stop.wait(full_jitter(attempt, 1.0, cap_seconds=5.0))
                attempt += 1
        return None

    def _beat(self) -> Beat:
        link, level = self._link.state, self._inbox.level
        return Beat(
            process_id=self._process_id,
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at=self._started_at,
            beat_at=self._clock.now(),
            link_state=link.name,
            link_obstacle=link.obstacle,
            last_heard_at=link.last_heard_at,
            inbox_records=level.records,
            inbox_bytes=level.bytes,
            balances_interval=timedelta(seconds=self._intervals[Command.GET_BALANCES]),
            pairs_interval=timedelta(seconds=self._intervals[Command.GET_PAIRS]),
        )

    def _last_beat(self) -> None:
        try:
            self._store.beat(replace(self._beat(), stopped_at=self._clock.now()))
        except IngestorError as error:
            log.debug("beat_missed", error=str(error))


def kept_secret(value: str) -> str:
    """Whatever is used as a key must not be readable in any log line from then on."""
    register_secret(value)
    return value


def _inbox_limits(settings: Settings) -> InboxLimits:
    inbox = settings.inbox
    return InboxLimits(inbox.max_records, inbox.max_bytes, inbox.patience_seconds)


def _database_timing(settings: Settings) -> DatabaseTiming:
    timing = settings.database
    return DatabaseTiming(
        connect_seconds=timing.connect_deadline_seconds,
        lock_seconds=timing.lock_deadline_seconds,
        statement_seconds=timing.statement_deadline_seconds,
        transaction_seconds=timing.transaction_deadline_seconds,
    )


def link_timing(settings: Settings) -> LinkTiming:
    """`[hub]` as the link takes it."""
    hub = settings.hub
    return LinkTiming(
        negotiate_seconds=hub.negotiate_deadline_seconds,
        start_seconds=hub.start_deadline_seconds,
        handshake_seconds=hub.handshake_deadline_seconds,
        receive_seconds=hub.receive_deadline_seconds,
        ping_seconds=hub.ping_interval_seconds,
        backoff_cap_seconds=hub.backoff_cap_seconds,
        refused_seconds=hub.refused_interval_seconds,
        healthy_seconds=hub.healthy_after_seconds,
    )


def _tune_the_interpreter() -> None:
    """Once all that lives as long as the process is there."""
    # What stays need not be looked through again: it would cost a quiet stream tens of milliseconds at times.
    gc.collect()
    gc.freeze()
    # The committer comes back from each wait for Postgres to a busy writer; Python's 5 ms until it gets its
    # turn would be as long as Postgres itself needs (decision 0008 has the figures).
    sys.setswitchinterval(_TURN_OF_A_THREAD_SECONDS)
