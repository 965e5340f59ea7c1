"""A statement of a day, and an export, compared with the oracle over random histories."""

import csv
from collections import Counter
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import psycopg
import pytest

from ingestor.app import statement
from ingestor.app.export import ExportSelection, export
from ingestor.config import load
from ingestor.statement.figures import Figures
from tests.integration.reports.test_oracle import (
    EXACT,
    SEEDS,
    Rows,
    certainty_of,
    differing,
    less,
    tell,
    total,
)
from tests.support.postgres import libpq_url
from tests.support.report_oracle import Oracle, tick
from tests.support.rows import Query

ROME = ZoneInfo("Europe/Rome")

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", SEEDS)
def test_a_statement_says_what_the_oracle_says(seed: int, sql: Query, database: str) -> None:
    differ: list[object] = []
    for told in tell(sql, database, seed):
        first = datetime.combine(min(told.commits).astimezone(ROME), time(), ROME)
        for day in range(3):
            since, until = (first + timedelta(days=each) for each in (day, day + 1))
            with psycopg.connect(libpq_url(database)) as connection:
                reader = statement._Reader(connection, told.account, since, until, ROME, ())
                figures = statement._figures(reader)
            oracle = Oracle(told, figures.known_at)
            differ += compare_balances(oracle, figures)
            differ += compare_movements(oracle, figures)
            differ += compare_day(oracle, figures)
    assert not differ, f"{len(differ)}: {differ[:5]}"


def compare_balances(oracle: Oracle, figures: Figures) -> list[object]:
    found: Rows = {
        (each.user_id, each.asset): (
            *(each.opening, each.opening_certainty, each.closing, each.closing_certainty, each.change),
        )
        for each in figures.balances
    }
    expected: Rows = {}
    for user, asset in oracle.assets():
        answers = [oracle.stream("balances", user, tick(at)) for at in (figures.since, figures.until)]
        begin, end = (oracle.held(answer, asset) for answer in answers)
        if end.since is not None:
            expected[user, asset] = (
                *(total(begin), certainty_of(begin, answers[0])),
                *(total(end), certainty_of(end, answers[1]), less(total(end), total(begin))),
            )
    return differing(expected, found, oracle.told.account, figures.since)


def compare_movements(oracle: Oracle, figures: Figures) -> list[object]:
    """Of those that are equally large, any may be the last one shown."""
    moved: Counter[tuple[object, ...]] = Counter()
    sizes: list[Decimal] = []
    for user, asset in oracle.assets():
        for version, now, before in oracle.changes(user, asset):
            change = less(total(now), total(before))
            in_period = figures.since < version.valid_from <= figures.until
            if change and in_period and not oracle.is_former("balances", user):
                moved[asset, version.valid_from, total(now), change] += 1
                sizes.append(EXACT.abs(change))
    shown: list[tuple[object, ...]] = [
        (each.asset, each.observed_at, each.total, each.change) for each in figures.movements
    ]
    largest = sorted(sizes, reverse=True)[: len(shown) if len(shown) == statement._LARGEST else None]
    sizes_shown = [EXACT.abs(each.change) for each in figures.movements]
    differ: list[object] = [] if sizes_shown == largest else [("sizes", shown, largest)]
    return [*differ, *(Counter(shown) - moved)]


def compare_day(oracle: Oracle, figures: Figures) -> list[object]:
    found: Rows = {
        (each.day, cause): (spent,) for each in figures.days for cause, spent in each.parts.items() if spent
    }
    parts: Counter[str] = Counter()
    for kind, user in oracle.told.streams:
        if kind == "balances" and not oracle.is_former(kind, user):
            for cause, spent in oracle.coverage(kind, user, figures.since, figures.until).items():
                parts[cause] += spent // timedelta(microseconds=1)
    expected: Rows = {
        (figures.since.date(), cause): (timedelta(microseconds=spent),)
        for cause, spent in parts.items()
        if spent
    }
    return differing(expected, found, oracle.told.account, figures.since)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_export_has_the_rows_that_the_oracle_has(
    seed: int, sql: Query, database: str, tmp_path: Path
) -> None:
    told, _ = tell(sql, database, seed)
    settings = load(environ={"INGESTOR_ACCOUNT": "main", "INGESTOR_DATABASE__URL": database}).settings
    since, until = told.end - timedelta(hours=12), told.end
    views = ("balance_history", "confirmation", "gap", "request")
    export(settings, ExportSelection("main", views, since, until, "csv", tmp_path / "x"))

    with (tmp_path / "x" / "balance_history.csv").open(newline="", encoding="utf-8") as file:
        found: Rows = {
            (row["user_id"], row["asset"], *map(int, (row["epoch"], row["sequence"], row["revision"]))): (
                *(datetime.fromisoformat(row["valid_from"]), Decimal(row["total"]), row["reported"]),
            )
            for row in csv.DictReader(file)
        }
    oracle = Oracle(told, datetime.now(UTC))
    expected: Rows = {}
    for user, asset in oracle.assets():
        for version, now, _ in oracle.changes(user, asset):
            if since <= version.valid_from < until:
                key = (user, asset, *version.number)
                expected[key] = (version.valid_from, total(now), str(now.is_named).lower())
    assert not differing(expected, found)
