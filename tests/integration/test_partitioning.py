"""`ingestor db partition`: records in partitions by month, and nothing that reads or writes them notices."""

import re
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from ingestor.adapters.postgres import pruning
from ingestor.app.partitioning import partition_tables, partitioning_plan
from ingestor.app.retention import prune, sizes
from ingestor.config import Settings, load
from ingestor.domain.errors import BadConfiguration
from tests.integration.test_retention import pruned, record
from tests.support.daemon import command, surroundings
from tests.support.partitions import partitioned_since_2025
from tests.support.postgres import libpq_url
from tests.support.rows import Query
from tests.support.story import tell

pytestmark = pytest.mark.slow

FUNCTIONS = """
    SELECT p.proname, ARRAY(SELECT format_type(t, NULL) FROM unnest(p.proargtypes::oid[]) AS a (t))
    FROM pg_proc AS p
    WHERE p.pronamespace = 'report'::regnamespace AND p.proretset AND p.proname <> 'decoded_event'
    ORDER BY 1, 2
"""
ARGUMENTS = {
    "text": "'UTC'",
    "interval": "'1 day'",
    "timestamp with time zone[]": "'{2025-03-03 12:00+00, 2025-03-30 12:00+00}'",
}
RANGES = {
    "date": ("'2025-03-01'", "'2025-03-31'"),
    "timestamp with time zone": ("'2025-03-03 09:00+00'", "'2025-03-31 12:00+00'"),
}
SO_FAR = ["duration", "balances_unknown_for", "pairs_unknown_for", "age"]
"""Columns that go on with the clock."""
SIZES = {"size"}
"""Whose rows are about the server's files."""


def settings_of(url: str, account: str = "main") -> Settings:
    return load(None, {"database.url": url, "account": account}, {}).settings


def everything(sql: Query) -> dict[str, list[Any]]:
    """What each view and function of `report`, and each view of `ingest`, says."""
    views = sql("SELECT schemaname || '.' || viewname FROM pg_views WHERE schemaname IN ('ingest', 'report')")
    sources = [name for (name,) in views if name.rpartition(".")[2] not in SIZES]
    for name, types in sql(FUNCTIONS):
        seen: dict[str, int] = {}
        arguments = []
        for each in types:
            given = RANGES.get(each)
            arguments.append(given[min(seen.get(each, 0), 1)] if given else ARGUMENTS[each])
            seen[each] = seen.get(each, 0) + 1
        sources.append(f"report.{name}({', '.join(arguments)})")
    rows = "SELECT (to_jsonb(x) - %s::text[])::text FROM {} AS x"
    return {each: sorted(map(str, sql(rows.format(each), SO_FAR))) for each in sources}


@pytest.fixture
def story(sql: Query) -> Query:
    sql("SET timezone = 'UTC'")
    tell(sql)
    record(sql, 1001, "2025-04-01 00:00+00", "applied")
    record(sql, 1002, "2025-04-01 00:00+00", None, 1001)
    return sql


def partitions(sql: Query, table: str = "raw_event") -> dict[str, int]:
    """Their rows, by name."""
    names = sql(
        "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass ORDER BY 1",
        f"ingest.{table}",
    )
    return {name: sql(f"SELECT count(*) FROM {name}")[0][0] for (name,) in names}


def test_no_report_says_anything_else_afterwards(story: Query, database: str) -> None:
    before = everything(story)
    assert before["ingest.record"]
    assert before["report.event"]
    planned = partitioning_plan(settings_of(database))

    months = partition_tables(settings_of(database))

    assert everything(story) == before
    assert "ingest.raw_event" in {each.table for each in planned}
    for each in planned:
        assert len([name for name in months if name.startswith(each.table)]) == 12
        held = partitions(story, each.table.rpartition(".")[2])
        assert held[f"{each.table}_before"] == sum(held.values()) > 0
    assert partitioning_plan(settings_of(database)) == []
    assert partition_tables(settings_of(database)) == []


