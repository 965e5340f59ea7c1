"""Whichever way a record is stored, a reader sees its bytes as they were received, and what became of it.

Invariants I1, I3, I8.
"""

import random
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from msgspec.structs import astuple

from ingestor.adapters.postgres.totals import account_totals
from ingestor.domain.records import Record
from ingestor.pipeline.rows import RawEventRow
from tests.benchmarks.check import ContentDiffers, check_daemon
from tests.benchmarks.load import Tally
from tests.properties.test_apply_properties import Anything, cut
from tests.support.batches import make_store
from tests.support.fake_store import FakeStore
from tests.support.postgres import libpq_url
from tests.support.rows import NOW, Query, insert

ACTIONS = ["push", "answer", "answer", "late", "pairs", "list", "list", "broken", "many"]


def test_readers_see_every_byte_and_every_outcome(database: str, sql: Query) -> None:
    """Batches of all sizes, so the rows travel as JSON and by COPY; few numbers, so much is said again."""
    rng = random.Random(11)
    made = Anything()
    made.reconnect()
    for _ in range(2_000):
        action = "reconnect" if rng.random() < 0.005 else rng.choice(ACTIONS)
        user, later = rng.choice(["user-1", "user-2"]), rng.choice([0.0, 1.0, 60.0])
        made.act(action, rng.choice([1, 1, 1, 2, 3]), user, later)
    items, feed = made.items, made.feed
    batches = [feed.apply(*some) for some in (*cut(items[:200], rng), items[200:1500], items[1500:])]
    fake, real = FakeStore(), make_store(database)
    real.open()
    for batch in batches:
        fake.write(batch)
        real.write(batch)
    real.close()
    refers = [row for row in fake.rows(RawEventRow) if row.base_ordinal is not None]
    sent = {(item.session, item.ordinal): item.raw for item in items if isinstance(item, Record)}

    assert len(refers) > 300, "nothing was repeated"
    assert len([row for row in refers if row.request_id is not None]) > 200
    found = sql("SELECT session_id, ordinal, received_at, size, sha256, raw FROM ingest.record ORDER BY 1, 2")
    assert {(session, ordinal): raw for session, ordinal, _, _, _, raw in found} == sent
    assert [(*row[:5],) for row in found] == [
        (row.session_id, row.ordinal, row.received_at, row.size, row.sha256)
        for row in sorted(fake.rows(RawEventRow), key=lambda row: (row.session_id, row.ordinal))
    ]
    outcomes = sql(
        "SELECT session_id, ordinal, position, received_at, outcome, reason, subject, request_id, kind, "
        "user_id, epoch, sequence, revision FROM ingest.event_outcome"
    )
    assert by_place(outcomes) == by_place([astuple(row)[:13] for row in fake.outcomes()])
    with psycopg.connect(libpq_url(database)) as connection:
        totals = account_totals(connection, "main")
    assert totals.events_without_outcome == 0
    assert totals.committed == len(sent)
    assert sum(totals.outcomes.values()) == len(outcomes)
    assert sql("SELECT * FROM report.unaccounted") == []


def by_place(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=lambda row: row[:3])


def test_one_record_is_read_through_the_keys_of_both_rows(sql: Query) -> None:
    """However many there are: an auditor asks for one."""
    sql(
        "INSERT INTO ingest.raw_event (account, session_id, ordinal, received_at, size, raw) "
        "SELECT 'main', gen_random_uuid(), n, now(), 1, '' FROM generate_series(1, 20000) AS n"
    )
    sql("ANALYZE ingest.raw_event")
    for view in ("record", "event_outcome"):
        plan = sql(
            f"EXPLAIN SELECT * FROM ingest.{view} WHERE account = 'main' "
            "AND session_id = '00000000-0000-7000-8000-000000000001' AND ordinal = 7"
        )
        assert not [line for (line,) in plan if "Seq Scan" in line and "raw_event" in line], plan


REPEATS = 20_000


def test_repeats_are_counted_before_the_tables_have_been_analysed(database: str, sql: Query) -> None:
    """Without statistics the planner takes the tables to be almost empty. Comparing each record with each
    outcome would take twice the limit here, and a minute for 50,000 records."""
    session = "00000000-0000-7000-8000-000000000001"
    sql(
        "INSERT INTO ingest.session (account, session_id, opened_at, url, attempts, connection_errors, "
        "software_version, committed_ordinal, committed_records, dropped_records) "
        "VALUES ('main', %s, now(), 'wss://hub', 1, '{}', '1', %s, %s, 0)",
        session,
        REPEATS + 1,
        REPEATS + 1,
    )
    place = {"account": "main", "session_id": session, "ordinal": 1, "received_at": NOW}
    insert(sql, "raw_event", **place, size=5, raw=b"whole")
    insert(sql, "outcome", **place, position=0, outcome="applied", kind="balances")
    sql(
        "INSERT INTO ingest.raw_event "
        "(account, session_id, ordinal, received_at, size, raw, base_ordinal, head) "
        "SELECT 'main', %s, n + 1, now(), 5, '', 1, 5 FROM generate_series(1, %s) AS n",
        session,
        REPEATS,
    )
    with psycopg.connect(libpq_url(database)) as connection:
        connection.execute("SET statement_timeout = '5s'")
        totals = account_totals(connection, "main")
        assert (totals.outcomes, totals.events_without_outcome) == ({"applied": 1, "duplicate": REPEATS}, 0)
        with pytest.raises(ContentDiffers, match=f"duplicates: expected 0, found {REPEATS}") as differs:
            check_daemon(connection, Tally(), datetime(2020, 1, 1, tzinfo=UTC))
        assert "unaccounted" not in str(differs.value)

        connection.execute("DELETE FROM ingest.outcome")
        assert account_totals(connection, "main").events_without_outcome == REPEATS + 1
        with pytest.raises(ContentDiffers, match=f"unaccounted: expected 0, found {REPEATS + 1}"):
            check_daemon(connection, Tally(), datetime(2020, 1, 1, tzinfo=UTC))
