"""Balances at any moment, and how sure that is: golden rows over the frozen story."""

from datetime import timedelta
from decimal import Decimal

import pytest

from tests.support.rows import Query, account, insert
from tests.support.story import Versions, gap, open_session, pending, request

AS_OF = """
    SELECT asset, available, total, reported, deleted, to_char(observed_at, 'DD HH24:MI:SS'), certainty
    FROM report.balance_as_of(%s::timestamptz)
    WHERE account = 'main' AND asset = %s
"""
OF_BTC = [
    # moment on 2025-03-…, free, total, reported, deleted, observed, certainty
    ("03 08:59:30", None, None, None, None, None, "before_first"),
    ("03 09:00:01", 10, 10, True, False, "03 09:00:01", "confirmed"),
    ("03 09:59:30", 10, 10, True, False, "03 09:00:01", "confirmed"),
    # Nothing lies between 100 and 101, and 101 was pushed in the same session.
    ("03 09:59:59", 10, 10, True, False, "03 09:00:01", "confirmed"),
    ("03 10:00:00", 12, Decimal("12.5"), True, False, "03 10:00:00", "confirmed"),
    # 102 was passed over: nobody knows what it said, and when.
    ("03 10:59:30", 12, Decimal("12.5"), True, False, "03 10:00:00", "last_known"),
    ("03 11:30:00", 12, Decimal("12.5"), True, False, "03 11:00:00", "confirmed"),
    # R1: the hub was away, and the amounts are the same afterwards.
    ("03 12:00:05", 12, Decimal("12.5"), True, False, "03 11:00:00", "in_gap"),
    # R2: the link was back, and nothing had been confirmed yet.
    ("03 12:00:12", 12, Decimal("12.5"), True, False, "03 11:00:00", "in_gap"),
    ("03 12:00:14", 12, Decimal("12.5"), True, False, "03 12:00:14", "confirmed"),
    ("03 13:04:30", 12, Decimal("12.5"), True, False, "03 12:00:14", "in_gap"),
    # In a gap still, but the number did not move until it was confirmed: known in hindsight.
    ("03 13:07:00", 12, Decimal("12.5"), True, False, "03 13:05:00", "confirmed"),
    # Another content under the same number.
    ("03 13:59:45", 12, Decimal("12.5"), True, False, "03 13:05:00", "last_known"),
    ("03 14:00:00", 99, 99, True, False, "03 14:00:00", "last_known"),
    ("03 14:00:05", 99, 99, True, False, "03 14:00:00", "confirmed"),
    ("03 15:00:01", Decimal("12.5"), Decimal("12.5"), True, False, "03 14:30:00", "last_known"),
    ("03 16:05:00", Decimal("12.5"), Decimal("12.5"), True, True, "03 16:00:00", "confirmed"),
    ("03 16:59:45", Decimal("12.5"), Decimal("12.5"), True, False, "03 16:10:00", "last_known"),
    ("03 17:00:01", Decimal("12.5"), Decimal("12.5"), True, False, "03 16:10:00", "last_known"),
    ("03 17:00:02", 13, 13, True, False, "03 17:00:02", "confirmed"),
    ("05 09:30:00", 13, 13, True, False, "03 17:00:02", "in_gap"),
    ("31 11:59:30", 9, 9, True, False, "30 22:00:00", "confirmed"),
    ("31 11:59:31", 9, 9, True, False, "30 22:00:00", "last_known"),
    ("31 12:30:00", 9, 9, True, False, "30 22:00:00", "in_gap"),
]


@pytest.mark.parametrize("row", OF_BTC, ids=lambda row: row[0])
def test_the_balance_of_a_moment(row: tuple[object, ...], story: Query) -> None:
    assert story(AS_OF, f"2025-03-{row[0]}+00", "BTC") == [("BTC", *row[1:])]


