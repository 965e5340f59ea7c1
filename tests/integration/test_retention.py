"""What is removed by age, and that no report of a moment that is kept says anything else afterwards."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from ingestor.adapters.postgres.loading import load_state
from ingestor.adapters.postgres.retention_rules import TARGETS
from ingestor.app.retention import prune
from ingestor.config import load
from ingestor.pipeline.state import State
from tests.support.daemon import command, command_on_terminal, surroundings
from tests.support.documents import document_of
from tests.support.partitions import partitioned_since_2025
from tests.support.postgres import libpq_url
from tests.support.rows import Query, insert
from tests.support.story import SESSIONS, tell

pytestmark = pytest.mark.slow

CUTS = [
    datetime(2025, 3, 3, 11, 30, tzinfo=UTC),
    datetime(2025, 3, 3, 17, 0, 2, tzinfo=UTC),
    datetime(2025, 3, 10, 12, 5, tzinfo=UTC),  # a version from before it was stored after it
    datetime(2025, 3, 30, 12, tzinfo=UTC),
]
SETTINGS = ("duplicates_days", "records_days", "requests_days", "history_days")


@pytest.fixture(params=["whole", "in_months"], autouse=True)
def layout(request: pytest.FixtureRequest, sql: Query, database: str) -> None:
    """All of this holds for tables in partitions too."""
    if request.param == "in_months":
        partitioned_since_2025(sql, database)


def pruned(url: str, account: str, *, dry_run: bool = False, **days: Any) -> dict[str, int]:
    settings = load(None, {"database.url": url, "account": account}, {}).settings
    retention = replace(settings.retention, **days)
    _, tables = prune(replace(settings, retention=retention), dry_run=dry_run)
    return tables


def loaded(url: str, account: str) -> State:
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        return load_state(connection, account)[0]


def days_to(cut: datetime) -> int:
    """Whole days, at the end of which the cut lies at or after this moment, by less than one."""
    return (datetime.now(UTC) - cut) // timedelta(days=1)


def told(sql: Query, account: str, moments: list[datetime]) -> list[object]:
    """What the reports say of each moment, as known at each later one and now."""
    said: list[object] = [
        sql("SELECT * FROM report.balance_current WHERE account = %s ORDER BY 1, 2, 3", account),
        sql("SELECT * FROM report.pair_current WHERE account = %s ORDER BY 1, 2, 3", account),
    ]
    for moment, known in product(moments, moments):
        if known >= moment:
            said += [
                sql(
                    f"SELECT * FROM report.{name}(%s, %s) WHERE account = %s ORDER BY 1, 2, 3",
                    moment,
                    known,
                    account,
                )
                for name in ("balance_as_of", "exposure_as_of", "exposure_total_as_of", "pair_as_of")
            ]
    return said


@pytest.mark.parametrize("cut", CUTS, ids=str)
@pytest.mark.parametrize("account", ["main", "polled"])
def test_no_report_of_a_moment_that_is_kept_changes(
    sql: Query, database: str, account: str, cut: datetime
) -> None:
    tell(sql)
    sql("SET timezone = 'UTC'")
    days: dict[str, Any] = dict.fromkeys(SETTINGS, days_to(cut))
    reached = datetime.now(UTC) - timedelta(days=days_to(cut))
    moments = [reached + timedelta(hours=step) for step in (0.02, 1, 30, 200, 700)] + [datetime.now(UTC)]
    before, resumed_from = told(sql, account, moments), loaded(database, account)

    planned = pruned(database, account, dry_run=True, **days)
    assert told(sql, account, moments) == before
    assert pruned(database, account, **days) == planned
    assert told(sql, account, moments) == before
    assert loaded(database, account) == resumed_from, "what a restart goes on from"
    assert sql("SELECT * FROM report.unaccounted") == []
    assert not any(pruned(database, account, **days).values())
    if cut == CUTS[-1] and account == "main":
        assert planned["outcome"] > 10
        assert planned["balance"] > 3


def test_of_moments_before_the_cut_nothing_is_said(sql: Query, database: str) -> None:
    """Versions are missing there, so that what is left would be called confirmed for too long."""
    tell(sql)
    cut = datetime.now(UTC) - timedelta(days=days_to(CUTS[2]))
    before = (
        "SELECT cause, duration FROM report.coverage(%s, %s) WHERE account = 'main' AND kind = 'balances'"
    )
    asked = cut - timedelta(days=1), cut + timedelta(days=1)
    after = sql(before, cut, asked[1])
    assert sql("SELECT history_from FROM report.account WHERE account = 'main'") == [(None,)]
    pruned(database, "main", dry_run=True, history_days=days_to(CUTS[2]))
    assert sql("SELECT history_from FROM report.account WHERE account = 'main'") == [(None,)]

    pruned(database, "main", history_days=days_to(CUTS[2]))
    ((begins, other),) = sql(
        "SELECT max(history_from), count(*) FILTER (WHERE history_from IS NULL) FROM report.account"
    )
    assert timedelta(0) <= begins - cut < timedelta(minutes=1)
    assert other == 1
    said = sql(
        "SELECT DISTINCT certainty, total, observed_at FROM report.balance_as_of(%s) WHERE account = 'main'",
        asked[0],
    )
    assert said == [("before_first", None, None)]
    found: dict[str, timedelta] = dict(sql(before, *asked))
    assert found.pop("before_first") == begins - asked[0]
    assert sum(found.values(), timedelta(0)) == asked[1] - begins
    assert found.keys() == dict(after).keys()
    # The oldest amounts are known at their receipt only: what followed them is not stored.
    oldest = sql(
        "SELECT valid_from < %s, confirmed_until = valid_from FROM report.balance_history "
        "WHERE account = 'main' AND asset = 'EUR' ORDER BY valid_from LIMIT 1",
        begins,
    )
    assert oldest == [(True, True)]
    pruned(database, "main", history_days=days_to(CUTS[0]))
    assert sql("SELECT history_from FROM report.account WHERE account = 'main'") == [(begins,)]


def record(
    sql: Query,
    ordinal: int,
    received: str,
    outcome: str | None,
    base: int | None = None,
    account: str = "main",
) -> None:
    insert(
        sql,
        "raw_event",
        account=account,
        session_id=SESSIONS["D"],
        ordinal=ordinal,
        received_at=received,
        size=1,
        raw=b"x",
        base_ordinal=base,
        head=base and 0,
    )
    if outcome:
        insert(
            sql,
            "outcome",
            account=account,
            session_id=SESSIONS["D"],
            ordinal=ordinal,
            position=0,
            received_at=received,
            outcome=outcome,
        )


def test_duplicates_go_first_and_what_others_refer_to_stays(sql: Query, database: str) -> None:
    tell(sql)
    old, new = "2025-04-01 00:00+00", datetime.now(UTC).isoformat()
    record(sql, 1001, old, "applied")
    record(sql, 1002, old, None, 1001)
    record(sql, 1003, old, "duplicate")
    record(sql, 1004, old, "duplicate")
    record(sql, 1005, new, None, 1004)
    record(sql, 1006, old, "quarantined")
    insert(
        sql,
        "dead_letter",
        account="main",
        session_id=SESSIONS["D"],
        ordinal=1006,
        position=0,
        received_at=old,
        stage="decode",
        reason="r",
        detail="d",
        software_version="1",
        occurrences=1,
        last_received_at=old,
    )
    left = "SELECT ordinal FROM ingest.raw_event WHERE ordinal > 1000 ORDER BY 1"

    assert pruned(database, "main") == {}
    assert pruned(database, "main", duplicates_days=30) == {"raw_event": 2, "outcome": 1}
    assert sql(left) == [(1001,), (1004,), (1005,), (1006,)]
    assert pruned(database, "polled", records_days=30)["raw_event"] == 0
    pruned(database, "main", records_days=30)
    assert sql(left) == [(1004,), (1005,), (1006,)]
    orphans = (
        "SELECT 1 FROM ingest.outcome AS o "
        "WHERE o.ordinal > 1000 "
        "AND NOT EXISTS (SELECT FROM ingest.raw_event AS r WHERE r.ordinal = o.ordinal)"
    )
    assert sql(orphans) == []


def test_an_answer_that_confirmed_nothing_stays_as_long_as_its_request(sql: Query, database: str) -> None:
    """Of an answer that is gone, the reports assume that it repeated the state."""
    tell(sql)
    at = "2025-04-01 00:00+00"
    for ordinal, outcome in ((1001, "stale"), (1002, "duplicate")):
        record(sql, ordinal, at, outcome)
        request(sql, at, "answered", ordinal)
    last = "2025-04-02 00:00+00"
    record(sql, 1003, last, "stale")
    request(sql, last, "answered", 1003)
    left = "SELECT ordinal FROM ingest.raw_event WHERE ordinal > 1000 ORDER BY 1"

    pruned(database, "main", records_days=30)
    assert sql(left) == [(1001,), (1003,)]
    pruned(database, "main", records_days=30, requests_days=30)
    assert sql(left) == [(1003,)], "the last answered request stays"


def test_a_version_stays_as_long_as_its_record(sql: Query, database: str) -> None:
    """Else that record, and those that refer to it, would have no outcome."""
    tell(sql)
    (first,) = sql(
        "SELECT session_id, ordinal, received_at FROM ingest.version AS v "
        "WHERE account = 'main' AND user_id = 'u' AND origin = 'answered' AND NOT EXISTS ("
        "SELECT FROM ingest.balance AS b WHERE b.account = 'main' AND b.valid_from = v.valid_from) "
        "ORDER BY valid_from LIMIT 1"
    )
    place = dict(zip(("session_id", "ordinal", "received_at"), first, strict=True))
    insert(sql, "raw_event", account="main", **place, size=1, raw=b"x")
    still = "SELECT outcome FROM ingest.event_outcome WHERE (session_id, ordinal, received_at) = (%s, %s, %s)"

    pruned(database, "main", history_days=2)
    assert sql(still, *first) == [("applied",)]
    pruned(database, "main", history_days=2, records_days=2)
    assert sql(still, *first) == []


def request(sql: Query, at: str, outcome: str | None, ordinal: int | None = None) -> None:
    insert(
        sql,
        "request",
        account="main",
        request_id=uuid4(),
        requested_at=at,
        command="GetBalances",
        cause="scheduled",
        attempt=1,
        argument_form="positional",
        session_id=SESSIONS["D"],
        outcome=outcome,
        ended_at=at if outcome else None,
        end_recorded_at=at,
        answer_ordinal=ordinal,
    )


def test_the_last_answer_and_open_requests_stay(sql: Query, database: str) -> None:
    tell(sql)
    sql("DELETE FROM ingest.request")
    for hour, outcome in enumerate(("answered", "answered", "timed_out", None)):
        request(sql, f"2025-04-01 0{hour}:00+00", outcome)
    late = "UPDATE ingest.request SET end_recorded_at = now() WHERE outcome = 'timed_out'"
    sql(late)
    assert pruned(database, "main", requests_days=30) == {"request": 1}, "as known at the cut, it was open"
    sql(late.replace("now()", "ended_at"))
    assert pruned(database, "main", requests_days=30) == {"request": 1}
    assert sql("SELECT outcome FROM ingest.request ORDER BY requested_at") == [("answered",), (None,)]


def test_the_command_tells_what_would_go(sql: Query, database: str) -> None:
    tell(sql)
    env = surroundings() | {"INGESTOR_DATABASE__URL": database, "INGESTOR_ACCOUNT": "main"}
    options = ("--set", "retention.history_days=2", "--json")
    planned = document_of("db prune", command("db", "prune", "--dry-run", *options, env=env).stdout)
    gone = document_of("db prune", command("db", "prune", "--yes", *options, env=env).stdout)
    assert (planned["dry_run"], gone["dry_run"]) == (True, False)
    assert [name for name, cut in gone["cuts"].items() if cut] == ["history_days"]
    assert planned["rows"] == gone["rows"]
    assert gone["rows"]["outcome"] > 0
    assert set(gone["rows"]) <= {each.table for each in TARGETS}


def test_asked_on_a_terminal_standard_output_is_the_document_alone(sql: Query, database: str) -> None:
    tell(sql)
    env = surroundings() | {"INGESTOR_ACCOUNT": "main", "INGESTOR_DATABASE__URL": database}
    line = ("db", "prune", "--set", "retention.history_days=30", "--json")
    asked = command_on_terminal(*line, typed="y", env=env)
    assert asked.returncode == 0, asked.stderr
    assert "would be removed" in asked.stderr
    assert "Remove them?" in asked.stderr
    assert document_of("db prune", asked.stdout)["rows"]


def test_an_empty_table_has_no_oldest_row_and_does_not_grow(database: str) -> None:
    env = surroundings() | {"INGESTOR_DATABASE__URL": database}
    none = {"rows": 0, "oldest": None, "bytes_a_day": 0}
    for each in document_of("db size", command("db", "size", "--json", env=env).stdout):
        assert each == each | none


def test_the_sizes_of_the_tables_that_grow(sql: Query, database: str) -> None:
    tell(sql)
    env = surroundings() | {"INGESTOR_DATABASE__URL": database}
    printed = command("db", "size", "--json", env=env).stdout
    found = {each["table"]: each for each in document_of("db size", printed)}
    assert set(found) == {each.table for each in TARGETS}
    ((rows, oldest, in_table),) = sql(
        "SELECT count(*), min(received_at), pg_table_size('ingest.outcome') FROM ingest.outcome"
    )
    assert (found["outcome"]["rows"], found["outcome"]["table_bytes"]) == (rows, in_table)
    assert datetime.fromisoformat(found["outcome"]["oldest"]) == oldest
    assert 0 < found["outcome"]["bytes_a_day"] < in_table + found["outcome"]["index_bytes"]
    assert found["request"]["rows"] == sql("SELECT count(*) FROM ingest.request")[0][0]
    assert "outcome" in command("db", "size", env=env).stdout
