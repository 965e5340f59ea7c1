"""When the next snapshots are due."""

from datetime import UTC, datetime, timedelta

from ingestor.adapters.schedule import SnapshotSchedule
from ingestor.domain.requests import Command

BALANCES, PAIRS = Command.GET_BALANCES, Command.GET_PAIRS


def test_other_intervals_count_from_now_and_put_off_nothing_that_has_the_same_one_as_before() -> None:
    schedule = SnapshotSchedule(lambda *_: None, {BALANCES: 1_000.0, PAIRS: 3_000.0})
    schedule.start()
    before = {each.id: each.next_run_time for each in schedule._scheduler.get_jobs()}
    schedule.use({BALANCES: 500.0, PAIRS: 3_000.0})
    after = {each.id: each.next_run_time for each in schedule._scheduler.get_jobs()}
    schedule.use({BALANCES: 500.0, PAIRS: 3_000.0})
    again = {each.id: each.next_run_time for each in schedule._scheduler.get_jobs()}
    schedule.stop()

    assert after[PAIRS] == before[PAIRS]
    assert timedelta(seconds=490) < after[BALANCES] - datetime.now(UTC) <= timedelta(seconds=500)
    assert again == after
