"""The writer: one thread that owns the ingest state, so nothing there needs a lock.

Its loop is: take what has arrived, decode it, apply it, write it, and only then notify. It does not wait for
a batch to fill: it takes what is there, so a single event is committed at once and a flood by the thousands.
In a flood it applies the next batch while the database works on the one before; if that one is not committed
as it was applied, the next one is applied again.

A failure is handled by the class of its error. *Transient*: the same batch again, for as long as it takes,
while the inbox keeps what arrives. *Rejected*: halve the batch until the one record that the database rejects
stands alone, quarantine it, commit its neighbours. *Anything else*: stop; the process ends and is restarted.
"""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime

import structlog
from msgspec.structs import replace

from ingestor.domain.errors import Fatal, OutcomeUnknown, RowRejected, TooSlow, Transient, WatermarkConflict
from ingestor.domain.events import BalanceSnapshot, PairList, Reason, Undecodable
from ingestor.domain.records import Decoded, Fact, Record
from ingestor.pipeline.apply import Rules, fold
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.committer import Committer
from ingestor.pipeline.inbox import Inbox
from ingestor.pipeline.notify import notify
from ingestor.pipeline.patience import Patience
from ingestor.pipeline.ports import Clock, Heartbeat, Store
from ingestor.pipeline.recent import Recent
from ingestor.pipeline.request_scheduler import RequestScheduler
from ingestor.pipeline.resume import ends_of_left_sessions, resumed
from ingestor.pipeline.rows import RawEventRow, SessionProgressRow, SessionRow
from ingestor.pipeline.state import State
from ingestor.pipeline.tail import Tail

log = structlog.get_logger()

_CONFLICTS = 5
"""How often a batch is applied again because a guard did not hold. After that, a new process may help.
"""


@dataclass(frozen=True, slots=True)
class WriterRules:
    """`[writer]` of the configuration."""

    max_records: int = 3_000
    max_bytes: int = 8 * 1024 * 1024
    turn_seconds: float = 5.0
    """An idle writer turns this often, to show that it can; sooner, where a heartbeat is due."""
    heartbeat_seconds: float = 5.0
    retry_cap_seconds: float = 1.0


@dataclass(slots=True)
class Progress:
    """What the writer has done, for status, watchdog and demo. Other threads read single fields of it."""

    turned_at: float = 0.0
    """Monotonic time of the last turn of the loop, which may be waiting for the database."""
    stored_at: float | None = None
    """Monotonic time at which the database last took a batch or a heartbeat; None before the start."""
    oldest_at: datetime | None = None
    """Receipt of the oldest item of the batch that is being committed."""
    committed_at: datetime | None = None
    committed_records: int = 0
    batches: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    unaccounted: int = 0
    """Records received that are neither stored nor counted as dropped."""
    retrying: str | None = None
    """Why the current batch is not committed yet."""
    retrying_since: float = 0.0
    """Monotonic time of the first attempt that failed, while `retrying`."""


