"""The one bounded queue between the link and the writer.

The receive thread puts records, the writer takes them. When they arrive faster than they are written,
`put_records` first waits, which is TCP back-pressure and loses nothing. Only if the writer takes
nothing for `put_timeout_seconds` (the database is away), the inbox drops the oldest records, because a newer
snapshot contains the newer state. A `Dropped` item replaces them and becomes a gap row.

Facts (sessions, requests) are few and never dropped. They have a queue of their own beside that of the
records, so that dropping a record takes the same time however many wait; each item gets a number when it is
put, by which `take` merges the queues in order. A spool on disk could later replace `_drop`.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from msgspec.structs import replace

from ingestor.domain.records import Dropped, Fact, Item, Record

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class InboxLimits:
    """`[inbox]` of the configuration."""

    max_records: int = 10_000
    max_bytes: int = 32 * 1024 * 1024
    put_timeout_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class InboxLevel:
    """How full it is, for status and metrics."""

    records: int
    bytes: int
    dropped: int
    """Records dropped since the start of the process."""
    dropping: int
    """Records dropped since dropping started; 0 while it does not drop."""
    half_full: bool


class Inbox:
    """Ordered and bounded, for several producers and one consumer."""

    def __init__(self, limits: InboxLimits) -> None:
        self._limits = limits
        self._records: deque[tuple[int, Record]] = deque()
        self._facts: deque[tuple[int, Fact]] = deque()
        self._dropped: deque[tuple[int, Dropped]] = deque()
        """Uninterrupted series of dropped records, each with the number of its last record."""
        self._number = 0
        self._bytes = 0
        self._dropped_total = 0
        self._dropped_before = 0
        """`_dropped_total` when dropping last started."""
        self._dropping = False
        self._closed = False
        lock = threading.Lock()
        self._something = threading.Condition(lock)
        self._room = threading.Condition(lock)

    def put(self, fact: Fact) -> None:
        """Add a fact. Never waits and is never rejected."""
        with self._something:
            self._number += 1
            self._facts.append((self._number, fact))
            self._something.notify()

    def put_records(self, records: Sequence[Record]) -> None:
        """Add records in order. Waits for room while the writer makes progress; then drops the oldest."""
        with self._something:
            for record in records:
                if not self._fits(record):
                    self._something.notify()
                    self._make_room(record)
                self._number += 1
                self._records.append((self._number, record))
                self._bytes += len(record.raw)
            self._something.notify()

    def take(self, max_items: int, max_bytes: int, timeout: float) -> list[Item]:
        """The next items in order, at least one unless `timeout` seconds pass or the inbox is closed."""
        with self._something:
            self._something.wait_for(self._has_something, timeout)
            taken: list[Item] = []
            size = 0
            while len(taken) < max_items and size < max_bytes and (queue := self._first()):
                item = queue.popleft()[1]
                taken.append(item)
                if queue is self._records:
                    size += len(item.raw)
            self._bytes -= size
            if taken:
                self._dropping_ended()
                self._room.notify_all()
            return taken

    def close(self) -> None:
        """No more will be put: `take` and `put_records` stop waiting."""
        with self._something:
            self._closed = True
            self._something.notify_all()
            self._room.notify_all()

    @property
    def level(self) -> InboxLevel:
        """How full it is now."""
        with self._something:
            dropping = self._dropped_total - self._dropped_before if self._dropping else 0
            records, limits = len(self._records), self._limits
            half_full = 2 * records >= limits.max_records or 2 * self._bytes >= limits.max_bytes
            return InboxLevel(records, self._bytes, self._dropped_total, dropping, half_full)

    def _has_something(self) -> bool:
        return bool(self._records or self._facts or self._dropped or self._closed)

    def _first(self) -> "deque[tuple[int, Any]] | None":
        """The queue whose first item comes next."""
        if not self._facts and not self._dropped:  # nearly always
            return self._records or None
        queues = [queue for queue in (self._facts, self._dropped, self._records) if queue]
        return min(queues, key=lambda queue: queue[0][0])

    def _fits(self, record: Record) -> bool:
        if len(self._records) >= self._limits.max_records:
            return False
        # An empty inbox accepts a record that is larger than its limit.
        return not self._records or self._bytes + len(record.raw) <= self._limits.max_bytes

    def _make_room(self, record: Record) -> None:
        limit = "inbox_records" if len(self._records) >= self._limits.max_records else "inbox_bytes"
        if not self._dropping:
            waited = self._room.wait_for(
                lambda: self._closed or self._fits(record), self._limits.put_timeout_seconds
            )
            if waited and self._fits(record):
                return
            self._dropping = True
            self._dropped_before = self._dropped_total
            log.error("dropping_started", limit=limit, waiting_records=len(self._records))
        while not self._fits(record):
            self._drop(limit)

    def _drop(self, limit: str) -> None:
        """Drop the oldest record."""
        number, record = self._records.popleft()
        self._bytes -= len(record.raw)
        self._dropped_total += 1
        run = self._dropped[-1][1] if self._dropped else None
        if run is not None and run.session == record.session and run.last_ordinal + 1 == record.ordinal:
            self._dropped.pop()
            run = replace(
                run,
                last_ordinal=record.ordinal,
                count=run.count + 1,
                last_received_at=record.received_at,
            )
        else:
            at = record.received_at
            run = Dropped(record.session, record.ordinal, record.ordinal, 1, at, at, limit)
        self._dropped.append((number, run))

    def _dropping_ended(self) -> None:
        if self._dropping:
            self._dropping = False
            log.warning("dropping_ended", dropped=self._dropped_total - self._dropped_before)
