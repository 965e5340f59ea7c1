"""The sessions lost within the last hour: how many, and whether one of our settings explains it."""

from collections import deque

from ingestor.adapters.hub.causes import LinkCause

_HOUR_SECONDS = 3600.0
_ENOUGH = 3
_FEW = 1
"""Pings: ASP.NET Core's hub applies its time limit for a silent client from the first one on."""
_ENDED_BY_HUB = {LinkCause.EOF, LinkCause.RESET, LinkCause.CLOSED_BY_HUB}

RECEIVE_DEADLINE, PING_INTERVAL = "hub.receive_deadline_seconds", "hub.ping_interval_seconds"
HINTS = {
    RECEIVE_DEADLINE: "the hub is silent for longer than this; if it pings less often, raise it",
    PING_INTERVAL: "the hub ended these sessions before our second ping; if it waits for pings, lower this",
}


class Losses:
    """Sessions lost within the last hour; `count` may be called from any thread."""

    def __init__(self) -> None:
        self._times: deque[float] = deque(maxlen=10_000)
        self._suspect: str | None = None
        self._in_a_row = 0

    def add(
        self, now: float, cause: str, *, lived_seconds: float, pings: int, ping_seconds: float
    ) -> str | None:
        """Count a loss; returns the setting that explains it, if it explains several losses in a row.

        Args:
            now: on the monotonic clock.
            pings: how many we sent in that session.
            ping_seconds: our interval between two of them.
        """
        self._times.append(now)
        suspect = None
        if cause == LinkCause.SILENT:
            suspect = RECEIVE_DEADLINE
        elif cause in _ENDED_BY_HUB and pings <= _FEW and lived_seconds > (pings + 0.1) * ping_seconds:
            suspect = PING_INTERVAL
        self._in_a_row = self._in_a_row + 1 if suspect == self._suspect else 1
        self._suspect = suspect
        return suspect if self._in_a_row % _ENOUGH == 0 else None

    def count(self, now: float) -> int:
        """How many there were within the last hour."""
        return sum(now - time <= _HOUR_SECONDS for time in self._times.copy())
