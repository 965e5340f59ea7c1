"""What must hold of every history, on random ones."""

from datetime import datetime, timedelta
from random import Random
from typing import Any

import pytest

from tests.support.random_story import START, tell
from tests.support.rows import Query

pytestmark = pytest.mark.slow

SEEDS = range(12)
MOMENTS = 60

VERSIONS = (
    "SELECT valid_from, epoch, sequence, revision, recorded_at, deleted "
    "FROM ingest.version ORDER BY 1, 2, 3, 4"
)
BALANCES = (
    "SELECT asset, valid_from, epoch, sequence, revision, available, reported "
    "FROM ingest.balance ORDER BY 1, 2, 3, 4, 5"
)
AT_EACH = (
    "SELECT as_of, asset, available, reported, observed_at, deleted, certainty "
    "FROM report.balance_at_each(%s, %s) ORDER BY 1, 2"
)


def moments(random: Random, end: datetime, stored: list[datetime]) -> list[datetime]:
    """Random ones, and those at which something changed."""
    span = int((end - START).total_seconds() * 1_000_000)
    anywhere = [START + timedelta(microseconds=random.randrange(-1_000_000, span)) for _ in range(MOMENTS)]
    return sorted({*anywhere, *random.sample(stored, min(len(stored), 15))})


def naive(
    at: datetime, known_at: datetime, versions: list[tuple[Any, ...]], balances: list[tuple[Any, ...]]
) -> dict[str, tuple[Any, ...]]:
    """The state of a moment by reading everything that had been stored by then."""
    number: tuple[Any, ...] | None = None
    deleted = None
    for *each, recorded_at, flag in versions:
        if each[0] <= at and recorded_at <= known_at:
            number, deleted = tuple(each), flag
    state: dict[str, tuple[Any, ...]] = {}
    for asset, *each, available, reported in balances:
        state.setdefault(asset, (None, None, None if number is None else number[0], deleted))
        if number is not None and tuple(each) <= number:
            state[asset] = (available, reported, number[0], deleted)
    return state


@pytest.mark.parametrize("seed", SEEDS)
def test_the_state_of_a_moment_is_that_of_a_naive_recomputation(seed: int, sql: Query) -> None:
    end = tell(sql, seed)
    random = Random(seed)
    versions, balances = sql(VERSIONS), sql(BALANCES)
    for known_at in (end + timedelta(hours=1), *random.sample([row[4] for row in versions], 3)):
        asked = [at for at in moments(random, end, [row[0] for row in versions]) if at <= known_at]
        rows = sql(AT_EACH, asked, known_at)
        for at, asset, available, reported, observed_at, deleted, certainty in rows:
            assert observed_at is None or observed_at <= at
            said = naive(at, known_at, versions, balances)[asset]
            assert (available, reported, observed_at, deleted) == said
            assert (certainty == "before_first") == (available is None)


@pytest.mark.parametrize("seed", SEEDS)
def test_known_is_what_is_called_confirmed(seed: int, sql: Query) -> None:
    """Coverage of a microsecond, against the certainty of its moment."""
    end = tell(sql, seed)
    random = Random(seed)
    for known_at in (end, START + (end - START) / 2):
        asked = [at for at in moments(random, end, []) if at < known_at]
        rows = sql(
            "SELECT t.at, s.certainty, c.known, c.total FROM unnest(%s) AS t (at) "
            "CROSS JOIN LATERAL (SELECT certainty FROM report.stream_as_of(t.at, %s)) AS s "
            "CROSS JOIN LATERAL ("
            "  SELECT coalesce(sum(duration) FILTER (WHERE cause = 'known'), interval '0') AS known, "
            "    sum(duration) AS total "
            "  FROM report.coverage(t.at, t.at + interval '1 microsecond', %s)) AS c",
            asked,
            known_at,
            known_at,
        )
        assert len(rows) == len(asked)
        for at, certainty, known, total in rows:
            assert total == timedelta(microseconds=1)
            assert (certainty == "confirmed") == (known == total), (at, certainty)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_parts_of_a_range_add_up_to_it(seed: int, sql: Query) -> None:
    end = tell(sql, seed)
    random = Random(seed)
    for _ in range(5):
        first, last = sorted(random.sample(moments(random, end, []), k=2))
        ((total, share, least),) = sql(
            "SELECT sum(duration), sum(share), min(duration) FROM report.coverage(%s, %s, %s)",
            first,
            last,
            end,
        )
        assert total == last - first
        assert least >= timedelta(0)
        assert abs(share - 1) < 1e-6


@pytest.mark.parametrize("seed", SEEDS)
def test_a_range_is_the_sum_of_its_pieces(seed: int, sql: Query) -> None:
    """Cause by cause; with a window of maintenance in the middle of the day."""
    end = tell(sql, seed)
    random = Random(seed)
    sql("INSERT INTO report.maintenance_window VALUES (1, '10:00', '10:20', 'UTC')")  # 2025-03-03 is a Monday
    cuts = sorted(random.sample(moments(random, end, []), k=6))
    for known_at in (end, cuts[-1]):
        (whole, pieces) = (
            sql(
                "SELECT cause, sum(duration) FROM unnest(%s, %s) AS p (since, until) "
                "CROSS JOIN LATERAL report.coverage(p.since, p.until, %s) "
                "GROUP BY cause HAVING sum(duration) > interval '0' ORDER BY cause",
                each[:-1],
                each[1:],
                known_at,
            )
            for each in ([cuts[0], cuts[-1]], cuts)
        )
        assert whole == pieces


@pytest.mark.parametrize("seed", SEEDS[:4])
def test_buckets_and_days_are_the_state_at_their_boundaries(seed: int, sql: Query) -> None:
    end = tell(sql, seed)
    columns = "as_of, asset, available, observed_at, certainty"
    for table in (
        f"report.balance_bucket('{START}', '{end}', interval '17 minutes', 'Europe/Rome')",
        f"report.balance_bucket('{START}', '{end}', interval '1 day', 'America/New_York')",
        f"report.balance_eod('{START.date()}', '{end.date()}', 'Asia/Kolkata')",
    ):
        rows = sql(f"SELECT {columns} FROM {table}")
        assert rows
        assert (
            sql(
                f"SELECT {columns} FROM {table} EXCEPT SELECT {columns} FROM report.balance_at_each("
                f"ARRAY(SELECT DISTINCT as_of FROM {table} AS b))"
            )
            == []
        )
    assert sql(
        f"SELECT count(*) FROM report.bucket('{START}', '{end}', interval '17 minutes') AS b "
        f"LEFT JOIN report.bucket('{START}', '{end}', interval '17 minutes') AS n "
        f"ON n.bucket_from = b.bucket_until WHERE n.bucket_from IS NULL"
    ) == [(1,)]