@dataclass(frozen=True, slots=True)
class _Applied:
    """Items and their batch, valid if all before them is committed as it was applied."""

    items: Sequence[Decoded | Fact]
    state: State
    batch: Batch


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
        self._apply_rules = apply_rules
        self._decode = decode
        self._state = State()
        self._ahead: _Applied | None = None
        self._committer = Committer(store)
        self._finishing = threading.Event()
        self._abandon = threading.Event()
        self._next_heartbeat = 0.0
        self._failure: BaseException | None = None
        self.progress = Progress()
        self.recent = Recent(clock)
        self.tail = Tail(clock)
        self.pause: Callable[[bool], object] = lambda _: None
        """Told with each heartbeat whether an operator has paused the account."""
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self, state: State) -> None:
        """Go on from what the store has loaded. Sessions that a dead process left open are closed first."""
        self._state = state
        for closed in ends_of_left_sessions(state, self._clock.now()):
            self._inbox.put(closed)
        self.progress.stored_at = self._clock.monotonic()
        self._committer.start()
        self._thread.start()

    def finish(self, timeout: float) -> bool:
        """Write all that the inbox holds, then end. False if it took longer than `timeout` seconds."""
        self._finishing.set()
        self._inbox.close()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._abandon.set()
            self._thread.join(1.0)
            return False
        return self._failure is None

    def abandon(self) -> None:
        """Stop waiting for a database that is away: what waits stays unwritten."""
        self._abandon.set()

    def alive(self) -> bool:
        """False once the thread has ended, for whatever reason."""
        return self._thread.is_alive()

    def committer_alive(self) -> bool:
        """The same of the thread that commits for it: without that one, it would wait for ever."""
        return self._committer.alive()

    @property
    def state(self) -> State:
        """As of the last commit. Owned by the thread while that lives."""
        return self._state

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread, if it was not asked to."""
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
        finishing = self._finishing.is_set()  # asked first: whatever was put before it was set is taken below
        applied, self._ahead = self._ahead, None
        if applied is None:
            until_heartbeat = max(0.0, self._next_heartbeat - self._clock.monotonic())
            items = self._take(min(self._rules.turn_seconds, until_heartbeat))
            applied = self._apply(self._state, items) if items else None
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

    def _apply(self, state: State, items: Sequence[Decoded | Fact]) -> _Applied:
        after, batch = fold(state, items, self._apply_rules)
        self._store.prepare(batch)
        return _Applied(items, after, batch)

    def _write(self, applied: _Applied) -> None:
        """Commit, and apply what waits while the database is busy."""
        if self._inbox.level.records == 0:
            self._commit(applied)
            return
        under_way = self._committer.write(applied.batch)
        waiting = self._take(0.0)
        ahead = self._apply(applied.state, waiting) if waiting else None
        self._commit(applied, under_way)
        if self._state is not applied.state and waiting:  # the batch before was not committed as applied
            ahead = self._apply(self._state, waiting)
        self._ahead = ahead

    def _commit(
        self, applied: _Applied, under_way: "Future[None] | None" = None, ours: State | None = None
    ) -> None:
        """Commit, for as long as it takes; in halves where a value is rejected or the batch is too slow.

        Args:
            under_way: the first attempt, if it has begun already.
            ours: the state as of the last commit, where that is not the present one.
        """
        ours, items = ours or self._state, applied.items
        patience = Patience(self._clock, self._rules.retry_cap_seconds)
        conflicts = 0
        unknown = False
        slow: TooSlow | None = None
        while True:
            self.progress.turned_at = self._clock.monotonic()
            if slow is not None and not unknown and len(applied.items) > 1:
                log.warning("batch_halved", items=len(applied.items), error=str(slow))
                self._in_halves(applied.items)
                return
            try:
                if under_way is not None:
                    first, under_way = under_way, None
                    first.result()
                elif unknown:
                    if not self._store.holds(applied.batch):
                        unknown = False
                        continue
                else:
                    self._store.write(applied.batch)
                break
            except RowRejected as error:
                self._without_the_rejected(applied, error)
                return
            except WatermarkConflict as error:
                conflicts += 1
                if conflicts > _CONFLICTS:
                    raise Fatal(f"the stored state is not ours to go on from: {error}") from error
                log.warning("watermark_conflict", error=str(error))
                again = self._resume(ours, items, applied.batch)
                if again is None:
                    break
                applied = again
            except Transient as error:
                unknown = unknown or isinstance(error, OutcomeUnknown)
                slow = error if isinstance(error, TooSlow) else slow
                if slow is None or unknown or len(applied.items) == 1:
                    self._wait(patience, error)
        self._state = applied.state
        self._committed(applied)

    def _in_halves(self, items: Sequence[Decoded | Fact]) -> None:
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            self._commit(self._apply(self._state, half))

    def _without_the_rejected(self, applied: _Applied, error: RowRejected) -> None:
        items = applied.items
        if len(items) > 1:
            self._in_halves(items)
            return
        (only,) = items
        if not isinstance(only, Decoded) or _is_rejected(only):
            raise Fatal(f"the database rejects what only we have written: {error}") from error
        log.error("record_rejected", ordinal=only.record.ordinal, error=str(error))
        self._commit(self._apply(self._state, [_rejected(only)]))

    def _resume(self, ours: State, items: Sequence[Decoded | Fact], batch: Batch) -> _Applied | None:
        """The items applied again, on what the database holds now; None if it holds this batch of them.

        A connection that is cut during a commit may leave the server at it for a while.
        """
        patience = Patience(self._clock, self._rules.retry_cap_seconds)
        while True:
            try:
                if self._store.holds(batch):
                    return None
                self._state, facts = resumed(ours, self._store.open())
            except Transient as error:
                self._wait(patience, error)
            else:
                return self._apply(self._state, [*facts, *items])

    def _wait(self, patience: Patience, error: Transient) -> None:
        """A pause, which is logged at once, when the reason changes, and once a minute."""
        reason = str(error)
        if patience.is_news(reason):
            level = self._inbox.level
            log.warning(
                "commit_delayed", error=reason, waiting_records=level.records, dropped_records=level.dropped
            )
        if self.progress.retrying is None:
            self.progress.retrying_since = self._clock.monotonic()
        self.progress.retrying = reason
        self.progress.turned_at = self._clock.monotonic()
        if self._abandon.wait(patience.next_pause()):
            raise Fatal(f"ended while the database was away: {error}") from error

    def _committed(self, applied: _Applied) -> None:
        progress, batch = self.progress, applied.batch
        records = len(batch.all(RawEventRow))
        if progress.retrying is not None:
            log.info("commit_resumed")
            progress.retrying = None
        progress.committed_at = self._clock.now()
        progress.stored_at = self._clock.monotonic()
        progress.committed_records += records
        if progress.oldest_at is not None:
            self.recent.add(records, (progress.committed_at - progress.oldest_at).total_seconds())
        self.tail.add(applied.items, batch, records)
        progress.batches += 1
        progress.outcomes.update(batch.outcomes())
        progress.unaccounted += batch.unaccounted()
        if batch.all(SessionRow) or any(row.closed_at for row in batch.all(SessionProgressRow)):
            self._next_heartbeat = 0.0  # whoever looks at the account shall see the link as it is
        notify(batch, self._scheduler)
        log.debug("batch_committed", items=len(applied.items), records=records)

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
            ours, ahead, self._ahead = self._state, self._ahead, None
            again = self._resume(ours, [] if ahead is None else ahead.items, Batch())
            if again is not None:
                self._commit(again, ours=ours)


def _is_rejected(item: Decoded) -> bool:
    return any(
        isinstance(event.body, Undecodable) and event.body.reason is Reason.REJECTED_BY_DATABASE
        for event in item.events
    )


def _rejected(item: Decoded) -> Decoded:
    """The record as the database sees it: its snapshots cannot become state."""
    body = Undecodable(Reason.REJECTED_BY_DATABASE, "the database rejects a value of this event")
    events = tuple(
        replace(event, body=body) if isinstance(event.body, BalanceSnapshot | PairList) else event
        for event in item.events
    )
    return Decoded(item.record, events)
