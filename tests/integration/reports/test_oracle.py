"""The reports compared with an oracle over random histories of several accounts in one database.

`INGESTOR_REPORT_SEEDS=7-200` takes other histories.
"""

import os
from datetime import datetime, timedelta
from decimal import Context, Decimal
from random import Random

import pytest

from tests.support.items import EPOCH
from tests.support.random_history import History
from tests.support.report_oracle import WINDOWS, Answer, Held, Oracle, tick
from tests.support.rows import Query
from tests.support.told import Told

_FIRST, _, _LAST = os.environ.get("INGESTOR_REPORT_SEEDS", "1-2").partition("-")
SEEDS = range(int(_FIRST), int(_LAST or _FIRST) + 1)
LENGTH = 30
Rows = dict[tuple[object, ...], tuple[object, ...]]
EXACT = Context(prec=100)
CLOCK_CHANGES = (
    "2026-03-28 22:00",  # Rome and Beirut, forward
    "2026-10-24 22:00",  # Rome, Beirut and the Azores, back: in the Azores midnight comes twice
    "2026-04-04 12:00",  # Lord Howe Island, by half an hour, and the Chathams, back
    "2026-10-03 12:00",  # Lord Howe Island, by half an hour, forward
    "2026-03-08 02:00",  # Havana, forward at midnight; New York
    "2026-11-01 02:00",  # Havana, back to midnight; New York
    "2011-12-30 08:00",  # Samoa has no such day
)
"""Moments shortly before clocks change somewhere, in UTC."""


def tell(sql: Query, url: str, seed: int) -> list[Told]:
    random = Random(seed)
    for window in WINDOWS[1:]:
        sql("INSERT INTO report.maintenance_window VALUES (%s, %s, %s, %s)", *window)
    change = datetime.fromisoformat(random.choice(CLOCK_CHANGES) + "Z")
    accounts = []
    for name in ("main", "o'ther"):
        begins = change + timedelta(seconds=random.choice((0, 1800, 86_000)))
        history = History(sql, url, name, random, (begins - EPOCH).total_seconds())
        accounts.append(history.tell(LENGTH))
    return accounts


def moments(random: Random, told: Told, count: int) -> list[datetime]:
    """Random ones, and those at which something happened, or a microsecond beside it."""
    happened = [
        *told.commits,
        *told.sessions.values(),
        *(v.valid_from for versions in told.streams.values() for v in versions),
        *(again[0] for versions in told.streams.values() for v in versions for again in v.again),
        *(row.missed_from for rows in told.gaps.values() for _, row in rows),
        *(row.balances_confirmed_at or told.end for rows in told.gaps.values() for _, row in rows),
        *(row.resolved_at or told.end for rows in told.confirmations.values() for _, row in rows),
    ]
    beside = timedelta(microseconds=1)
    span = told.end - min(happened)
    return [
        random.choice(
            (
                random.choice(happened),
                random.choice(happened) + random.choice((-beside, beside)),
                min(happened) + span * random.uniform(-0.02, 1.02),
            )
        )
        for _ in range(count)
    ]


def is_passed_twice(told: Told, at: datetime) -> bool:
    """Whether the clock by which rows are stored was before and after this moment, and before it again."""
    first = next((n for n, recorded in enumerate(told.commits) if recorded > at), len(told.commits))
    return any(recorded <= at for recorded in told.commits[first:])


def differing(expected: Rows, found: Rows, *asked: object) -> list[object]:
    """What differs, with what was asked."""
    return [
        (*map(str, asked), key, "expected", expected.get(key), "found", found.get(key))
        for key in found.keys() | expected.keys()
        if found.get(key) != expected.get(key)
    ]


def total(held: Held | None) -> Decimal | None:
    if held is None or held.first is None or held.second is None:
        return None
    return EXACT.add(held.first, held.second)


