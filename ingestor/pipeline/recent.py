"""Counts the records committed in the last ten minutes, by second and by latency.

The writer adds to it with each commit; readers sum it up. It has one small entry for each second with a
commit, so its size does not depend on the rate.
"""

import threading
from bisect import bisect_left
from collections import Counter, deque
from typing import NamedTuple

from ingestor.pipeline.ports import Clock

SECONDS = 600
BAR_SECONDS = 10
"""Seconds in one element of `Recently.bars`."""
BOUNDS_MS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000)
"""Upper bounds of the classes of latency; one more class has what took longer."""
_RATE_SECONDS = 10


class Recently(NamedTuple):
    """Sums of the last ten minutes."""

    records_per_second: float
    """Mean of the last ten whole seconds."""
    bars: list[int]
    """Records committed in each ten seconds, the oldest first; the last ten seconds have not ended yet."""
    latency: list[int]
    """Records by the time from receipt to commit, for each of `BOUNDS_MS` and above."""


class Recent:
    """Filled by the writer, read by any thread."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._seconds: deque[tuple[int, Counter[int]]] = deque()
        """Each second with a commit, with its records by class of latency."""

    def add(self, records: int, seconds: float) -> None:
        """Count the records of a commit.

        Args:
            seconds: from the receipt of the oldest of them to the commit, an upper bound for the others.
        """
        if not records:
            return
        now, band = int(self._clock.monotonic()), bisect_left(BOUNDS_MS, seconds * 1_000)
        with self._lock:
            if not self._seconds or self._seconds[-1][0] != now:
                self._seconds.append((now, Counter()))
                while self._seconds[0][0] <= now - SECONDS:
                    self._seconds.popleft()
            self._seconds[-1][1][band] += records

    def sums(self) -> Recently:
        """The sums as of now."""
        now = int(self._clock.monotonic())
        last = now // BAR_SECONDS
        bars, latency, newest = [0] * (SECONDS // BAR_SECONDS), [0] * (len(BOUNDS_MS) + 1), 0
        with self._lock:
            seconds = [(second, dict(bands)) for second, bands in self._seconds]
        for second, bands in seconds:
            back = last - second // BAR_SECONDS
            if back >= len(bars):
                continue
            records = sum(bands.values())
            bars[-1 - back] += records
            newest += records if now - _RATE_SECONDS <= second < now else 0
            for band, count in bands.items():
                latency[band] += count
        return Recently(newest / _RATE_SECONDS, bars, latency)
