"""Pauses grow, have a cap, and use all of their range."""

import pytest

from ingestor.domain.backoff import doubling, full_jitter


@pytest.mark.parametrize(
    ("attempt", "bound"), [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (10_000, 60.0)]
)
def test_the_bound_doubles_up_to_the_cap(attempt: int, bound: float) -> None:
    assert full_jitter(attempt, 0.0) == 0.0
    assert full_jitter(attempt, 0.5) == bound / 2
    assert full_jitter(attempt, 0.999) < bound
    assert doubling(attempt, cap_seconds=60.0) == bound


@pytest.mark.parametrize("times", [0, -1, -100])
def test_before_the_first_failure_there_is_nothing_to_wait_for(times: int) -> None:
    assert doubling(times, cap_seconds=60.0) == 0.0


def test_the_first_pause_is_the_base() -> None:
    pauses = [doubling(times, base_seconds=0.1, cap_seconds=0.5) for times in range(1, 6)]
    assert pauses == [0.1, 0.2, 0.4, 0.5, 0.5]


def test_doubling_ends_before_a_float_overflows() -> None:
    assert doubling(10**9, cap_seconds=1e12) == 2.0**30
