"""`ingestor db partition`: records in partitions by month, and nothing that reads or writes them notices."""

from typing import Any

import psycopg
import pytest

from ingestor.app.partitioning import partition_tables, partitioning_plan
from ingestor.app.retention import sizes
from ingestor.config import Settings, load
from ingestor.domain.errors import BadConfiguration
from tests.integration.test_retention import record
from tests.support.daemon import command, surroundings
from tests.support.postgres import libpq_url
from tests.support.rows import Query
from tests.support.story import tell

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
    return load(None, {"database.url": url, "account": account}).settings


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
    story(
        "CREATE SCHEMA mine "
        "CREATE VIEW mine.records WITH (security_barrier) AS SELECT ordinal FROM ingest.raw_event"
    )
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
    story(
        "INSERT INTO ingest.raw_event "
        "SELECT account, session_id, 5000, now(), 1, NULL, 'x' FROM ingest.raw_event LIMIT 1"
    )
    assert story("SELECT count(*) FROM mine.records WHERE ordinal = 5000") == [(1,)], (
        "a view of somebody else's"
    )


def test_what_would_stay_behind_is_named_and_nothing_is_done(story: Query, database: str) -> None:
    story("CREATE MATERIALIZED VIEW public.mine AS SELECT ordinal FROM ingest.raw_event")

    with pytest.raises(BadConfiguration, match=r"materialized view public\.mine"):
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


def test_a_table_in_parts_has_their_size(story: Query, database: str) -> None:
    partition_tables(settings_of(database))
    story("ANALYZE ingest.raw_event")
    ((rows, in_table, in_indexes),) = story("""
        SELECT sum(c.reltuples)::bigint, sum(pg_table_size(c.oid))::bigint, sum(pg_indexes_size(c.oid))::bigint
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
