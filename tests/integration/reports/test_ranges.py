"""Ranges and moments that somebody asks for by mistake, or that have no end."""

import pytest

from tests.support.rows import Query, account
from tests.support.story import Versions, gap, open_session

KNOWN = "SELECT cause, duration FROM report.coverage({}) WHERE kind = 'balances' AND user_id = 'u' ORDER BY 1"


@pytest.fixture(autouse=True)
def impatient(sql: Query) -> None:
    """A query that would make rows without an end fails."""
    sql("SET statement_timeout = '20s'")


@pytest.mark.parametrize(
    "arguments",
    [
        *("'2025-03-04+00', '2025-03-03+00'", "'2025-03-03+00', '2025-03-03+00'"),
        *("'-infinity', '2025-03-03+00'", "'-infinity', 'infinity'", "NULL, '2025-03-03+00'"),
        *("'2025-03-03+00', NULL", "'2025-03-03+00', '2025-03-04+00', NULL"),
        *("'2025-03-03+00', '2025-03-04+00', '-infinity'", "'2100-01-01+00', '2100-01-02+00'"),
    ],
)
def test_of_a_range_that_has_no_length_nothing_is_said(arguments: str, story: Query) -> None:
    assert story(KNOWN.format(arguments)) == []


def test_coverage_without_an_end_is_counted_up_to_now_or_what_was_known(story: Query) -> None:
    then = "'2025-03-05+00', '2025-03-06+00'"
    assert story(KNOWN.format("'2025-03-05+00', 'infinity', '2025-03-06+00'")) == story(
        KNOWN.format(f"{then}, '2025-03-06+00'")
    )
    assert story(KNOWN.format(f"{then}, 'infinity'")) == story(KNOWN.format(then))
    ((total, since),) = story(
        "SELECT sum(duration), now() - '2025-03-05+00' FROM report.coverage('2025-03-05+00', 'infinity') "
        "WHERE user_id = 'u'"
    )
    assert total >= since


@pytest.mark.parametrize(
    ("ts", "known_at", "certainty"),
    [
        ("NULL", "now()", None),
        ("'2025-03-05+00'", "NULL", None),
        ("'2025-03-05+00'", "'-infinity'", None),
        ("'2025-03-05+00'", "'infinity'", "confirmed"),
        ("'-infinity'", "now()", "before_first"),
        ("'infinity'", "now()", None),
    ],
)
def test_of_no_moment_nothing_is_said(ts: str, known_at: str, certainty: str | None, story: Query) -> None:
    """Before: what was asked of a null was said to have been before the first snapshot."""
    for function in ("balance_as_of", "pair_as_of", "exposure_as_of"):
        said = {
            row[0]
            for row in story(
                f"SELECT certainty FROM report.{function}({ts}, {known_at}) WHERE account = 'main'"
            )
        }
        assert said == {certainty} or (function == "exposure_as_of" and certainty == "confirmed")


def test_buckets_without_an_end_end_with_what_is_known(story: Query) -> None:
    bucket = (
        "SELECT to_char(bucket_from, 'DD HH24:MI'), to_char(bucket_until, 'DD HH24:MI'), "
        "to_char(as_of, 'DD HH24:MI'), total FROM report.balance_bucket({}) "
        "WHERE account = 'main' AND asset = 'BTC' ORDER BY bucket_from"
    )
    rows = [("03 13:00", "03 14:00", "03 14:00", 99), ("03 14:00", "03 15:00", "03 14:30", 12.5)]
    for until in ("infinity", "2025-03-07+00"):
        arguments = f"'2025-03-03 13:00+00', '{until}', '1 hour', 'UTC', '2025-03-03 14:30+00'"
        assert story(bucket.format(arguments)) == rows
    assert story(bucket.format("'-infinity', '2025-03-07+00', '1 hour'")) == []
    # The last day of the known has 23 hours in Rome, and is shown with its end.
    assert story(
        bucket.format("'2025-03-28 23:00+00', 'infinity', '1 day', 'Europe/Rome', '2025-03-30 05:00+00'")
    ) == [("28 23:00", "29 23:00", "29 23:00", 7), ("29 23:00", "30 22:00", "30 05:00", 8)]
    assert story("SELECT * FROM report.bucket('2025-03-03+00', 'infinity', '1 hour')") == []