def test_an_asset_that_is_not_named_any_more_is_marked_and_counts_as_nothing(story: Query) -> None:
    """Absent is not zero: the flag tells one from the other."""
    assert story(AS_OF, "2025-03-03 15:29:59+00", "EUR") == [
        ("EUR", 900, 900, True, False, "03 14:30:00", "confirmed")
    ]
    assert story(AS_OF, "2025-03-03 15:30:00+00", "EUR") == [
        ("EUR", 0, 0, False, False, "03 15:30:00", "confirmed")
    ]


def test_an_asset_that_was_not_seen_yet_has_no_amount(sql: Query, story: Query) -> None:
    sql("INSERT INTO ingest.balance VALUES ('main', 'u', 'XRP', '2025-03-30 22:00+00', 2, 5, 0, 1, 0, true)")
    before = "SELECT total, reported, certainty FROM report.balance_as_of(%s) WHERE asset = 'XRP'"
    assert sql(before, "2025-03-30 21:00+00") == [(None, None, "before_first")]
    assert sql(before, "2025-03-30 22:00+00") == [(1, True, "confirmed")]


def test_between_two_polled_answers_nobody_knows(story: Query) -> None:
    polled = (
        "SELECT user_id, total, certainty, is_former FROM report.balance_as_of(%s) "
        "WHERE account = 'polled' ORDER BY 1"
    )
    assert story(polled, "2025-03-04 05:59:00+00") == [
        ("p1", 5, "last_known", True),
        ("p2", 6, "confirmed", False),
    ]
    assert story(polled, "2025-03-04 05:59:30+00")[1] == ("p2", 6, "last_known", False)
    # A request without an answer is a gap; the number confirmed afterwards shows that nothing had changed.
    assert story(polled, "2025-03-04 07:00:30+00")[1] == ("p2", 7, "confirmed", False)
    assert story("SELECT sum(total) FROM report.balance_as_of('2025-03-05+00') WHERE NOT is_former") == [
        (13 + 0 + 7,)
    ]


def test_a_report_asked_again_gives_the_figures_of_its_day(story: Query) -> None:
    """R6: a change that was received at 12:00 was stored at 12:10 only."""
    known = (
        "SELECT total, to_char(observed_at, 'DD HH24:MI'), certainty FROM "
        "report.balance_as_of('2025-03-10 12:05+00', %s::timestamptz) WHERE asset = 'BTC'"
    )
    assert story(known, "2025-03-10 12:05+00") == [(13, "05 10:20", "last_known")]
    assert story(known, "2025-03-10 12:09:59+00") == [(13, "05 10:20", "last_known")]
    assert story(known, "2025-03-10 12:10+00") == [(7, "10 12:00", "last_known")]
    assert story(known, "now") == [(7, "10 12:00", "confirmed")]


def test_what_was_in_a_gap_is_so_as_known_then_even_if_it_was_proven_later(story: Query) -> None:
    said = (
        "SELECT certainty FROM report.balance_as_of('2025-03-04 07:00:30+00', %s::timestamptz) "
        "WHERE user_id = 'p2'"
    )
    assert story(said, "2025-03-04 07:00:40+00") == [("in_gap",)]
    assert story(said, "2025-03-04 07:01:00+00") == [("confirmed",)]


CERTAINTY = "SELECT total, certainty FROM report.balance_as_of(%s, %s) WHERE asset = 'BTC'"
UNKNOWN = (
    "SELECT sum(duration) FROM report.coverage(%s, %s, %s) WHERE kind = 'balances' AND cause = %s "
    "HAVING sum(duration) > interval '0'"
)


@pytest.fixture
def main(sql: Query) -> Versions:
    """The stream of an account, 1 BTC since nine."""
    account(sql)
    sql("UPDATE ingest.heartbeat SET stopped_at = now()")
    for session, opened in (("A", "09:00:00"), ("B", "10:09:59")):
        open_session(sql, "main", session, f"2025-03-03 {opened}+00")
    version = Versions(sql, "main", "u")
    version("03 09:00:00", "A", 1, 1, "answered", BTC=("1", "0"))
    return version


