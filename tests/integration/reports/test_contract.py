"""The contract itself: documented whole, and readable by a role that has nothing else."""

import psycopg
import pytest

from tests.support.postgres import libpq_url
from tests.support.rows import Query

ARGUMENTS = {
    "timestamp with time zone[]": "ARRAY[now()]",
    "timestamp with time zone": "now()",
    "date": "current_date - 2",
    "interval": "interval '1 day'",
    "text": "'UTC'",
}


def test_every_column_of_every_view_and_function_is_in_the_dictionary_with_its_meaning(sql: Query) -> None:
    assert sql('SELECT view, "column" FROM report.dictionary WHERE comment IS NULL OR question IS NULL') == []
    ((columns,),) = sql("SELECT count(*) FROM information_schema.columns WHERE table_schema = 'report'")
    assert sql("SELECT count(*) FROM report.dictionary WHERE kind = 'view'") == [(columns,)]
    assert (
        sql(
            "SELECT proname FROM pg_proc WHERE pronamespace = 'report'::regnamespace AND proretset "
            "AND NOT EXISTS (SELECT FROM report.dictionary WHERE starts_with(view, proname || '('))"
        )
        == []
    )
    assert sql(
        "SELECT unit, comment FROM report.dictionary "
        "WHERE view = 'balance_current' AND \"column\" = 'available'"
    ) == [("asset", "Free amount.")]


def test_the_contract_has_a_version_and_a_rule(sql: Query) -> None:
    assert sql("SELECT version, length(rule) > 100 FROM report.contract_version") == [(1, True)]


def test_every_amount_has_a_unit(sql: Query) -> None:
    assert (
        sql(
            "SELECT view, \"column\" FROM report.dictionary WHERE type = 'numeric' AND unit IS NULL "
            'AND "column" NOT IN '
            "('status', 'order_type', 'sequence', 'transaction_type', 'slippage', 'occurrences')"
        )
        == []
    )


def test_the_functions_are_inlined_so_that_filters_reach_the_indexes(story: Query) -> None:
    """A function that is not inlined shows as a scan of its own."""
    for call in (
        "balance_as_of('2025-03-05')",
        "balance_at_each(ARRAY['2025-03-05'::timestamptz])",
        "balance_eod('2025-03-01', '2025-03-05', 'UTC')",
        "balance_bucket('2025-03-01', '2025-03-05', interval '1 day')",
        "balance_change('2025-03-01', '2025-03-05')",
        "balance_movements('2025-03-01', '2025-03-05')",
        "exposure_as_of('2025-03-05')",
        "pair_as_of('2025-03-05')",
        "coverage('2025-03-01', '2025-03-05')",
    ):
        plan = "\n".join(
            row[0] for row in story(f"EXPLAIN SELECT * FROM report.{call} WHERE account = 'main'")
        )
        assert f"Function Scan on {call.partition('(')[0]}" not in plan


def test_a_reader_with_nothing_but_the_schema_can_ask_everything(database: str, story: Query) -> None:
    """An inlined function has the privileges of its caller, so it may read views only."""
    story("DROP ROLE IF EXISTS report_reader")
    story("CREATE ROLE report_reader")
    try:
        story("GRANT USAGE ON SCHEMA report TO report_reader")
        story("GRANT SELECT ON ALL TABLES IN SCHEMA report TO report_reader")
        with psycopg.connect(libpq_url(database), autocommit=True) as reader:
            reader.execute("SET ROLE report_reader")
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                reader.execute("SELECT * FROM ingest.account")
            for (view,) in story("SELECT viewname FROM pg_views WHERE schemaname = 'report'"):
                reader.execute(f"SELECT * FROM report.{view}".encode())
            for name, types in story(
                "SELECT proname, ARRAY(SELECT format_type(t, NULL) FROM unnest(proargtypes) AS t) "
                "FROM pg_proc "
                "WHERE pronamespace = 'report'::regnamespace AND proretset AND proname <> 'decoded_event'"
            ):
                given = ", ".join(ARGUMENTS[each] for each in types)
                reader.execute(f"SELECT * FROM report.{name}({given})".encode())
    finally:
        story("DROP OWNED BY report_reader")
        story("DROP ROLE report_reader")