def test_the_catalogue_has_the_same_of_the_tables_as_before(story: Query, database: str) -> None:
    described = """
        SELECT c.relname, c.relkind = 'v', pg_get_userbyid(c.relowner), c.relacl::text, a.attname,
            format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid),
            obj_description(c.oid, 'pg_class'), col_description(c.oid, a.attnum)
        FROM pg_class AS c
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace IN ('ingest'::regnamespace, 'report'::regnamespace)
          AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition
        ORDER BY c.relnamespace, c.relname, a.attnum
    """
    keys = """
        SELECT c.relname, x.relname, i.indisunique, i.indisprimary,
            replace(pg_get_indexdef(i.indexrelid), ' ON ONLY ', ' ON ')
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid JOIN pg_class AS x ON x.oid = i.indexrelid
        WHERE c.relnamespace = 'ingest'::regnamespace AND NOT c.relispartition
        ORDER BY 1, 2
    """
    checks = """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
        FROM pg_constraint
        WHERE connamespace = 'ingest'::regnamespace AND conrelid NOT IN (SELECT inhrelid FROM pg_inherits)
        ORDER BY 1, 2
    """
    story("GRANT SELECT ON ingest.raw_event TO pg_monitor")
    story("ALTER VIEW ingest.record SET (security_barrier = true)")
    asked = (
        described,
        keys,
        checks,
        "SELECT relname, reloptions FROM pg_class WHERE relkind = 'v' ORDER BY oid",
    )
    before = [story(each) for each in asked]

    partition_tables(settings_of(database))

    for each, answer in zip(asked, before, strict=True):
        assert story(each) == answer
    assert story("SELECT relkind FROM pg_class WHERE oid = 'ingest.raw_event'::regclass") == [("p",)]


def test_views_and_functions_see_what_comes_into_other_parts(story: Query, database: str) -> None:
    """Those of others too. They would go on with the part that has the rows of before."""
    story("CREATE SCHEMA mine CREATE VIEW mine.records AS SELECT ordinal FROM ingest.raw_event")
    story("""
        CREATE FUNCTION mine.records(lowest bigint) RETURNS bigint LANGUAGE sql STABLE
        BEGIN ATOMIC SELECT count(*) FROM ingest.raw_event WHERE ordinal >= lowest; END
    """)
    partition_tables(settings_of(database))
    ((later,),) = story("SELECT now() + interval '70 days'")
    record(story, 5000, later, "ignored")

    assert story("SELECT count(*) FROM mine.records WHERE ordinal = 5000") == [(1,)]
    assert story("SELECT mine.records(5000)") == [(1,)]
    assert story("SELECT count(*) FROM ingest.record WHERE ordinal = 5000") == [(1,)]
    assert story("SELECT count(*) FROM report.event WHERE ordinal = 5000") == [(1,)]
    held = partitions(story)
    assert held["ingest.raw_event_before"] + 1 == sum(held.values())


STAY_BEHIND = {
    "materialized view public.mine": "CREATE MATERIALIZED VIEW public.mine AS SELECT 1 FROM ingest.raw_event",
    "trigger mine on table ingest.raw_event": "CREATE TRIGGER mine BEFORE UPDATE ON ingest.raw_event "
    "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
    "publication of table ingest.raw_event in publication mine": "CREATE PUBLICATION mine "
    "FOR TABLE ingest.raw_event",
    "column mine of table public.others": "CREATE TABLE public.others (mine ingest.raw_event)",
}


@pytest.mark.parametrize("what", STAY_BEHIND)
def test_what_would_stay_behind_is_named_and_nothing_is_done(story: Query, database: str, what: str) -> None:
    story(STAY_BEHIND[what])

    with pytest.raises(BadConfiguration, match=re.escape(what)):
        partition_tables(settings_of(database))

    assert partitions(story) == {}


def test_a_failed_attempt_leaves_the_table_whole_and_the_next_one_goes_on(
    story: Query, database: str
) -> None:
    settings = settings_of(database)
    with psycopg.connect(libpq_url(database)) as reader:
        reader.execute("SELECT count(*) FROM ingest.raw_event")
        done = command("db", "partition", "--yes", env=surroundings() | {"INGESTOR_DATABASE__URL": database})
        assert done.returncode == 69, done
    assert partitions(story) == {}
    assert story("SELECT count(*) FROM ingest.raw_event")[0][0] > 0
    assert partition_tables(settings)


def test_months_are_made_ahead_and_one_that_has_begun_without_stays_in_the_rest(
    story: Query, database: str
) -> None:
    partition_tables(settings_of(database))
    months = [name for name in partitions(story) if name.rpartition("_")[2].isdigit()]
    for name in months[1:]:
        story(f"DROP TABLE {name}")
    record(story, 2001, months[2].rpartition("_")[2] + "15 00:00+00", "applied")

    made = partition_tables(settings_of(database))

    assert partitions(story)["ingest.raw_event_rest"] == 1
    assert [name for name in made if "raw_event" in name] == months[3:]


def test_each_prune_makes_the_months_that_are_missing(story: Query, database: str) -> None:
    partition_tables(settings_of(database))
    months = [name for name in partitions(story) if name.rpartition("_")[2].isdigit()]
    story(f"DROP TABLE {months[-1]}")

    pruned(database, "main", dry_run=True, requests_days=1)
    assert months[-1] not in partitions(story)
    pruned(database, "main", requests_days=1)
    assert months[-1] in partitions(story)
    assert story("SELECT count(*) > 0 FROM pg_stats WHERE tablename = 'raw_event' AND inherited") == [(True,)]