def test_the_end_of_a_gap_is_known_once_it_is_stored(main: Versions, sql: Query) -> None:
    """Received at 10:10, stored at 10:20."""
    stored = "03 10:20:00"
    gap(sql, "main", "A", 9, "disconnected", "eof", "03 10:00:00", "03 10:10:00", recorded=stored)
    main("03 10:10:00", "B", 1, 2, "answered", before="03 09:59:30", recorded=stored, BTC=("2", "0"))
    main.stand("03 12:00:00")

    at, quarter_past = "2025-03-03 10:00+00", "2025-03-03 10:15+00"
    for known_at, said, unknown in (
        ("2025-03-03 10:15+00", (1, "in_gap"), timedelta(minutes=15)),
        ("2025-03-03 10:19:59+00", (1, "in_gap"), timedelta(minutes=15)),
        ("2025-03-03 10:20+00", (2, "last_known"), timedelta(minutes=10)),
        ("now", (2, "confirmed"), timedelta(minutes=10)),
    ):
        assert sql(CERTAINTY, quarter_past, known_at) == [said]
        assert sql(UNKNOWN, at, quarter_past, known_at, "disconnected") == [(unknown,)]
    # Known as open in a range that begins after its end.
    later = "2025-03-03 10:12+00", "2025-03-03 10:14+00"
    assert sql(UNKNOWN, *later, quarter_past, "disconnected") == [(timedelta(minutes=2),)]
    assert sql(UNKNOWN, *later, "now", "disconnected") == []


def test_a_gap_is_known_once_it_is_stored(main: Versions, sql: Query) -> None:
    """From 10:00 on, stored at 10:05."""
    gap(sql, "main", "A", 9, "undecodable", "not_json", "03 10:00:00", None)
    sql("UPDATE ingest.gap SET recorded_at = '2025-03-03 10:05+00'")
    main.stand("03 09:59:30")

    at, until = "2025-03-03 10:00+00", "2025-03-03 10:03+00"
    for known_at, said, unknown in (
        ("2025-03-03 10:04:59+00", "last_known", []),
        ("2025-03-03 10:05:00+00", "in_gap", [(timedelta(minutes=3),)]),
    ):
        assert sql(CERTAINTY, until, known_at) == [(1, said)]
        assert sql(UNKNOWN, at, until, known_at, "undecodable") == unknown


def test_a_contradiction_is_known_from_when_it_is_stored_until_its_end_is_stored(
    main: Versions, sql: Query
) -> None:
    """Received at 10:01 and resolved at 10:01:30; stored at 10:05 and 10:10."""
    stored = "03 10:05:00", "03 10:10:00"
    pending(sql, "main", "conflict", "u", 1, "03 10:01:00", "03 10:01:30", "refuted", recorded=stored)
    for minute in (4, 6, 9):
        request(sql, "main", "GetBalances", f"03 10:0{minute}:00", f"03 10:0{minute}:01", "answered")
    main.stand("03 12:00:00")

    for ts, known_at, said, waited in (
        ("10:01:15", "10:04:30", "confirmed", None),
        ("10:01:15", "10:06:30", "last_known", timedelta(minutes=5, seconds=30)),
        ("10:03:00", "10:04:30", "confirmed", None),
        ("10:03:00", "10:06:30", "last_known", timedelta(minutes=5, seconds=30)),
        ("10:03:00", "10:09:59", "last_known", timedelta(minutes=8, seconds=59)),
        ("10:03:00", "10:10:00", "confirmed", timedelta(seconds=30)),
        ("10:01:15", "10:10:00", "last_known", timedelta(seconds=30)),
        ("10:01:15", "12:00:00", "last_known", timedelta(seconds=30)),
    ):
        moment, known = f"2025-03-03 {ts}+00", f"2025-03-03 {known_at}+00"
        assert sql(CERTAINTY, moment, known) == [(1, said)], (ts, known_at)
        assert sql(UNKNOWN, "2025-03-03 10:00+00", known, known, "pending") == (
            [] if waited is None else [(waited,)]
        ), (ts, known_at)


