"""Stamps follow the database's clock: whatever the clocks do, slowly and never backwards."""

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestor.adapters.clock import DatabaseClock
from ingestor.pipeline.ports import ClockStep

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Clocks:
    """Three clocks that a test sets: seconds since the start."""

    monotonic: float = 1_000.0
    wall: float = 0.0
    database: float = 0.0

    def pass_(self, seconds: float) -> None:
        self.monotonic += seconds
        self.wall += seconds
        self.database += seconds

    def make(self) -> DatabaseClock:
        return DatabaseClock(lambda: START + timedelta(seconds=self.wall), lambda: self.monotonic)

    def synchronise(self, clock: DatabaseClock, round_trip: float = 0.0) -> tuple[ClockStep, ...]:
        """A reading that is made half-way."""
        sent = self.monotonic
        self.pass_(round_trip / 2)
        said = START + timedelta(seconds=self.database)
        self.pass_(round_trip / 2)
        return clock.synchronise(said, sent, self.monotonic)


def stamp(clock: DatabaseClock) -> float:
    return (clock.now() - START).total_seconds()


def test_before_the_first_reading_it_is_the_hosts_clock() -> None:
    clocks = Clocks(wall=5.0)
    clock = clocks.make()

    assert stamp(clock) == 5.0
    assert clock.offset_seconds is None


@pytest.mark.parametrize("ahead", [3_600.0, -3_600.0])
def test_the_first_reading_sets_it_and_the_monotonic_clock_carries_it_on(ahead: float) -> None:
    clocks = Clocks(wall=ahead)
    clock = clocks.make()
    assert clocks.synchronise(clock, round_trip=0.5) == ()
    clocks.pass_(10)

    assert stamp(clock) == pytest.approx(clocks.database)
    assert clock.offset_seconds == pytest.approx(ahead)


def test_a_wall_clock_that_steps_changes_no_stamp() -> None:
    """C2: an hour ahead for nine seconds."""
    clocks = Clocks()
    clock = clocks.make()
    clocks.synchronise(clock)
    clocks.wall += 3_600
    clocks.pass_(5)
    assert stamp(clock) == pytest.approx(clocks.database)
    assert clocks.synchronise(clock) == (ClockStep("host", 3_600.0),)
    assert clock.offset_seconds == pytest.approx(3_600)
    clocks.wall -= 3_600
    clocks.pass_(4)
    assert clocks.synchronise(clock) == (ClockStep("host", -3_600.0),)
    assert clocks.synchronise(clock) == ()
    assert stamp(clock) == pytest.approx(clocks.database)


def test_a_database_that_is_ahead_is_followed_at_double_speed() -> None:
    clocks = Clocks()
    clock = clocks.make()
    clocks.synchronise(clock)
    clocks.database += 10

    assert clocks.synchronise(clock) == (ClockStep("database", 10.0),)
    assert stamp(clock) == pytest.approx(0)
    clocks.pass_(5)
    assert stamp(clock) == pytest.approx(10)
    clocks.pass_(5)
    assert stamp(clock) == pytest.approx(20)  # caught up
    clocks.pass_(5)
    assert stamp(clock) == pytest.approx(25)


def test_a_database_that_is_behind_is_awaited_at_half_speed() -> None:
    clocks = Clocks()
    clock = clocks.make()
    clocks.synchronise(clock)
    clocks.database -= 10

    assert clocks.synchronise(clock) == (ClockStep("database", -10.0),)
    clocks.pass_(10)
    assert stamp(clock) == pytest.approx(5)
    clocks.pass_(10)
    assert stamp(clock) == pytest.approx(10)  # met
    clocks.pass_(5)
    assert stamp(clock) == pytest.approx(15)


def test_clocks_that_run_at_different_speeds_do_not_step() -> None:
    clocks = Clocks()
    clock = clocks.make()
    clocks.synchronise(clock)
    for _ in range(10):
        clocks.pass_(5)
        clocks.database += 0.4
        clocks.wall -= 0.4
        assert clocks.synchronise(clock) == ()
    clocks.pass_(5)

    assert stamp(clock) == pytest.approx(clocks.database)
    assert clock.offset_seconds == pytest.approx(-8)


def test_a_slow_answer_moves_nothing() -> None:
    """Twenty seconds for an answer: the database said the truth somewhere in between."""
    clocks = Clocks()
    clock = clocks.make()
    clocks.synchronise(clock)
    sent = clocks.monotonic
    clocks.pass_(19)
    said = START + timedelta(seconds=clocks.database)
    clocks.pass_(1)

    assert clock.synchronise(said, sent, clocks.monotonic) == ()
    assert stamp(clock) == pytest.approx(clocks.database)


_STEPS = st.lists(
    st.tuples(
        st.floats(0, 100), st.floats(-100, 100), st.floats(-100, 100), st.sampled_from([0.0, 0.001, 3.0])
    ),
    max_size=20,
)


@given(_STEPS)
def test_it_never_goes_back_and_never_faster_than_double(
    steps: list[tuple[float, float, float, float]],
) -> None:
    clocks = Clocks()
    clock = clocks.make()
    clocks.synchronise(clock)
    before, at = stamp(clock), clocks.monotonic
    for seconds, wall, database, round_trip in steps:
        clocks.wall += wall
        clocks.database += database
        for moment in ("before the reading", "after it"):
            now, passed = stamp(clock), clocks.monotonic - at
            assert passed / 2 - 1e-5 <= now - before <= passed * 2 + 1e-5, moment
            before, at = now, clocks.monotonic
            if moment == "before the reading":
                clocks.synchronise(clock, round_trip)
        clocks.pass_(seconds)


@given(_STEPS)
def test_left_alone_it_arrives(steps: list[tuple[float, float, float, float]]) -> None:
    clocks = Clocks()
    clock = clocks.make()
    clocks.synchronise(clock)
    for seconds, _, database, _ in steps:
        clocks.database += database
        clocks.synchronise(clock)
        clocks.pass_(seconds)
    clocks.synchronise(clock)
    clocks.pass_(10_000)

    assert stamp(clock) == pytest.approx(clocks.database)


def test_it_never_goes_back_while_another_thread_synchronises_it() -> None:
    clock = DatabaseClock()
    clock.synchronise(datetime.now(UTC), clock.monotonic(), clock.monotonic())
    done = threading.Event()
    wrong: list[tuple[datetime, datetime]] = []

    def read_clock() -> None:
        before = clock.now()
        while not done.is_set():
            now = clock.now()
            if now < before:
                wrong.append((before, now))
            before = now

    threads = [threading.Thread(target=read_clock) for _ in range(2)]
    for thread in threads:
        thread.start()
    for turn in range(2_000):
        moment = clock.monotonic()
        clock.synchronise(datetime.now(UTC) + timedelta(seconds=turn % 3 - 1), moment, clock.monotonic())
    done.set()
    for thread in threads:
        thread.join()

    assert wrong == []


def test_the_monotonic_clock_goes_on_while_the_machine_is_suspended() -> None:
    if not hasattr(time, "CLOCK_BOOTTIME"):
        pytest.skip("this platform has no clock that does")
    assert abs(DatabaseClock().monotonic() - time.clock_gettime(time.CLOCK_BOOTTIME)) < 5
