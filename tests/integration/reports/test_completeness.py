"""For how long the state was known, and why not for the rest: golden rows over the frozen story."""

from datetime import timedelta

from tests.support.rows import NOW, Query, account, ago, insert, stream

COVERAGE = (
    "SELECT cause, duration FROM report.coverage(%s, %s) WHERE kind = %s AND user_id = %s ORDER BY cause"
)


def span(hours: int = 0, minutes: int = 0, seconds: int = 0) -> timedelta:
    return timedelta(hours=hours, minutes=minutes, seconds=seconds)


def test_the_day_of_trouble(story: Query) -> None:
    """Each interval to its proof, each moment once, and what is known in hindsight is known."""
    assert story(COVERAGE, "2025-03-03+00", "2025-03-04+00", "balances", "u") == [
        ("before_first", span(9, 0, 1)),
        ("disconnected", span(0, 5, 14)),
        ("known", span(14, 52, 5)),
        ("pending", span(0, 0, 10)),
        ("unconfirmed", span(0, 2, 30)),
    ]
    assert story(COVERAGE, "2025-03-03+00", "2025-03-04+00", "pairs", "") == [
        ("before_first", span(9, 0, 1)),
        ("known", span(14, 49, 59)),
        ("unconfirmed", span(0, 10)),
    ]


def test_the_vendors_maintenance_counts_apart(story: Query) -> None:
    wednesday = "2025-03-05+00", "2025-03-06+00", "balances", "u"
    assert story(COVERAGE, *wednesday) == [
        ("disconnected", span(0, 20)),
        ("known", span(22, 49, 30)),
        ("maintenance", span(0, 50, 30)),
    ]
    story("DELETE FROM report.maintenance_window")
    assert story(COVERAGE, *wednesday) == [
        ("disconnected", span(1, 10)),
        ("known", span(22, 49, 30)),
        ("unconfirmed", span(0, 0, 30)),
    ]


def test_a_window_of_maintenance_on_the_night_on_which_clocks_go_forward(story: Query) -> None:
    """In Rome there is no half past two on that night, and a quarter past three comes before it."""
    sunday = "2025-03-30+00", "2025-03-31+00", "pairs", ""
    without = story(COVERAGE, *sunday)
    story("INSERT INTO report.maintenance_window VALUES (7, '02:30', '03:15', 'Europe/Rome')")
    assert story(COVERAGE, *sunday) == without


def test_a_polled_hub_and_a_key_that_was_changed(story: Query) -> None:
    day = "2025-03-04+00", "2025-03-05+00", "balances"
    assert story(COVERAGE, *day, "p2") == [
        ("before_first", span(0, 5)),
        ("known", span(23, 54)),
        ("unconfirmed", span(0, 1)),
    ]
    assert story(COVERAGE, *day, "p1") == [("former_user", span(24)), ("known", span())]


def test_local_days_have_the_hours_that_they_have(story: Query) -> None:
    daily = (
        "SELECT day::text, sum(duration), sum(duration) FILTER (WHERE cause = 'stopped'), "
        "round(sum(share), 6) "
        "FROM report.coverage_daily(%s, %s, %s) WHERE kind = 'balances' AND user_id = 'u' "
        "GROUP BY day ORDER BY day"
    )
    assert story(daily, "2025-03-30", "2025-03-31", "Europe/Rome") == [
        ("2025-03-30", span(23), None, 1),
        ("2025-03-31", span(24), span(10), 1),
    ]
    assert story(daily, "2025-03-09", "2025-03-09", "America/New_York") == [("2025-03-09", span(23), None, 1)]


def test_a_range_that_has_not_ended_is_counted_up_to_now(story: Query) -> None:
    assert story(
        "SELECT sum(duration) FROM report.coverage('2025-03-03 23:00+00', '2025-03-09+00', '2025-03-04+00') "
        "WHERE user_id = 'u'"
    ) == [(span(1),)]
    assert story("SELECT * FROM report.coverage(now() + interval '1 day', now() + interval '2 days')") == []