def test_an_answer_confirms_once_it_is_stored(main: Versions, sql: Query) -> None:
    """That of 10:04 was stored at 10:10: the newest one, and later one of many."""
    request(sql, "main", "GetBalances", "03 09:59:59", "03 10:00:00", "answered")
    request(sql, "main", "GetBalances", "03 10:03:59", "03 10:04:00", "answered", recorded="03 10:10:00")
    main.stand("03 10:04:00")
    for confirmed_until in ("10:04", "12:00"):
        sql("UPDATE ingest.watermark SET confirmed_until = %s", f"2025-03-03 {confirmed_until}+00")
        for ts, known_at, said in (
            ("10:00", "10:05", "confirmed"),
            ("10:03", "10:05", "last_known"),
            ("10:03", "10:09:59", "last_known"),
            ("10:03", "10:10", "confirmed"),
        ):
            found = sql(CERTAINTY, f"2025-03-03 {ts}+00", f"2025-03-03 {known_at}+00")
            assert found == [(1, said)], (confirmed_until, ts, known_at)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((7, "u", "duplicate"), "confirmed"),
        (None, "confirmed"),
        # The key was changed for a while.
        ((7, "v", "duplicate"), "last_known"),
        # A push had overtaken it.
        ((7, "u", "stale"), "last_known"),
    ],
)
def test_only_an_answer_that_repeats_the_state_of_its_user_confirms_it_as_known_then(
    answer: tuple[int, str, str] | None, said: str, main: Versions, sql: Query
) -> None:
    request(sql, "main", "GetBalances", "03 10:03:59", "03 10:04:00", "answered", answer=answer)
    main.stand("03 12:00:00")

    assert sql(CERTAINTY, "2025-03-03 10:03+00", "2025-03-03 10:05+00") == [(1, said)]
    known = {(row[0], row[1]) for row in sql("SELECT answer_user_id, is_repeat FROM report.request")}
    assert known == {(None, None) if answer is None else (answer[1], answer[2] == "duplicate")}


def test_a_next_number_with_a_stamp_later_than_what_was_known_proves_nothing(
    main: Versions, sql: Query
) -> None:
    """The database's clock was set back: 2 was stored at 10:00, and received at 10:10 by its stamp."""
    main("03 10:10:00", "A", 1, 2, before="03 09:30:00", recorded="03 10:00:00", BTC=("2", "0"))
    main.stand("03 10:10:00")

    half_past = "2025-03-03 09:50+00"
    for known_at, said, unknown in (
        ("2025-03-03 10:05+00", (1, "last_known"), [(timedelta(minutes=35),)]),
        ("2025-03-03 10:15+00", (1, "confirmed"), []),
    ):
        assert sql(CERTAINTY, half_past, known_at) == [said]
        assert sql(UNKNOWN, "2025-03-03 09:00+00", "2025-03-03 10:10+00", known_at, "unconfirmed") == unknown


def test_another_content_contradicts_once_it_is_stored(main: Versions, sql: Query) -> None:
    main("03 09:00:10", "A", 1, 1, revision=1, before="03 09:00:00", recorded="03 09:20:00", BTC=("2", "0"))
    main.stand("03 12:00:00")

    at = "2025-03-03 09:00:00+00"
    assert sql(CERTAINTY, at, "2025-03-03 09:19:59+00") == [(1, "confirmed")]
    assert sql(CERTAINTY, at, "2025-03-03 09:20:00+00") == [(1, "last_known")]


def test_of_what_lies_after_the_knowledge_nothing_is_said(story: Query) -> None:
    """R5: as-of in the future answered without a word."""
    future = "SELECT DISTINCT total, observed_at, certainty FROM report.balance_as_of(%s, %s)"
    assert story(future, "2100-01-01+00", "2099-01-01+00") == [(None, None, None)]
    assert story(future, "2025-03-05+00", "2025-03-04+00") == [(None, None, None)]


