"""Days, buckets and maintenance where clocks change; a local time that occurs twice is its first moment."""

from datetime import UTC, date, datetime, timedelta

import pytest

from tests.support.rows import Query


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[misc, arg-type]


@pytest.mark.parametrize(
    ("local", "zone", "moment"),
    [
        ("2026-10-25 00:00", "Atlantic/Azores", utc(2026, 10, 25, 0, 0)),  # again at 01:00 UTC
        ("2026-10-25 00:59", "Atlantic/Azores", utc(2026, 10, 25, 0, 59)),
        ("2026-10-25 01:00", "Atlantic/Azores", utc(2026, 10, 25, 2, 0)),
        ("2026-11-01 00:00", "America/Havana", utc(2026, 11, 1, 4, 0)),
        ("2026-03-08 00:00", "America/Havana", utc(2026, 3, 8, 5, 0)),  # skipped
        ("2026-03-29 02:30", "Europe/Rome", utc(2026, 3, 29, 1, 30)),  # skipped
        ("2026-10-25 02:30", "Europe/Rome", utc(2026, 10, 25, 0, 30)),
        ("2026-04-05 01:45", "Australia/Lord_Howe", utc(2026, 4, 4, 14, 45)),  # again half an hour later
        ("2026-10-04 02:15", "Australia/Lord_Howe", utc(2026, 10, 3, 15, 45)),  # skipped
        ("2011-12-31 00:00", "Pacific/Apia", utc(2011, 12, 30, 10, 0)),  # after the 29th
        ("2026-06-01 00:00", "Asia/Kathmandu", utc(2026, 5, 31, 18, 15)),
    ],
)
def test_a_local_time_is_its_first_moment(sql: Query, local: str, zone: str, moment: datetime) -> None:
    assert sql("SELECT report.local_moment(%s::timestamp, %s)", local, zone) == [(moment,)]


def test_a_day_ends_at_the_first_of_two_midnights(story: Query) -> None:
    """In the Azores, midnight comes at 00:00 and at 01:00 UTC."""
    ends = story(
        "SELECT DISTINCT day, as_of FROM report.balance_eod('2026-10-23', '2026-10-25', 'Atlantic/Azores') "
        "ORDER BY day"
    )
    assert ends == [
        (date(2026, 10, 23), utc(2026, 10, 24)),
        (date(2026, 10, 24), utc(2026, 10, 25)),
        (date(2026, 10, 25), utc(2026, 10, 26, 1)),
    ]
    long = "SELECT DISTINCT day, sum(duration) OVER (PARTITION BY day, account, kind, user_id) FROM "
    days = story(long + "report.coverage_daily('2026-10-24', '2026-10-25', 'Atlantic/Azores') ORDER BY day")
    assert days == [(date(2026, 10, 24), timedelta(hours=24)), (date(2026, 10, 25), timedelta(hours=25))]


def test_buckets_begin_where_the_range_begins_and_leave_nothing_out(sql: Query) -> None:
    """From half past two in Rome, for the first or the second time; to ten past two, for the second time."""
    ask = "SELECT bucket_from, bucket_until FROM report.bucket(%s, %s, '1 day', 'Europe/Rome') ORDER BY 1"
    for since in (utc(2026, 10, 25, 0, 30), utc(2026, 10, 25, 1, 30)):
        next_day = utc(2026, 10, 26, 1, 30)
        assert sql(ask, since, utc(2026, 10, 26, 2)) == [
            (since, next_day),
            (next_day, utc(2026, 10, 26, 2)),
        ]
    day_before, until = utc(2026, 10, 24, 0, 30), utc(2026, 10, 25, 1, 10)
    assert sql(ask, day_before, until) == [
        (day_before, utc(2026, 10, 25, 0, 30)),
        (utc(2026, 10, 25, 0, 30), until),
    ]


def test_maintenance_begins_when_its_time_is_reached_first(story: Query) -> None:
    """From half past two to a quarter past three, on the night that has that hour twice."""
    story("DELETE FROM report.maintenance_window")
    story("INSERT INTO report.maintenance_window VALUES (7, '02:30', '03:15', 'Europe/Rome')")
    night = "'2026-10-25 00:00 UTC', '2026-10-25 04:00 UTC'"
    found = story(
        f"SELECT duration FROM report.coverage({night}) WHERE cause = 'maintenance' AND kind = 'pairs'"
    )
    assert found == [(timedelta(hours=1, minutes=45),)]
