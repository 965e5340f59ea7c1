"""Commits batches and handles failures of the database: retries, halves the batch, or applies it again.

The class of the error decides. *Transient*: try the same batch again, without limit; meanwhile records wait
in the inbox. *Rejected*: halve the batch until the rejected record is alone, quarantine it, and commit the
others. *Anything else*: stop; the process ends and is restarted.
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
from ingestor.domain.records import Decoded, Fact
from ingestor.pipeline.apply import Rules, fold
from ingestor.pipeline.backoff import Backoff
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.inbox import Inbox
from ingestor.pipeline.ports import Clock, Store
from ingestor.pipeline.resume import resumed
from ingestor.pipeline.rows import RawEventRow
from ingestor.pipeline.state import State

log = structlog.get_logger()

_CONFLICTS = 5
"""How often a batch is applied again because a guard failed. After that the process ends."""


@dataclass(slots=True)
class Progress:
    """Progress of the writer, for status, watchdog and demo. Other threads read single fields."""

    turned_at: float = 0.0
    """Monotonic time of the last turn of the loop, which may be waiting for the database."""
    stored_at: float | None = None
    """Monotonic time of the last commit of a batch or a heartbeat; None before the start."""
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
class Applied:
    """Items and their batch, valid if the batch before was committed as applied."""

    items: Sequence[Decoded | Fact]
    state: State
    batch: Batch


class Commits:
    """The ingest state as of the last commit, and what changes it. Used by the writer's thread only."""

    def __init__(
        self,
        inbox: Inbox,
        store: Store,
        clock: Clock,
        retry_cap_seconds: float,
        apply_rules: Rules,
        committed: Callable[[Applied], None],
    ) -> None:
        """`committed` is called after each commit. `inbox` is needed for its level only, which is logged."""
        self._inbox = inbox
        self._store = store
        self._clock = clock
        self._retry_cap_seconds = retry_cap_seconds
        self._apply_rules = apply_rules
        self._committed = committed
        self.abandon = threading.Event()
        """Set it to stop waiting for a database that is away."""
        self.state = State()
        self.progress = Progress()

    def apply(self, state: State, items: Sequence[Decoded | Fact]) -> Applied:
        """Apply the items to a state; the result can be committed."""
        after, batch = fold(state, items, self._apply_rules)
        self._store.prepare(batch)
        return Applied(items, after, batch)

    def commit(
        self, applied: Applied, under_way: "Future[None] | None" = None, ours: State | None = None
    ) -> None:
        """Commit, with retries without limit; in halves if a value is rejected or the batch is too slow.

        Args:
            under_way: the first attempt, if it has begun already.
            ours: the state as of our last commit, if that is not `self.state`.
        """
        ours, items = ours or self.state, applied.items
        backoff = Backoff(self._clock, self._retry_cap_seconds)
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
                    raise Fatal(f"the stored state conflicts with ours again and again: {error}") from error
                log.warning("watermark_conflict", error=str(error))
                again = self.resume(ours, items, applied.batch)
                if again is None:
                    break
                applied = again
            except Transient as error:
                unknown = unknown or isinstance(error, OutcomeUnknown)
                slow = error if isinstance(error, TooSlow) else slow
                if slow is None or unknown or len(applied.items) == 1:
                    self._wait(backoff, error)
        self.state = applied.state
        self._after_commit(applied)

    def _in_halves(self, items: Sequence[Decoded | Fact]) -> None:
        middle = len(items) // 2
        for half in (items[:middle], items[middle:]):
            self.commit(self.apply(self.state, half))

    def _without_the_rejected(self, applied: Applied, error: RowRejected) -> None:
        items = applied.items
        if len(items) > 1:
            self._in_halves(items)
            return
        (only,) = items
        if not isinstance(only, Decoded) or _is_rejected(only):
            raise Fatal(f"the database rejects a row that does not come from the hub: {error}") from error
        log.error("record_rejected", ordinal=only.record.ordinal, error=str(error))
        self.commit(self.apply(self.state, [_rejected(only)]))

    def resume(self, ours: State, items: Sequence[Decoded | Fact], batch: Batch) -> Applied | None:
        """Load the stored state and apply the items again; None if this batch of them is stored.

        If a connection is cut during a commit, the server may continue the commit for a while.
        """
        backoff = Backoff(self._clock, self._retry_cap_seconds)
        while True:
            try:
                if self._store.holds(batch):
                    return None
                self.state, facts = resumed(ours, self._store.open())
            except Transient as error:
                self._wait(backoff, error)
            else:
                return self.apply(self.state, [*facts, *items])

    def _wait(self, backoff: Backoff, error: Transient) -> None:
        """Pause. Logs at once, when the reason changes, and once a minute."""
        reason, level = str(error), self._inbox.level
        if level.half_full and backoff.is_first("inbox_half_full"):
            log.warning("inbox_half_full", waiting_records=level.records, waiting_bytes=level.bytes)
        if backoff.should_log(reason):
            log.warning(
                "commit_delayed", error=reason, waiting_records=level.records, dropped_records=level.dropped
            )
        if self.progress.retrying is None:
            self.progress.retrying_since = self._clock.monotonic()
        self.progress.retrying = reason
        self.progress.turned_at = self._clock.monotonic()
        if self.abandon.wait(backoff.next_pause()):
            raise Fatal(f"ended while the database was away: {error}") from error

    def _after_commit(self, applied: Applied) -> None:
        progress, batch = self.progress, applied.batch
        records = len(batch.all(RawEventRow))
        if progress.retrying is not None:
            log.info("commit_resumed")
            progress.retrying = None
        progress.committed_at = self._clock.now()
        progress.stored_at = self._clock.monotonic()
        progress.committed_records += records
        progress.batches += 1
        progress.outcomes.update(batch.outcomes())
        progress.unaccounted += batch.unaccounted()
        self._committed(applied)
        log.debug("batch_committed", items=len(applied.items), records=records)


def _is_rejected(item: Decoded) -> bool:
    return any(
        isinstance(event.body, Undecodable) and event.body.reason is Reason.REJECTED_BY_DATABASE
        for event in item.events
    )


def _rejected(item: Decoded) -> Decoded:
    """The record with its snapshots replaced by a reason why they cannot become state."""
    body = Undecodable(Reason.REJECTED_BY_DATABASE, "the database rejects a value of this event")
    events = tuple(
        replace(event, body=body) if isinstance(event.body, BalanceSnapshot | PairList) else event
        for event in item.events
    )
    return Decoded(item.record, events)