def test_a_stamp_later_than_now_is_no_evidence(story: Query) -> None:
    """R4: a clock that was ahead."""
    story("UPDATE ingest.watermark SET confirmed_until = now() + interval '1 hour'")
    assert story("SELECT DISTINCT certainty FROM report.balance_as_of(now()) WHERE account = 'polled'") == [
        ("last_known",)
    ]


def test_the_history_of_an_asset(story: Query) -> None:
    assert story(
        "SELECT to_char(valid_from, 'DD HH24:MI'), to_char(confirmed_until, 'DD HH24:MI:SS'), total, "
        "total_change, certainty, reported FROM report.balance_history "
        "WHERE account = 'main' AND asset = 'EUR' ORDER BY valid_from"
    ) == [
        ("03 09:00", "03 10:59:00", 1000, None, "last_known", True),
        ("03 11:00", "03 11:59:40", 900, -100, "last_known", True),
        ("03 15:30", "03 16:59:30", 0, -900, "in_gap", False),
    ]


def test_the_history_reads_no_more_than_it_shows(story: Query) -> None:
    """No window function: a filter on account, asset and time reaches the key."""
    plan = "\n".join(
        row[0]
        for row in story(
            "EXPLAIN SELECT * FROM report.balance_history WHERE account = 'main' AND user_id = 'u' "
            "AND asset = 'BTC' AND valid_from > '2025-03-05' ORDER BY valid_from DESC LIMIT 20"
        )
    )
    assert "WindowAgg" not in plan


def test_the_balance_of_several_moments(story: Query) -> None:
    assert story(
        "SELECT to_char(as_of, 'DD HH24:MI'), total, certainty FROM report.balance_at_each("
        "ARRAY['2025-03-03 12:00:05+00', '2025-03-03 09:30+00']::timestamptz[]) "
        "WHERE account = 'main' AND asset = 'BTC' ORDER BY as_of"
    ) == [("03 09:30", 10, "confirmed"), ("03 12:00", Decimal("12.5"), "in_gap")]


def test_days_end_at_local_midnight_also_where_they_have_23_hours(story: Query) -> None:
    eod = (
        "SELECT day::text, to_char(as_of, 'DD HH24:MI'), total FROM "
        "report.balance_eod('2025-03-29', '2025-03-30', %s) "
        "WHERE account = 'main' AND asset = 'BTC' ORDER BY day"
    )
    assert story(eod, "Europe/Rome") == [
        ("2025-03-29", "29 23:00", 7),
        ("2025-03-30", "30 22:00", 9),  # at that very midnight
    ]
    assert story(eod, "America/New_York") == [
        ("2025-03-29", "30 04:00", 8),
        ("2025-03-30", "31 04:00", 9),
    ]


def test_a_day_that_has_not_ended_has_no_row(story: Query) -> None:
    eod = "SELECT DISTINCT day::text FROM report.balance_eod('2025-03-29', '2025-03-31', 'UTC', %s)"
    assert story(eod, "2025-03-31 10:00+00") == [("2025-03-29",), ("2025-03-30",)]


def test_buckets_have_no_holes_and_mark_what_is_carried(story: Query) -> None:
    bucket = (
        "SELECT to_char(bucket_from, 'DD HH24:MI'), to_char(as_of, 'DD HH24:MI'), total, is_carried FROM "
        "report.balance_bucket(%s, %s, %s::interval, %s) WHERE account = 'main' AND asset = 'BTC' ORDER BY 1"
    )
    assert story(bucket, "2025-03-03 13:00+00", "2025-03-03 15:30+00", "1 hour", "UTC") == [
        ("03 13:00", "03 14:00", 99, False),
        ("03 14:00", "03 15:00", Decimal("12.5"), False),
        ("03 15:00", "03 15:30", Decimal("12.5"), True),
    ]
    days = story(
        bucket, "2025-03-29 00:00 Europe/Rome", "2025-04-01 00:00 Europe/Rome", "1 day", "Europe/Rome"
    )
    assert [row[:3] for row in days] == [
        ("28 23:00", "29 23:00", 7),
        ("29 23:00", "30 22:00", 9),
        ("30 22:00", "31 22:00", 9),
    ]
    # An hour is an hour on the day on which New York's clocks go forward.
    night = story(bucket, "2025-03-09 05:00+00", "2025-03-09 08:00+00", "1 hour", "America/New_York")
    assert [row[0] for row in night] == ["09 05:00", "09 06:00", "09 07:00"]


