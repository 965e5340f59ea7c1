"""Pauses while a database is away, and what is logged about them."""

from ingestor.domain.backoff import doubling
from ingestor.pipeline.ports import Clock

_FIRST_PAUSE_SECONDS = 0.1
_REMINDER_SECONDS = 60.0


class Backoff:
    """The pauses between attempts of one operation. They double from 0.1 s up to a cap."""

    def __init__(self, clock: Clock, cap_seconds: float) -> None:
        self._clock = clock
        self._cap_seconds = cap_seconds
        self._times = 0
        self._reason = ""
        self._logged_at = 0.0
        self._events = set[str]()

    def should_log(self, reason: str) -> bool:
        """Whether to log this failure: the first one, one with a new reason, and the same one once a
        minute."""
        now = self._clock.monotonic()
        if reason == self._reason and now - self._logged_at < _REMINDER_SECONDS:
            return False
        self._reason, self._logged_at = reason, now
        return True

    def is_first(self, event: str) -> bool:
        """Whether this event has not been logged yet for this operation."""
        known = event in self._events
        self._events.add(event)
        return not known

    def next_pause(self) -> float:
        """Seconds until the next attempt, without jitter: there is only one client."""
        self._times += 1
        return doubling(self._times, base_seconds=_FIRST_PAUSE_SECONDS, cap_seconds=self._cap_seconds)
