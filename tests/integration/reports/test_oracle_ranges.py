"""Changes, movements, days and buckets, compared with the oracle over random histories."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest

from tests.integration.reports.test_oracle import (
    EXACT,
    SEEDS,
    Rows,
    certainty_of,
    differing,
    is_passed_twice,
    less,
    moments,
    tell,
    total,
)
from tests.support.report_oracle import Oracle, tick
from tests.support.rows import Query

ZONES = (
    *("UTC", "Europe/Rome", "America/New_York", "Asia/Kolkata", "Asia/Beirut", "Pacific/Chatham"),
    *("Atlantic/Azores", "Australia/Lord_Howe", "America/Havana", "Pacific/Apia", "Asia/Kathmandu"),
)
STEPS = (timedelta(minutes=17), timedelta(hours=1), timedelta(hours=7), timedelta(days=1))


@pytest.mark.parametrize("seed", SEEDS)
def test_ranges_say_what_the_oracle_says(seed: int, sql: Query, database: str) -> None:
    accounts = tell(sql, database, seed)
    random = Random(seed)
    differ: list[object] = []
    for told in accounts:
        later = [at for at in moments(random, told, 3) if not is_passed_twice(told, at)]
        for known_at in (told.end + timedelta(days=1), *later):
            oracle = Oracle(told, known_at)
            for _ in range(3):
                since, until = moments(random, told, 2)
                differ += compare_change(sql, oracle, since, until)
                differ += compare_movements(sql, oracle, since, until)
            differ += compare_days(sql, oracle, random.choice(ZONES))
            differ += compare_buckets(sql, oracle, min(moments(random, told, 3)), random)
    assert not differ, f"{len(differ)}: {differ[:5]}"


def compare_change(sql: Query, oracle: Oracle, since: datetime, until: datetime) -> list[object]:
    found: Rows = {
        row[:2]: row[2:]
        for row in sql(
            "SELECT user_id, asset, total_before, total, available_change, allocated_change, total_change, "
            "certainty_before, certainty FROM report.balance_change(%s, %s, %s) WHERE account = %s",
            *(since, until, oracle.known_at, oracle.told.account),
        )
    }
    expected: Rows = {}
    for user, asset in oracle.assets():
        answers = [oracle.stream("balances", user, tick(at)) for at in (since, until)]
        one, other = (oracle.held(answer, asset) for answer in answers)
        expected[user, asset] = (
            *(total(one), total(other), less(other.first, one.first), less(other.second, one.second)),
            less(total(other), total(one)),
            *(certainty_of(held, answer) for held, answer in zip((one, other), answers, strict=True)),
        )
    return differing(expected, found, "change", since, until, oracle.known_at)


def compare_movements(sql: Query, oracle: Oracle, since: datetime, until: datetime) -> list[object]:
    found: Rows = {
        row[:5]: row[5:]
        for row in sql(
            "SELECT user_id, asset, epoch, sequence, revision, observed_at, total, total_change, movement, "
            "reported, deleted, origin FROM report.balance_movements(%s, %s, %s) WHERE account = %s",
            *(since, until, oracle.known_at, oracle.told.account),
        )
    }
    expected: Rows = {}
    for user, asset in oracle.assets():
        for version, now, before in oracle.changes(user, asset):
            if since <= version.valid_from < until:
                change = less(total(now), total(before))
                key = (user, asset, *version.number)
                expected[key] = (
                    *(version.valid_from, total(now), change, None if change is None else EXACT.abs(change)),
                    *(now.is_named, version.deleted, "pushed" if version.sent.pushed else "answered"),
                )
    return differing(expected, found, "movements", since, until, oracle.known_at)


def midnight(day: date, zone: str) -> datetime:
    """The first moment of a local day, or of the next one if there is no such day."""
    return datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone)).astimezone(UTC)


def compare_days(sql: Query, oracle: Oracle, zone: str) -> list[object]:
    told, known_at = oracle.told, oracle.known_at
    first, last = min(told.commits).date() - timedelta(days=1), told.end.date() + timedelta(days=1)
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    found: Rows = {
        row[:3]: row[3:]
        for row in sql(
            "SELECT day, user_id, asset, as_of, total, reported, certainty "
            "FROM report.balance_eod(%s, %s, %s, %s) WHERE account = %s",
            *(first, last, zone, known_at, told.account),
        )
    }
    expected: Rows = {}
    covered: Rows = {}
    for day in days:
        begin, end = midnight(day, zone), midnight(day + timedelta(days=1), zone)
        if begin < known_at:
            for key in told.streams:
                parts = oracle.coverage(*key, begin, end)
                covered |= {(day, *key, cause): (spent,) for cause, spent in parts.items()}
        if end > known_at:
            continue
        for user, asset in oracle.assets():
            answer = oracle.stream("balances", user, tick(end))
            held = oracle.held(answer, asset)
            expected[day, user, asset] = (end, total(held), held.is_named, certainty_of(held, answer))
    rows = sql(
        "SELECT day, kind, user_id, cause, duration FROM report.coverage_daily(%s, %s, %s, %s) "
        "WHERE account = %s AND duration > '0'",
        *(first, last, zone, known_at, told.account),
    )
    return [
        *differing(expected, found, "days", zone, known_at),
        *differing(covered, {row[:4]: row[4:] for row in rows}, "coverage of days", zone, known_at),
    ]


def compare_buckets(sql: Query, oracle: Oracle, since: datetime, random: Random) -> list[object]:
    step, zone = random.choice(STEPS), random.choice(ZONES)
    until = since + random.choice((3, 5, 12)) * step - random.choice((timedelta(0), timedelta(seconds=7)))
    found: Rows = {
        row[:3]: row[3:]
        for row in sql(
            "SELECT bucket_from, user_id, asset, bucket_until, as_of, total, is_carried, certainty "
            "FROM report.balance_bucket(%s, %s, %s, %s, %s) WHERE account = %s",
            *(since, until, step, zone, oracle.known_at, oracle.told.account),
        )
    }
    expected: Rows = {}
    edges = [since]
    local = since.astimezone(ZoneInfo(zone))
    while edges[-1] < until:
        # A day is one of the calendar.
        edges.append(
            edges[-1] + step
            if step < timedelta(days=1)
            else (local + len(edges) * step).replace(fold=0).astimezone(UTC)
        )
    edges[-1] = until
    for begin, end in pairwise(edges):
        if begin >= oracle.known_at:
            break
        as_of = min(end, oracle.known_at)
        for user, asset in oracle.assets():
            answer = oracle.stream("balances", user, tick(as_of))
            held = oracle.held(answer, asset)
            carried = held.since is None or held.since <= begin
            expected[begin, user, asset] = (end, as_of, total(held), carried, certainty_of(held, answer))
    return differing(expected, found, "buckets", since, until, step, zone, oracle.known_at)
