"""Delays between attempts. Chance comes in as an argument, so a delay is a pure value."""

_DOUBLINGS = 30
"""Enough for any cap, and few enough that no attempt number overflows a float."""


def full_jitter(
    attempt: int, chance: float, *, base_seconds: float = 1.0, cap_seconds: float = 60.0
) -> float:
    """Seconds to wait before this attempt: anything between nothing and a bound that doubles up to a cap.

    Full jitter keeps clients that lost the same server from coming back in step.

    Args:
        attempt: 1 for the first; the bound is `base_seconds` there and doubles with each further one.
        chance: uniform in [0, 1).
        base_seconds: bound of the first wait.
        cap_seconds: bound of every wait.
    """
    return chance * min(cap_seconds, base_seconds * 2.0 ** min(attempt - 1, _DOUBLINGS))