def test_what_changed_between_two_moments(story: Query) -> None:
    assert story(
        "SELECT asset, total_before, total, total_change, certainty_before, certainty FROM "
        "report.balance_change('2025-03-03 09:30+00', '2025-03-03 12:00:05+00') "
        "WHERE account = 'main' ORDER BY 1"
    ) == [
        ("BTC", 10, Decimal("12.5"), Decimal("2.5"), "confirmed", "in_gap"),
        ("EUR", 1000, 900, -100, "confirmed", "in_gap"),
    ]


def test_the_largest_movements_of_a_range(story: Query) -> None:
    assert story(
        "SELECT asset, to_char(observed_at, 'HH24:MI'), total_change FROM "
        "report.balance_movements('2025-03-03 09:30+00', '2025-03-04+00') WHERE account = 'main' "
        "ORDER BY movement DESC, observed_at LIMIT 3"
    ) == [("EUR", "15:30", -900), ("EUR", "11:00", -100), ("BTC", "14:00", Decimal("86.5"))]


def test_the_exposure_of_a_moment(story: Query) -> None:
    of_asset = (
        "SELECT current_exposure, max_exposure, base_currency, certainty FROM report.exposure_as_of(%s) "
        "WHERE account = 'main' AND asset = 'BTC'"
    )
    total = (
        "SELECT total_current_exposure, total_max_exposure, base_currency, certainty FROM "
        "report.exposure_total_as_of(%s) WHERE account = 'main'"
    )
    for question in (of_asset, total):
        assert story(question, "2025-03-03 08:00+00") == [(None, None, None, "before_first")]
        assert story(question, "2025-03-03 09:00:01+00") == [(5, 100, "EUR", "confirmed")]
        assert story(question, "2025-03-03 10:00:00+00") == [(5, 100, "EUR", "last_known")]
        assert story(question, "2025-03-03 12:00:05+00") == [(6, 100, "EUR", "in_gap")]
    assert story("SELECT observed_at, valid_to FROM report.exposure_history ORDER BY 1")[0][1] is not None


def test_the_currency_of_an_exposure_is_that_of_the_moment(story: Query) -> None:
    """The hub tells the same figure in another currency: the figure has no row of its own then."""
    event = {"session_id": ("gen_random_uuid()",), "ordinal": 20, "position": 0}
    at = {"observed_at": "2025-03-03 11:00+00", "recorded_at": "2025-03-03 11:05+00"}
    owner = {"account": "main", "user_id": "u"}
    insert(story, "exposure_total", **owner, **at, **event, base_currency="USD")
    said = "SELECT current_exposure, base_currency FROM report.exposure_as_of(%s, %s) WHERE asset = 'BTC'"

    for ts, known_at, currency in (
        ("10:59", "now", "EUR"),
        ("11:00", "now", "USD"),
        ("11:00", "2025-03-03 11:04+00", "EUR"),
    ):
        assert story(said, f"2025-03-03 {ts}+00", known_at) == [(6, currency)]


def test_a_number_that_is_contradicted_before_it_was_confirmed_is_never_certain(sql: Query) -> None:
    account(sql)
    sql("UPDATE ingest.heartbeat SET stopped_at = now()")
    version = Versions(sql, "main", "u")
    version("03 09:00:00", "A", 1, 1, BTC=("1", "0"))
    version("03 09:00:10", "A", 1, 1, revision=1, before="03 09:00:00", BTC=("2", "0"))
    version.stand("03 09:00:20")
    said = "SELECT total, certainty FROM report.balance_as_of(%s)"
    assert sql(said, "2025-03-03 09:00:00+00") == [(1, "last_known")]
    assert sql(said, "2025-03-03 09:00:10+00") == [(2, "confirmed")]
