"""Waiting for a database that is away: how long, and what is logged of it."""

from ingestor.domain.backoff import doubling
from ingestor.pipeline.ports import Clock

_FIRST_PAUSE_SECONDS = 0.1
_REMINDER_SECONDS = 60.0


class Patience:
    """The pauses between attempts at one thing. They double from 0.1 s up to a cap."""

    def __init__(self, clock: Clock, cap_seconds: float) -> None:
        self._clock = clock
        self._cap_seconds = cap_seconds
        self._times = 0
        self._reason = ""
        self._logged_at = 0.0
        self._events = set[str]()

    def is_news(self, reason: str) -> bool:
        """Whether this failure is to be logged: the first one, another reason, and the same once a minute."""
        now = self._clock.monotonic()
        if reason == self._reason and now - self._logged_at < _REMINDER_SECONDS:
            return False
        self._reason, self._logged_at = reason, now
        return True

    def is_first(self, event: str) -> bool:
        """Whether this event, which is logged once while the same thing is attempted, has not been logged."""
        known = event in self._events
        self._events.add(event)
        return not known

    def next_pause(self) -> float:
        """Seconds until the next attempt. A few attempts too many cost one client's server nothing."""
        self._times += 1
        return doubling(self._times, base_seconds=_FIRST_PAUSE_SECONDS, cap_seconds=self._cap_seconds)
