"""The one bounded queue between the link and the writer.

The receive thread puts, the writer takes. When records come faster than they are written, putting first
waits: that slows the hub down through TCP and loses nothing. Only when the writer takes nothing for
`patience_seconds` (the database is away) does the inbox drop the oldest records, because every newer snapshot
is worth more, and then it leaves a `Shed` item in their place, so that the ledger gains a gap row instead of
a silence.

Facts (sessions, commands) are few and never dropped. A disk spool would stand where `_shed` stands.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from ingestor.domain.records import Item, Record, Shed


@dataclass(frozen=True, slots=True)
class InboxLimits:
    """`[inbox]` of the configuration."""

    max_records: int = 10_000
    max_bytes: int = 32 * 1024 * 1024
    patience_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class InboxLevel:
    """How full it is, for status and metrics."""

    records: int
    bytes: int
    shed: int
    """Records dropped since the start of the process."""


class Inbox:
    """Ordered, bounded, many putters and one taker."""

    def __init__(self, limits: InboxLimits) -> None:
        self._limits = limits
        self._items: deque[Item] = deque()
        self._records = 0
        self._bytes = 0
        self._shed_total = 0
        self._out_of_patience = False
        self._closed = False
        lock = threading.Lock()
        self._something = threading.Condition(lock)
        self._room = threading.Condition(lock)

    def put(self, fact: Item) -> None:
        """Add a fact. Never waits and is never refused."""
        with self._something:
            self._items.append(fact)
            self._something.notify()

    def put_records(self, records: Sequence[Record]) -> None:
        """Add records in order. Waits for room while the writer makes progress; then drops the oldest."""
        with self._something:
            for record in records:
                if not self._fits(record):
                    self._something.notify()
                    self._make_room(record)
                self._items.append(record)
                self._records += 1
                self._bytes += len(record.raw)
            self._something.notify()

    def take(self, max_records: int, max_bytes: int, timeout: float) -> list[Item]:
        """The next items in order, at least one unless `timeout` seconds pass or the inbox is closed."""
        with self._something:
            self._something.wait_for(lambda: self._items or self._closed, timeout)
            taken: list[Item] = []
            records = size = 0
            while self._items and records < max_records and size < max_bytes:
                item = self._items.popleft()
                taken.append(item)
                if isinstance(item, Record):
                    records += 1
                    size += len(item.raw)
            self._records -= records
            self._bytes -= size
            if taken:
                self._out_of_patience = False
                self._room.notify_all()
            return taken

    def close(self) -> None:
        """No more will be put: `take` stops waiting, and so does whoever waits for room."""
        with self._something:
            self._closed = True
            self._something.notify_all()
            self._room.notify_all()

    @property
    def level(self) -> InboxLevel:
        """How full it is now."""
        with self._something:
            return InboxLevel(self._records, self._bytes, self._shed_total)

    def _fits(self, record: Record) -> bool:
        if self._records >= self._limits.max_records:
            return False
        # One record larger than the whole inbox must still get through an empty one.
        return self._records == 0 or self._bytes + len(record.raw) <= self._limits.max_bytes

    def _make_room(self, record: Record) -> None:
        if not self._out_of_patience:
            waited = self._room.wait_for(
                lambda: self._closed or self._fits(record), self._limits.patience_seconds
            )
            if waited and self._fits(record):
                return
            self._out_of_patience = True
        self._shed(record)

    def _shed(self, newcomer: Record) -> None:
        """Drop the oldest records until the newcomer fits; what stays keeps its order."""
        limit = "inbox_records" if self._records >= self._limits.max_records else "inbox_bytes"
        passed: list[Item] = []
        while not self._fits(newcomer):
            item = self._items.popleft()
            if not isinstance(item, Record):
                passed.append(item)
                continue
            self._records -= 1
            self._bytes -= len(item.raw)
            self._shed_total += 1
            last = passed[-1] if passed else None
            if (
                isinstance(last, Shed)
                and last.session == item.session
                and last.last_ordinal + 1 == item.ordinal
            ):
                passed[-1] = replace(
                    last,
                    last_ordinal=item.ordinal,
                    count=last.count + 1,
                    last_received_at=item.received_at,
                )
            else:
                passed.append(
                    Shed(
                        session=item.session,
                        first_ordinal=item.ordinal,
                        last_ordinal=item.ordinal,
                        count=1,
                        first_received_at=item.received_at,
                        last_received_at=item.received_at,
                        limit=limit,
                    )
                )
        self._items.extendleft(reversed(passed))