def test_a_table_in_parts_has_their_size(story: Query, database: str) -> None:
    partition_tables(settings_of(database))
    story("ANALYZE ingest.raw_event")
    ((rows, in_table, in_indexes),) = story("""
        SELECT sum(c.reltuples)::bigint, sum(pg_table_size(c.oid))::bigint,
            sum(pg_indexes_size(c.oid))::bigint
        FROM pg_class AS c JOIN pg_inherits AS i ON i.inhrelid = c.oid
        WHERE i.inhparent = 'ingest.raw_event'::regclass
    """)
    listed = story("SELECT * FROM report.size")

    assert {("raw_event", rows, in_table, in_indexes, in_table + in_indexes)} <= set(listed)
    assert rows > 0
    assert not [name for name, *_ in listed if name.startswith("raw_event_")]
    assert len({name for name, *_ in listed}) == len(listed)
    (size,) = [each for each in sizes(settings_of(database)) if each.table == "raw_event"]
    assert (size.rows, size.table_bytes, size.index_bytes) == (rows, in_table, in_indexes)


OLD_MONTH = "ingest.raw_event_202504"


@pytest.fixture
def old_month(sql: Query, database: str) -> Query:
    """500 records of `main` in April 2025, one of them a dead letter's, and one record of another account."""
    sql("SET timezone = 'UTC'")
    partitioned_since_2025(sql, database)
    tell(sql)
    record(sql, 2000, "2025-04-10 00:00+00", "quarantined")
    sql("""
        INSERT INTO ingest.dead_letter
        SELECT account, session_id, ordinal, 0, received_at, 'decode', 'r', 'd', NULL, '1', 1, received_at
        FROM ingest.raw_event WHERE ordinal = 2000
    """)
    for ordinal in range(2001, 2500):
        record(sql, ordinal, "2025-04-10 00:00+00", "ignored")
    record(sql, 2001, "2025-04-10 00:00+00", None, account="polled")
    return sql


def file_of(sql: Query, part: str) -> int:
    ((number,),) = sql("SELECT pg_relation_filenode(%s::regclass)::bigint", part)
    return int(number)


def test_a_month_of_which_few_rows_stay_is_emptied_at_once(old_month: Query, database: str) -> None:
    before = file_of(old_month, OLD_MONTH)
    planned = pruned(database, "main", dry_run=True, records_days=100)
    gone = pruned(database, "main", records_days=100)

    assert gone == planned
    assert gone["raw_event"] >= 499
    assert file_of(old_month, OLD_MONTH) != before
    left = old_month(f"SELECT account, ordinal, encode(raw, 'escape') FROM {OLD_MONTH} ORDER BY 1")
    assert left == [("main", 2000, "x"), ("polled", 2001, "x")]
    assert not any(pruned(database, "main", records_days=100).values())


def test_row_by_row_the_same_rows_stay(
    old_month: Query, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_of(old_month, OLD_MONTH)
    monkeypatch.setattr(pruning, "BATCH_ROWS", 1)  # more than that stay
    gone = pruned(database, "main", records_days=100)

    assert gone["raw_event"] >= 499
    assert file_of(old_month, OLD_MONTH) == before
    left = old_month(f"SELECT account, ordinal, encode(raw, 'escape') FROM {OLD_MONTH} ORDER BY 1")
    assert left == [("main", 2000, "x"), ("polled", 2001, "x")]


def test_a_record_that_comes_late_into_a_month_is_not_lost(old_month: Query, database: str) -> None:
    """After a long outage of the database: it was received in that month, and is stored while we prune."""
    late = list[int]()

    def progress(*_: object) -> None:
        if not late:
            late.append(2999)
            record(old_month, 2999, "2025-04-30 23:59+00", "ignored")

    settings = settings_of(database)
    settings = replace(settings, retention=replace(settings.retention, records_days=100))
    prune(settings, dry_run=False, progress=progress)

    assert late
    assert old_month("SELECT count(*) FROM ingest.outcome WHERE ordinal = 2999") == [(1,)]
    assert old_month(f"SELECT count(*) FROM {OLD_MONTH} WHERE ordinal = 2999") == [(1,)]
    pruned(database, "main", records_days=100)
    assert old_month(f"SELECT ordinal FROM {OLD_MONTH} ORDER BY 1") == [(2000,), (2001,)]


def test_whoever_reads_for_long_only_delays_it(old_month: Query, database: str) -> None:
    with psycopg.connect(libpq_url(database)) as reader:
        reader.execute("SELECT count(*) FROM ingest.raw_event")
        gone = pruned(database, "main", records_days=100)
    assert gone["outcome"] >= 499
    assert old_month(f"SELECT count(*) FROM {OLD_MONTH}") == [(501,)]

    assert pruned(database, "main", records_days=100)["raw_event"] >= 499
    assert old_month(f"SELECT count(*) FROM {OLD_MONTH}") == [(2,)]