@pytest.mark.parametrize(
    "days",
    [
        "report.balance_eod({}, 'UTC')",
        "report.coverage_daily({}, 'UTC')",
        "report.vendor_latency_daily({}, 'UTC')",
    ],
)
def test_days_without_an_end_end_with_today(days: str, story: Query) -> None:
    everything = days.format("'2025-03-03', current_date")
    count = "SELECT count(*), max(day) FROM "
    assert story(count + days.format("'2025-03-03', 'infinity'")) == story(count + everything)
    assert story(count + days.format("'-infinity', '2025-03-03'")) == [(0, None)]
    assert story(count + days.format("'2025-03-04', '2025-03-03'")) == [(0, None)]


def test_a_push_in_a_gap_proves_nothing_in_the_history_of_an_asset_either(sql: Query) -> None:
    """Reconnected at 10:05; pushes at 10:06 and 10:07, and at 10:10 the answer."""
    account(sql)
    sql("UPDATE ingest.heartbeat SET stopped_at = now()")
    for session, opened in (("A", "09:00:00"), ("B", "10:05:00")):
        open_session(sql, "main", session, f"2025-03-03 {opened}+00")
    version = Versions(sql, "main", "u")
    version("03 09:00:00", "A", 1, 1, "answered", BTC=("1", "0"))
    gap(sql, "main", "A", 9, "disconnected", "eof", "03 10:00:00", "03 10:10:00", missed_until="03 10:05:00")
    version("03 10:06:00", "B", 1, 5, before="03 09:59:00", passed_over=3, BTC=("5", "0"))
    version("03 10:07:00", "B", 1, 6, before="03 10:06:00", BTC=("6", "0"))
    version("03 10:20:00", "B", 1, 7, before="03 10:10:00", BTC=("7", "0"))
    version.stand("03 12:00:00")

    assert sql(
        "SELECT total, to_char(confirmed_until, 'HH24:MI'), certainty FROM report.balance_history ORDER BY 1"
    ) == [
        (1, "09:59", "last_known"),
        (5, "10:06", "in_gap"),
        (6, "10:07", "in_gap"),
        (7, "12:00", "last_known"),
    ]
    said = "SELECT total, certainty FROM report.balance_as_of(%s)"
    assert sql(said, "2025-03-03 10:06:30+00") == [(5, "in_gap")]
    assert sql(said, "2025-03-03 10:08:30+00") == [(6, "confirmed")]


def test_a_push_in_a_later_session_dates_nothing_in_the_history_of_an_asset_either(sql: Query) -> None:
    """Last confirmed at nine, last message at ten; the next number came after the reconnect."""
    account(sql)
    sql("UPDATE ingest.heartbeat SET stopped_at = now()")
    for session, opened in (("A", "08:59:00"), ("B", "10:05:00")):
        open_session(sql, "main", session, f"2025-03-03 {opened}+00")
    version = Versions(sql, "main", "u")
    version("03 09:00:00", "A", 1, 1, "answered", BTC=("1", "0"))
    gap(sql, "main", "A", 9, "disconnected", "eof", "03 10:00:00", "03 10:10:00", missed_until="03 10:05:00")
    version("03 10:06:00", "B", 1, 2, before="03 09:00:00", BTC=("2", "0"))
    version.stand("03 12:00:00")

    assert sql(
        "SELECT to_char(confirmed_until, 'HH24:MI'), certainty FROM report.balance_history WHERE total = 1"
    ) == [("09:00", "last_known")]
    said = "SELECT total, certainty FROM report.balance_as_of('2025-03-03 09:30+00')"
    assert sql(said) == [(1, "last_known")]
