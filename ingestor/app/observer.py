"""Reads the state of the daemon's parts for the status line, metrics, the local socket, the heartbeat and the
watchdog.
"""

import os
import socket
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import uuid4

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.hub.causes import advice
from ingestor.adapters.hub.link import HubLink
from ingestor.adapters.loopback_http import LoopbackServer
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.adapters.schedule import SnapshotSchedule
from ingestor.app.activity import Activity, activity
from ingestor.app.daemon_status import DaemonStatus
from ingestor.config import Settings
from ingestor.config.model import Snapshots
from ingestor.domain.errors import CredentialRefused
from ingestor.domain.requests import Command
from ingestor.domain.streams import Kind
from ingestor.logs import redact, writer_alive
from ingestor.pipeline.inbox import Inbox
from ingestor.pipeline.ports import Heartbeat
from ingestor.pipeline.request_scheduler import RequestScheduler
from ingestor.pipeline.writer import Writer


class Observer:
    """Reads single fields of parts that run in other threads, and changes nothing."""

    running = False
    """All threads have been started."""
    standby = False
    """It waits because another process writes the account."""

    def __init__(
        self,
        settings: Settings,
        clock: DatabaseClock,
        inbox: Inbox,
        store: PostgresStore,
        link: HubLink,
        scheduler: RequestScheduler,
        schedule: SnapshotSchedule,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._inbox = inbox
        self._store = store
        self._link = link
        self._scheduler = scheduler
        self._schedule = schedule
        self._process_id = uuid4()
        self.snapshots = settings.snapshots
        """The ones in use."""
        self.started_at: datetime = clock.now()

    def watch(self, writer: Writer, servers: Sequence[LoopbackServer]) -> None:
        """Set these afterwards, because they need the heartbeat and the status of this object."""
        self._writer = writer
        self._servers = servers

    def dead(self) -> str | None:
        """The name of a thread that has ended unexpectedly, or that cannot work; None if there is none."""
        alive = {
            "hub key": self._refusal() is None,
            "link": self._link.alive(),
            "writer": self._writer.alive(),
            "committer": self._writer.committer_alive(),
            "request scheduler": self._scheduler.alive(),
            "scheduler": self._schedule.alive(),
            "database deadline": self._store.guarded(),
            "log writer": writer_alive(),
            **{server.name: server.alive() for server in self._servers},
        }
        return next((name for name, lives in alive.items() if not lives), None)

    def failure(self) -> BaseException | None:
        """The exception that ended it, if known."""
        return self._writer.failure or self._link.failure or self._refusal()

    def turns(self) -> dict[str, float]:
        """For each supervised thread, the seconds since the last turn of its loop."""
        now = self._clock.monotonic()
        return {
            "writer": now - self._writer.progress.turned_at,
            "request scheduler": now - self._scheduler.turned_at,
            "link supervisor": now - self._link.turned_at,
            "database deadline": now - self._store.guard_turned_at,
        }

    def daemon_status(self) -> DaemonStatus:
        """The present state of the daemon."""
        link, progress, level = self._link.state, self._writer.progress, self._inbox.level
        state, committed_at, oldest_at = self._writer.state, progress.committed_at, progress.oldest_at
        now, at = self._clock.monotonic(), self._clock.now()
        settings, newest = self._settings, {kind: state.newest(kind) for kind in Kind}
        balances = newest[Kind.BALANCES]
        return DaemonStatus(
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
            started=self.running,
            standby=self.standby,
            ended_thread=self.dead() if self.running else None,
            turns=self.turns() if self.running else {},
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
                command.kind: interval * self.snapshots.overdue_factor
                for command, interval in intervals(self.snapshots).items()
            },
            gaps=Counter(gap.kind for gap in state.gaps),
            oldest_gap_seconds=max(((at - gap.opened_at).total_seconds() for gap in state.gaps), default=0.0),
            pending_confirmations=sum(len(each.state.pending) for each in state.streams.values()),
            failed_requests=self._scheduler.failures,
            clock_offset_seconds=self._clock.offset_seconds,
            unaccounted=progress.unaccounted,
        )

    def activity(self) -> Activity:
        """The present value for `ingestor top`."""
        daemon_status, recently = self.daemon_status(), self._writer.recent.sums()
        return activity(
            self._settings.account, daemon_status, self._writer.state, recently, self._clock.now()
        )

    def _refusal(self) -> CredentialRefused | None:
        """The error if the hub refuses the key at the first start of this account, when the key has never
        worked. Later it is retried, because a hub may refuse a good key for a while."""
        link = self._link.state
        failure = link.failure
        if failure is None or not failure.refuses_key or link.attempts < link.generation:
            return None  # attempts are counted from 1 after each session
        if self._writer.state.ever_connected:
            return None
        return CredentialRefused(
            f"the hub refuses the key\nwhy: {redact(str(failure))}\nfix: {advice(failure)}"
        )

    def heartbeat(self) -> Heartbeat:
        """The daemon's row in `ingest.heartbeat`."""
        link, level = self._link.state, self._inbox.level
        failure, due = link.failure, link.next_attempt_in_seconds
        every = intervals(self.snapshots)
        return Heartbeat(
            process_id=self._process_id,
            pid=os.getpid(),
            host=socket.gethostname(),
            started_at=self.started_at,
            link_state=link.name,
            connection_error=link.connection_error,
            connection_error_detail=None if failure is None else failure.detail or None,
            key_refused=failure is not None and failure.refuses_key,
            next_attempt_at=None if due is None else self._clock.now() + timedelta(seconds=due),
            last_message_at=link.last_message_at,
            inbox_records=level.records,
            inbox_bytes=level.bytes,
            dropped_records=level.dropped,
            clock_offset_seconds=self._clock.offset_seconds,
            balances_interval=timedelta(seconds=every[Command.GET_BALANCES]),
            pairs_interval=timedelta(seconds=every[Command.GET_PAIRS]),
        )


def intervals(snapshots: Snapshots) -> dict[Command, float]:
    """Interval of each command, in seconds."""
    return {
        Command.GET_BALANCES: snapshots.balances_interval_seconds,
        Command.GET_PAIRS: snapshots.pairs_interval_seconds,
    }
