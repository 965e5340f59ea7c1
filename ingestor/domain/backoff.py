"""Pauses between attempts. The random number is an argument, so these functions are pure."""

_DOUBLINGS = 30
"""Enough for any cap, and few enough that a float cannot overflow."""


def doubling(times: int, *, base_seconds: float = 1.0, cap_seconds: float) -> float:
    """Seconds to wait after `times` failures: 0, then `base_seconds`, doubled each time up to a cap."""
    return 0.0 if times < 1 else min(cap_seconds, base_seconds * 2.0 ** min(times - 1, _DOUBLINGS))


def full_jitter(
    attempt: int, random_fraction: float, *, base_seconds: float = 1.0, cap_seconds: float = 60.0
) -> float:
    """Seconds to wait before this attempt: a random share of a bound that doubles up to a cap.

    Full jitter keeps clients that lost the same server from reconnecting at the same moment.

    Args:
        attempt: 1 for the first; the bound is `base_seconds` there and doubles with each further one.
        random_fraction: uniform in [0, 1).
        base_seconds: bound of the first wait.
        cap_seconds: bound of every wait.
    """
    return random_fraction * doubling(attempt, base_seconds=base_seconds, cap_seconds=cap_seconds)
