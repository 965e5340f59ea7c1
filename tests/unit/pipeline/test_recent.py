"""The last ten minutes of commits: what is counted, where, and for how long."""

from ingestor.pipeline.recent import BOUNDS_MS, SECONDS, Recent
from tests.support.requesting import ManualClock


def test_records_are_counted_where_they_were_committed_and_by_their_latency() -> None:
    clock = ManualClock()
    recent = Recent(clock)
    recent.add(3, 0.001)
    clock.seconds += 15
    recent.add(2, 0.0011)
    recent.add(0, 1.0)
    clock.seconds += 1
    recent.add(7, 9.0)

    seen = recent.sums()

    assert [count for count in seen.bars if count] == [3, 9]
    assert seen.latency == [3, 2, *[0] * (len(BOUNDS_MS) - 2), 7]
    assert seen.records_per_second == 0.2  # the second that is not over yet does not count


def test_what_is_older_than_ten_minutes_is_forgotten() -> None:
    clock = ManualClock()
    recent = Recent(clock)
    for _ in range(2 * SECONDS):
        recent.add(1, 0.001)
        clock.seconds += 1

    assert len(recent._seconds) <= SECONDS
    assert sum(recent.sums().bars) <= SECONDS
    clock.seconds += SECONDS
    seen = recent.sums()
    assert (sum(seen.bars), sum(seen.latency), seen.records_per_second) == (0, 0, 0)
