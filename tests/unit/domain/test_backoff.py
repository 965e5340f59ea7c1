"""Pauses grow, have a cap, and use all of their range."""

import pytest

from ingestor.domain.backoff import full_jitter


@pytest.mark.parametrize(
    ("attempt", "bound"), [(1, 1.0), (2, 2.0), (3, 4.0), (6, 32.0), (7, 60.0), (10_000, 60.0)]
)
def test_the_bound_doubles_up_to_the_cap(attempt: int, bound: float) -> None:
    assert full_jitter(attempt, 0.0) == 0.0
    assert full_jitter(attempt, 0.5) == bound / 2
    assert full_jitter(attempt, 0.999) < bound
