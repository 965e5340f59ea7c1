"""The writer: one thread that owns the ingest state, which therefore needs no lock.

Its loop takes the items that wait, decodes, applies and writes them, and only then notifies. It does not wait
for a batch to fill: a single event is committed at once, and in a flood thousands are committed together.
In a flood it applies the next batch while the database commits the one before; if that one is not committed
as applied, the next one is applied again. `commits.py` handles failures of the database.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from ingestor.domain.errors import Transient, WatermarkConflict
from ingestor.domain.records import Decoded, Fact, Record
from ingestor.pipeline.apply import Rules
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.commits import Applied, Commits
from ingestor.pipeline.committer import Committer
from ingestor.pipeline.inbox import Inbox
from ingestor.pipeline.notify import notify
from ingestor.pipeline.ports import Clock, Heartbeat, Store
from ingestor.pipeline.recent import Recent
from ingestor.pipeline.request_scheduler import RequestScheduler
from ingestor.pipeline.resume import ends_of_left_sessions
from ingestor.pipeline.rows import RawEventRow, SessionProgressRow, SessionRow
from ingestor.pipeline.state import State
from ingestor.pipeline.tail import Tail

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class WriterRules:
    """`[writer]` of the configuration."""

    max_records: int = 3_000
    max_bytes: int = 8 * 1024 * 1024
    turn_seconds: float = 5.0
    """Longest turn of an idle writer, so that a stuck one is detected; shorter if a heartbeat is due."""
    heartbeat_seconds: float = 5.0
    retry_cap_seconds: float = 1.0


class Writer:
    """Thread-safe `start`, `finish` and `alive`; all else happens in its own thread."""

    def __init__(
        self,
        inbox: Inbox,
        store: Store,
        scheduler: RequestScheduler,
        clock: Clock,
        heartbeat: Callable[[], Heartbeat],
        rules: WriterRules,
        apply_rules: Rules,
        decode: Callable[[Record], Decoded],
    ) -> None:
        self._inbox = inbox
        self._store = store
        self._scheduler = scheduler
        self._clock = clock
        self._make_heartbeat = heartbeat
        self._rules = rules
        self._decode = decode
        self._commits = Commits(inbox, store, clock, rules.retry_cap_seconds, apply_rules, self._committed)
        self.progress = self._commits.progress
        self._ahead: Applied | None = None
        self._committer = Committer(store)
        self._finishing = threading.Event()
        self._next_heartbeat = 0.0
        self._failure: BaseException | None = None
        self.recent = Recent(clock)
        self.tail = Tail(clock)
        self.pause: Callable[[bool], object] = lambda _: None
        """Called with each heartbeat: whether an operator has paused the account."""
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self, state: State) -> None:
        """Resume from the loaded state. Sessions that a dead process left open are closed first."""
        self._commits.state = state
        for closed in ends_of_left_sessions(state, self._clock.now()):
            self._inbox.put(closed)
        self.progress.stored_at = self._clock.monotonic()
        self._committer.start()
        self._thread.start()

    def finish(self, timeout: float) -> bool:
        """Write all items of the inbox, then end. False if it took longer than `timeout` seconds."""
        self._finishing.set()
        self._inbox.close()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._commits.abandon.set()
            self._thread.join(1.0)
            return False
        return self._failure is None

    def abandon(self) -> None:
        """Stop waiting for a database that is away; waiting items are not written."""
        self._commits.abandon.set()

    def alive(self) -> bool:
        """False once the thread has ended."""
        return self._thread.is_alive()

    def committer_alive(self) -> bool:
        """False once the committer's thread has ended; the writer would wait for it for ever."""
        return self._committer.alive()

    @property
    def state(self) -> State:
        """As of the last commit. Owned by the thread while it runs."""
        return self._commits.state

    @property
    def failure(self) -> BaseException | None:
        """The exception that ended the thread, if any."""
        return self._failure

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process with it
            self._failure = error
        finally:
            self._committer.end()

    def _turn(self) -> bool:
        finishing = self._finishing.is_set()  # read first: all items put before it was set are taken below
        applied, self._ahead = self._ahead, None
        if applied is None:
            until_heartbeat = max(0.0, self._next_heartbeat - self._clock.monotonic())
            items = self._take(min(self._rules.turn_seconds, until_heartbeat))
            applied = self._commits.apply(self._commits.state, items) if items else None
        self.progress.turned_at = self._clock.monotonic()
        if applied is not None:
            first = applied.items[0]
            # Facts are taken at once; records may have waited in the inbox.
            at = first.record.received_at if isinstance(first, Decoded) else self._clock.now()
            self.progress.oldest_at = at
            self._write(applied)
            self.progress.oldest_at = None
        self._heartbeat()
        return applied is not None or not finishing

    def _take(self, timeout: float) -> list[Decoded | Fact]:
        """The next items, decoded."""
        items = self._inbox.take(self._rules.max_records, self._rules.max_bytes, timeout)
        decode = self._decode
        return [decode(item) if isinstance(item, Record) else item for item in items]

    def _write(self, applied: Applied) -> None:
        """Commit, and meanwhile apply the items that wait."""
        if self._inbox.level.records == 0:
            self._commits.commit(applied)
            return
        commits = self._commits
        under_way = self._committer.write(applied.batch)
        waiting = self._take(0.0)
        ahead = commits.apply(applied.state, waiting) if waiting else None
        commits.commit(applied, under_way)
        if waiting and commits.state is not applied.state:  # the batch before was not committed as applied
            ahead = commits.apply(commits.state, waiting)
        self._ahead = ahead

    def _committed(self, applied: Applied) -> None:
        progress, batch = self.progress, applied.batch
        records = len(batch.all(RawEventRow))
        if progress.oldest_at is not None and progress.committed_at is not None:
            self.recent.add(records, (progress.committed_at - progress.oldest_at).total_seconds())
        self.tail.add(applied.items, batch, records)
        if batch.all(SessionRow) or any(row.closed_at for row in batch.all(SessionProgressRow)):
            self._next_heartbeat = 0.0  # so that the tables soon show the new state of the link
        notify(batch, self._scheduler)

    def _heartbeat(self) -> None:
        now = self._clock.monotonic()
        if now < self._next_heartbeat:
            return
        self._next_heartbeat = now + self._rules.heartbeat_seconds
        try:
            self._store.heartbeat(self._make_heartbeat())
            self.progress.stored_at = self._clock.monotonic()
            self.pause(self._store.paused())
        except Transient as error:
            log.debug("heartbeat_failed", error=str(error))
        except WatermarkConflict as error:
            log.warning("watermark_conflict", error=str(error))
            ours, ahead, self._ahead = self._commits.state, self._ahead, None
            again = self._commits.resume(ours, [] if ahead is None else ahead.items, Batch())
            if again is not None:
                self._commits.commit(again, ours=ours)
