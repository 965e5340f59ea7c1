"""How long to wait before the next attempt."""

import hashlib
from random import Random

from ingestor.adapters.hub.causes import LinkFailure
from ingestor.adapters.hub.options import LinkTiming
from ingestor.domain.backoff import full_jitter


class Retry:
    """Computes the next pause from earlier attempts. Used by the supervisor only."""

    def __init__(self, timing: LinkTiming, rng: Random) -> None:
        self._timing = timing
        self._rng = rng
        self._failures = 0
        self._refusals = 0
        self._worked: set[bytes] = set()

    def opened(self, key: str) -> None:
        """The hub accepted this key."""
        self._worked.add(_digest(key))
        self._refusals = 0

    def pause(self, failure: LinkFailure, key: str, *, lived_seconds: float, answered: bool) -> float:
        """Seconds before the next attempt; with jitter, so that many clients do not come back at once.

        Args:
            failure: how the last attempt ended.
            key: which it used.
            lived_seconds: of its session; 0 if none was opened.
            answered: whether the hub answered a command in it.
        """
        timing = self._timing
        healthy = lived_seconds >= timing.healthy_seconds
        # Not at once: with a hub that ends each session right after its answer, we would connect in a tight
        # loop.
        answered = answered and lived_seconds >= timing.answered_seconds
        self._failures = 1 if healthy or answered else self._failures + 1
        random_fraction = self._rng.random()
        if failure.refuses_key:
            pause = self._refused_pause(key) * (0.5 + random_fraction / 2)
        else:
            pause = full_jitter(
                self._failures,
                random_fraction,
                base_seconds=timing.backoff_base_seconds,
                cap_seconds=timing.backoff_cap_seconds,
            )
        return pause + (failure.retry_after_seconds or 0.0)

    def _refused_pause(self, key: str) -> float:
        """Short at first for a key that has worked: a hub that restarts may refuse valid keys for a while."""
        self._refusals += 1
        first = self._timing.refused_first_seconds
        if _digest(key) not in self._worked or self._refusals > len(first):
            return self._timing.refused_seconds
        return min(first[self._refusals - 1], self._timing.refused_seconds)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()
