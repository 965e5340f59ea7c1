"""The reports after old rows have been removed, compared with the oracle over random histories.

Of moments after the cut they say the same as before; of moments before it they say nothing.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest

from ingestor.app.retention import prune
from ingestor.config import load
from tests.integration.reports.test_oracle import (
    SEEDS,
    Rows,
    compare_coverage,
    compare_moment,
    differing,
    is_passed_twice,
    moments,
    tell,
    total,
)
from tests.integration.reports.test_oracle_now import compare_balances_and_pairs, compare_streams
from tests.integration.reports.test_oracle_ranges import compare_change, compare_movements
from tests.support.report_oracle import Oracle, tick
from tests.support.rows import Query
from tests.support.told import Told

SETTINGS = ("duplicates_days", "records_days", "requests_days", "history_days")


def cut_off(url: str, told: Told, random: Random) -> datetime:
    """Remove what is older than some moment of the history, by one or more of the settings."""
    (cut,) = moments(random, told, 1)
    age: Any = (datetime.now(UTC) - cut) / timedelta(days=1)
    chosen = random.sample(SETTINGS, k=random.choice((1, 2, 4)))
    settings = replace(load(None, {"database.url": url}, {}).settings, account=told.account)
    retention = replace(settings.retention, **dict.fromkeys(chosen, age))
    cuts, _ = prune(replace(settings, retention=retention), dry_run=False)
    return max(each for each in cuts.values() if each is not None)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_left_says_what_the_oracle_says(seed: int, sql: Query, database: str) -> None:
    random = Random(seed)
    differ: list[object] = []
    for told in tell(sql, database, seed):
        cut = cut_off(database, told, random)
        ((begins,),) = sql("SELECT history_from FROM report.account WHERE account = %s", told.account)
        assert begins in {None, cut}
        later = [at for at in moments(random, told, 6) if at >= cut and not is_passed_twice(told, at)]
        for known_at in (told.end + timedelta(days=1), *later):
            oracle = Oracle(told, known_at, begins)
            kept = [at for at in moments(random, told, 30) if begins is not None or at >= cut]
            for at in kept[:12]:
                differ += compare_moment(sql, told, oracle, at)
            for since, until in zip(kept[:4], kept[4:8], strict=False):
                differ += compare_coverage(sql, told, oracle, since, until)
                differ += compare_change(sql, oracle, since, until)
                if since >= cut:
                    differ += compare_movements(sql, oracle, since, until)
        now = Oracle(told, datetime.now(UTC))
        differ += compare_streams(sql, now)
        differ += compare_balances_and_pairs(sql, now)
        differ += compare_history(sql, now, random)
    assert not differ, f"{len(differ)}: {differ[:5]}"


def compare_history(sql: Query, oracle: Oracle, random: Random) -> list[object]:
    """The rows that are left are right, and none says that it is known for longer than it is."""
    found: Rows = {}
    differ: list[object] = []
    for row in sql(
        "SELECT user_id, asset, epoch, sequence, revision, valid_from, valid_to, total, confirmed_until "
        "FROM report.balance_history WHERE account = %s",
        oracle.told.account,
    ):
        found[row[:5]] = row[5:8]
        user, (valid_from, *_, known_until) = row[0], row[5:]
        for _ in range(3):
            at = tick(valid_from) + 1 + int(random.random() * (tick(known_until) - tick(valid_from)))
            known = oracle.stream("balances", user, at).certainty == "confirmed"
            if at < tick(known_until) and not known and not oracle.is_pending("balances", user, at):
                differ.append(("history", row, at, oracle.cause("balances", user, at)))
    expected: Rows = {}
    for user, asset in oracle.assets():
        changes = oracle.changes(user, asset)
        for number, (version, now, _) in enumerate(changes):
            valid_to = changes[number + 1][0].valid_from if number + 1 < len(changes) else None
            expected[user, asset, *version.number] = (version.valid_from, valid_to, total(now))
    return [*differ, *differing({key: expected.get(key, ()) for key in found}, found, "history")]