def less(one: Decimal | None, other: Decimal | None) -> Decimal | None:
    return None if one is None or other is None else EXACT.subtract(one, other)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_reports_say_what_the_oracle_says(seed: int, sql: Query, database: str) -> None:
    accounts = tell(sql, database, seed)
    random = Random(seed)
    differ: list[object] = []
    for told in accounts:
        later = [at for at in moments(random, told, 6) if not is_passed_twice(told, at)]
        for known_at in (told.end + timedelta(days=1), *later):
            oracle = Oracle(told, known_at)
            for at in moments(random, told, 12):
                differ += compare_moment(sql, told, oracle, at)
            for _ in range(4):
                differ += compare_coverage(sql, told, oracle, *moments(random, told, 2))
    assert not differ, f"{len(differ)}: {differ[:5]}"


def compare_moment(sql: Query, told: Told, oracle: Oracle, at: datetime) -> list[object]:
    asked = (at, oracle.known_at, told.account)
    found: Rows = {
        ("stream", *row[:2]): row[2:]
        for row in sql(
            "SELECT kind, user_id, observed_at, certainty, confirmed_until, epoch, sequence, revision, "
            "deleted, session_id, ordinal FROM report.stream_as_of(%s, %s) WHERE account = %s",
            *asked,
        )
    }
    found |= {
        ("asset", *row[:2]): row[2:]
        for row in sql(
            "SELECT user_id, asset, available, allocated, reported, valid_from, total, certainty "
            "FROM report.balance_as_of(%s, %s) WHERE account = %s",
            *asked,
        )
    }
    found |= {
        ("pair", row[0]): row[1:]
        for row in sql(
            "SELECT name, min_size, max_size, listed, valid_from, certainty "
            "FROM report.pair_as_of(%s, %s) WHERE account = %s",
            *asked,
        )
    }
    found |= {
        ("exposure", *row[:2]): (*(each and str(each) for each in row[2:4]), *row[4:])
        for row in sql(
            "SELECT user_id, asset, current_exposure, max_exposure, base_currency, observed_at, certainty "
            "FROM report.exposure_as_of(%s, %s) WHERE account = %s",
            *asked,
        )
    }
    expected: Rows = {}
    answers = {key: oracle.stream(*key, tick(at)) for key in told.streams}
    for key, answer in answers.items():
        v = answer.version
        expected["stream", *key] = (
            (None, answer.certainty, *(None,) * 7)
            if v is None
            else (
                *(v.valid_from, answer.certainty, answer.confirmed_until),
                *(*v.number, v.deleted, v.session, v.ordinal),
            )
        )
    for user, asset in oracle.assets():
        answer = answers["balances", user]
        held = oracle.held(answer, asset)
        total = None
        if held.first is not None and held.second is not None:
            total = EXACT.add(held.first, held.second)
        expected["asset", user, asset] = (*held, total, certainty_of(held, answer))
        *figures, since = oracle.exposure(user, asset, tick(at))
        certainty = answer.certainty
        if certainty is None:
            figures, since = [None, None, None], None
        elif since is None:
            certainty = "before_first"
        elif certainty != "in_gap" and since != at:
            certainty = "last_known"
        expected["exposure", user, asset] = (*figures, since, certainty)
    pairs = answers.get(("pairs", ""))
    for name in {n for v in told.streams.get(("pairs", ""), []) for n in v.sent.contents}:
        assert pairs is not None
        held = oracle.held(pairs, name)
        expected["pair", name] = (*held, certainty_of(held, pairs))
    return differing(expected, found, told.account, at, oracle.known_at)


def certainty_of(held: Held, answer: Answer) -> str | None:
    """Of an asset or a pair: what had not been seen yet is not held."""
    return "before_first" if held.since is None and answer.certainty is not None else answer.certainty


def compare_coverage(
    sql: Query, told: Told, oracle: Oracle, since: datetime, until: datetime
) -> list[object]:
    rows = sql(
        "SELECT kind, user_id, cause, duration FROM report.coverage(%s, %s, %s) WHERE account = %s",
        since,
        until,
        oracle.known_at,
        told.account,
    )
    differ: list[object] = []
    for key in told.streams:
        found = {row[2]: row[3] for row in rows if row[:2] == key and row[3]}
        expected = oracle.coverage(*key, since, until) if since < until else {}
        if found != expected:
            asked = (told.account, str(since), str(until), str(oracle.known_at))
            differ.append((*asked, "coverage", key, "expected", expected, "found", found))
    return differ
