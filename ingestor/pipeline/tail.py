"""The newest committed records, for `ingestor tail`.

The writer adds a whole batch in one step, and only if a reader has asked within the last `WATCHED_SECONDS`.
The buffer is bounded: a reader that is too slow misses the oldest records, and gets their number. The writer
never waits for a reader.
"""

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple
from uuid import UUID

from ingestor.domain.decision import Outcome
from ingestor.domain.events import Event
from ingestor.domain.records import Decoded, Fact, Record
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.ports import Clock
from ingestor.pipeline.rows import OutcomeRow

MOST_RECORDS = 5_000
MOST_BYTES = 16 * 1024 * 1024
"""Most bytes of records kept; at least one batch is kept, which has limits of its own."""
WATCHED_SECONDS = 10.0
"""Records are kept for this long after the last call of `read`."""


class Committed(NamedTuple):
    """A committed event and its outcome."""

    number: int
    """Number of its record, among those committed since the start of the process: 1, 2, 3 …"""
    record: Record
    event: Event
    row: OutcomeRow | None
    """None: a repeat of an earlier record, which is stored without a row for its outcome."""

    @property
    def outcome(self) -> Outcome:
        """The outcome of the event."""
        return Outcome.DUPLICATE if self.row is None else Outcome(self.row.outcome)


class _Batch(NamedTuple):
    first: int
    """Number of its first record."""
    records: list[Decoded]
    size: int
    rows: Sequence[OutcomeRow]


class Tail:
    """Filled by the writer, read by any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._batches: deque[_Batch] = deque()
        self._committed = 0
        """Number of the newest record."""
        self._records = 0
        self._bytes = 0
        self._watched_until = 0.0

    def add(self, items: Sequence[Decoded | Fact], batch: Batch, records: int) -> None:
        """Add what was committed. Only counts it while nobody reads.

        Args:
            records: how many of the items are records.
        """
        watched = self._clock.monotonic() < self._watched_until
        with self._lock:
            first = self._committed + 1
            self._committed += records
            if not watched:
                self._batches.clear()
                self._records = self._bytes = 0
                return
            decoded = [item for item in items if isinstance(item, Decoded)]
            size = sum(len(each.record.raw) for each in decoded)
            self._batches.append(_Batch(first, decoded, size, batch.all(OutcomeRow)))
            self._records += records
            self._bytes += size
            while len(self._batches) > 1 and (self._records > MOST_RECORDS or self._bytes > MOST_BYTES):
                oldest = self._batches.popleft()
                self._records -= len(oldest.records)
                self._bytes -= oldest.size

    def read(self, after: int | None) -> tuple[int, int, Iterator[Committed]]:
        """The events after a record, as far as they are kept; starts or continues keeping records.

        Args:
            after: its number; None: the newest one.

        Returns:
            The number of the newest record, how many records after `after` are no longer kept, and the
            events of the others in order.
        """
        self._watched_until = self._clock.monotonic() + WATCHED_SECONDS
        with self._lock:
            newest, batches = self._committed, list(self._batches)
        known = newest if after is None else min(after, newest)
        first = batches[0].first if batches else newest + 1
        return newest, max(0, first - known - 1), _events(batches, known)


def _events(batches: Sequence[_Batch], after: int) -> Iterator[Committed]:
    for batch in batches:
        if batch.first + len(batch.records) <= after + 1:
            continue
        rows: dict[tuple[UUID, int, int], OutcomeRow] = {
            (row.session_id, row.ordinal, row.position): row for row in batch.rows
        }
        for number, each in enumerate(batch.records, batch.first):
            if number > after:
                record = each.record
                for event in each.events:
                    key = (record.session, record.ordinal, event.position)
                    yield Committed(number, record, event, rows.get(key))
