"""The only module that reads the time.

All stamps are the database's time, so that queries can compare them with its `now()`. The database's clock is
read when a connection opens and with each heartbeat; in between, the elapsed monotonic time is added.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from ingestor.pipeline.ports import ClockStep

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_STEP_SECONDS = 1.0
"""A larger difference between two clocks is a step; a smaller one is drift."""


class _Reading(NamedTuple):
    """The database's time at a moment, and the time that `now` returned then."""

    monotonic: float
    database: datetime
    given: datetime


def _wall() -> datetime:
    return datetime.now(UTC)


def _monotonic() -> float:
    if hasattr(time, "CLOCK_BOOTTIME"):  # continues while the machine is suspended
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class DatabaseClock:
    """`ingestor.pipeline.ports.SynchronisedClock`. Thread-safe.

    Until it has been synchronised, it returns the wall clock of this host.
    """

    def __init__(
        self, wall: Callable[[], datetime] = _wall, monotonic: Callable[[], float] = _monotonic
    ) -> None:
        self.wall = wall
        self.monotonic = monotonic
        self._lock = threading.Lock()
        self._reading: _Reading | None = None
        self._wall_ahead = timedelta(0)
        """Wall clock minus monotonic clock, at the last reading."""
        self._offset: float | None = None

    @property
    def offset_seconds(self) -> float | None:
        """This host's wall clock minus the database's clock, at the last reading; None before the first."""
        return self._offset

    def now(self) -> datetime:
        """The database's time, UTC. Approaches a new reading at half or double speed; never goes back."""
        with self._lock:
            return self.wall() if self._reading is None else _slewed(self._reading, self.monotonic())

    def synchronise(self, database: datetime, sent: float, received: float) -> tuple[ClockStep, ...]:
        """Use a reading of the database's clock.

        Args:
            database: the time that was read.
            sent: monotonic time before the query.
            received: monotonic time after its answer; it was read at some moment in between.

        Returns:
            The clocks that have stepped since the reading before.
        """
        with self._lock:
            # From this moment on, not from `received`: other threads may have called `now` since.
            wall, monotonic = self.wall(), self.monotonic()
            earliest = database.astimezone(UTC) + timedelta(seconds=monotonic - received)
            latest = earliest + timedelta(seconds=received - sent)
            wall_ahead = wall - _EPOCH - timedelta(seconds=monotonic)
            steps = []
            if self._reading is None:
                now = given = earliest + (latest - earliest) / 2
            else:
                expected = self._reading.database + timedelta(seconds=monotonic - self._reading.monotonic)
                # A difference within the round trip is no difference: a slow answer changes nothing.
                now = min(max(expected, earliest), latest)
                given = _slewed(self._reading, monotonic)
                steps = [
                    ClockStep("host", (wall_ahead - self._wall_ahead).total_seconds()),
                    ClockStep("database", (now - expected).total_seconds()),
                ]
            self._reading = _Reading(monotonic, now, given)
            self._wall_ahead = wall_ahead
            self._offset = (wall - now).total_seconds()
            return tuple(step for step in steps if abs(step.seconds) > _STEP_SECONDS)


def _slewed(reading: _Reading, monotonic: float) -> datetime:
    passed = timedelta(seconds=monotonic - reading.monotonic)
    target = reading.database + passed
    if reading.given < reading.database:
        return min(reading.given + 2 * passed, target)
    if reading.given > reading.database:
        return max(reading.given + passed / 2, target)
    return target