def test_a_process_that_died_counts_from_its_last_heartbeat_on(sql: Query) -> None:
    """R2: after SIGKILL nothing is booked until someone starts it again."""
    account(sql)
    stream(sql, age="11 minutes")
    stream(sql, "", kind="pairs", age="1 second")
    insert(
        sql,
        "outcome",
        outcome="applied",
        account="main",
        kind="balances",
        user_id="u",
        valid_from=ago("1 year"),
        epoch=1,
        sequence=1,
        revision=0,
        session_id=("gen_random_uuid()",),
        ordinal=1,
        position=0,
        received_at=NOW,
        deleted=False,
        origin="answered",
        passed_over=0,
        recorded_at=ago("1 year"),
    )
    sql("UPDATE ingest.heartbeat SET heartbeat_at = now() - interval '10 minutes'")
    sql("DELETE FROM report.maintenance_window")
    assert sql(
        "SELECT cause, round(extract(epoch FROM duration) / 60)::int "
        "FROM report.coverage(now() - interval '1 hour', now()) WHERE kind = 'balances' ORDER BY 1"
    ) == [("known", 49), ("unclean_end", 10), ("unconfirmed", 1)]
    certain = sql("SELECT certainty FROM report.balance_as_of(now() - interval '5 minutes')")
    assert certain == [("in_gap",)]
    assert sql("SELECT gap_kind, cause FROM report.gap_interval WHERE kind = 'balances'") == [
        ("unclean_end", "no_heartbeat")
    ]
    silent = "SELECT kind, certainty FROM report.stream ORDER BY kind"
    assert sql(silent) == [("balances", "in_gap"), ("pairs", "in_gap")]
    assert sql("SELECT certainty FROM report.balance_current") == [("in_gap",)]
    sql("UPDATE ingest.heartbeat SET stopped_at = heartbeat_at")
    assert sql(silent) == [("balances", "last_known"), ("pairs", "confirmed")]
    assert sql("SELECT * FROM report.gap_interval") == []


def test_gaps_that_overlap_are_one_blind_interval(story: Query) -> None:
    assert story(
        "SELECT to_char(blind_from, 'DD HH24:MI:SS'), to_char(blind_until, 'DD HH24:MI:SS') "
        "FROM report.blind_interval WHERE kind = 'balances' AND user_id = 'u' ORDER BY 1"
    ) == [
        ("03 08:59:00", "03 09:00:01"),
        ("03 12:00:00", "03 12:00:14"),
        ("03 13:00:00", "03 13:10:00"),
        ("05 09:10:00", "05 10:20:00"),
        ("31 12:00:00", None),
    ]


def test_the_latency_of_the_vendor_by_local_day(story: Query) -> None:
    assert story(
        "SELECT day::text, account, command, requests, answered, unanswered, median_ms, max_ms "
        "FROM report.vendor_latency_daily('2025-03-01', '2025-03-31', 'Europe/Rome')"
    ) == [("2025-03-04", "polled", "GetBalances", 4, 3, 1, 1000, 1000)]


def test_dead_letters_by_reason(sql: Query) -> None:
    account(sql)
    for ordinal, reason in enumerate(("not_json", "not_json", "too_deep")):
        insert(
            sql,
            "dead_letter",
            account="main",
            session_id=("gen_random_uuid()",),
            ordinal=ordinal,
            position=0,
            received_at=NOW,
            stage="decode",
            reason=reason,
            detail=str(ordinal),
            software_version="1",
            occurrences=2,
            last_received_at=ago(f"{9 - ordinal} seconds"),
        )
    assert sql(
        "SELECT reason, dead_letters, occurrences, newest_detail FROM report.dead_letter_summary ORDER BY 1"
    ) == [("not_json", 2, 4, "1"), ("too_deep", 1, 2, "2")]


def test_a_healthy_database_has_no_problem(story: Query) -> None:
    assert story("SELECT * FROM report.data_quality") == []


def test_each_problem_is_named(story: Query) -> None:
    def problems() -> list[str]:
        return [problem for (problem,) in story("SELECT problem FROM report.data_quality ORDER BY problem")]

    story("UPDATE ingest.heartbeat SET stopped_at = NULL")
    assert problems() == ["gap_open", *["process_silent"] * 2, *["stale"] * 3]
    story("UPDATE ingest.heartbeat SET heartbeat_at = now()")
    story("UPDATE ingest.watermark SET confirmed_until = now() + interval '1 hour' WHERE account = 'main'")
    assert problems() == ["gap_open", "stale", "time_in_the_future", "time_in_the_future"]
    story("UPDATE ingest.watermark SET confirmed_until = now(), deleted = true")
    story("UPDATE ingest.confirmation SET resolution = NULL WHERE reason = 'conflict'")
    assert problems() == [
        "confirmation_pending",
        "gap_open",
        *["record_deleted"] * 4,
        "several_users",
    ]
    story("UPDATE ingest.heartbeat SET stopped_at = now() - interval '1 hour' WHERE account = 'main'")
    story("UPDATE ingest.watermark SET sequence = sequence + 1, deleted = false WHERE user_id = 'p2'")
    assert "process_stopped" in problems()
    assert "watermark_without_version" in problems()
    story("UPDATE ingest.session SET committed_ordinal = 5")
    assert problems().count("records_unaccounted") == 5


def test_the_size_of_each_table(story: Query) -> None:
    sizes = story('SELECT "table", total_bytes >= table_bytes + index_bytes FROM report.size ORDER BY 1')
    assert ("balance", True) in sizes
    assert len(sizes) == 18


def test_a_clock_that_stepped(story: Query) -> None:
    assert story("SELECT account, clock, step_seconds FROM report.clock_step") == [("main", "host", -3600)]
