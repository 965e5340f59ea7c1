"""The schema: one head, every column commented, upgraded by one process at a time, equal to the code."""

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_type_hints

import psycopg
import pytest
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

import ingestor
from ingestor.adapters.postgres.schema import REVISION, schema_state, scripts
from ingestor.adapters.postgres.statements import CHANGES, columns
from ingestor.adapters.postgres.store import HEARTBEAT_VALUES
from ingestor.app.database import connect_url, upgrade_database
from ingestor.pipeline.rows import SessionProgressRow
from tests.support.daemon import ROOT, surroundings
from tests.support.dictionary import dictionary
from tests.support.postgres import libpq_url
from tests.support.rows import Query

DATA = Path(ingestor.__file__).parent / "DATA.md"
MARKER = "<!-- generated: python -m tests.support.dictionary URL -->\n\n"


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:
        yield connection


def test_the_revision_the_software_writes_to_is_the_only_head() -> None:
    directory = ScriptDirectory(str(scripts()))

    assert directory.get_heads() == [REVISION]


def test_an_upgrade_from_nothing_fits_and_a_second_one_has_nothing_to_do(empty_database: str) -> None:
    first = upgrade_database(empty_database)
    second = upgrade_database(empty_database)

    assert first.found is None
    assert [step.split()[0] for step in first.pending] == ["0001", "0002"]
    assert second.fits
    assert second.pending == ()


def test_upgrades_at_the_same_time_all_succeed(empty_database: str) -> None:
    """In processes of their own, as on two hosts that are deployed together."""
    program = [sys.executable, "-m", "ingestor", "db", "upgrade"]
    environment = {**surroundings(), "INGESTOR_DATABASE__URL": empty_database, "PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    said = [process.communicate(timeout=60) for process in running]

    assert [process.returncode for process in running] == [0, 0, 0], said
    with connect_url(empty_database) as connection:
        assert schema_state(connection).fits


def test_an_upgrade_leaves_logging_as_it_was(empty_database: str) -> None:
    """Alembic's usual env.py silences every logger that exists: a daemon would go on without a word."""
    logger = logging.getLogger("somebody.elses")
    upgrade_database(empty_database)

    assert not logger.disabled


ADDED_BY_SQL = {"account": "text"} | dict.fromkeys(
    (
        "recorded_at",
        "balances_confirmation_recorded_at",
        "pairs_confirmation_recorded_at",
        "resolution_recorded_at",
        "end_recorded_at",
    ),
    "timestamptz",
)
OF_THE_GUARDS = {"first_ordinal", "old_epoch", "old_sequence", "old_revision"}
"""Fields that say what must be stored before; no columns."""


@pytest.mark.parametrize("row", CHANGES, ids=lambda row: row.__name__)
def test_the_columns_of_a_row_are_those_of_its_table(row: type[Any], sql: Query) -> None:
    """Names, types and whether null may stand there."""
    name = re.sub("(?<!^)([A-Z])", r"_\1", row.__name__.removesuffix("Row")).lower()
    found = {
        column: (type_, required)
        for column, type_, required in sql(
            "SELECT attname, replace(format_type(atttypid, NULL), 'character varying', 'text'), attnotnull "
            "FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            f"ingest.{name.removesuffix('_progress')}",
        )
    }
    hints = get_type_hints(row)
    given = {
        column: (sql("SELECT format_type(%s::regtype, NULL)", type_)[0][0], not _optional(hints.get(column)))
        for column, type_ in (ADDED_BY_SQL | columns(row)).items()
        if column in found or column not in {*ADDED_BY_SQL, *OF_THE_GUARDS}
    }
    if row is SessionProgressRow:
        assert given.items() <= found.items()
    else:
        assert given == found


def _optional(hint: object) -> bool:
    return NoneType in get_args(hint)


def test_the_heartbeat_has_a_value_for_each_column(sql: Query) -> None:
    heartbeat = sql(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'ingest.heartbeat'::regclass AND attnum > 0"
    )

    assert {name for (name,) in heartbeat} == {*HEARTBEAT_VALUES, "heartbeat_at"}


def test_every_key_begins_with_the_account_and_that_of_a_table_that_grows_holds_a_time(
    sql: Query,
) -> None:
    """So that tables can be distributed by account and partitioned by time."""
    one_row_a_stream_or_less = {"account", "epoch", "heartbeat", "watermark"}
    keys = """
        SELECT c.relname, array_agg(a.attname::text ORDER BY k.position),
               bool_or(a.atttypid = 'timestamptz'::regtype)
        FROM pg_constraint AS p
        JOIN pg_class AS c ON c.oid = p.conrelid
        CROSS JOIN unnest(p.conkey) WITH ORDINALITY AS k (number, position)
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.number
        WHERE p.contype = 'p' AND c.relnamespace = 'ingest'::regnamespace AND c.relname <> 'alembic_version'
        GROUP BY c.relname
    """
    rows = sql(keys)

    assert rows
    for table, key, has_time in rows:
        assert key[0] == "account", table
        assert has_time or table in one_row_a_stream_or_less, table


def test_every_table_view_column_and_function_has_a_comment(sql: Query) -> None:
    silent = """
        SELECT n.nspname || '.' || c.relname || coalesce('.' || a.attname, '')
        FROM pg_class AS c
        JOIN pg_namespace AS n ON n.oid = c.relnamespace
        LEFT JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        WHERE n.nspname IN ('ingest', 'report') AND c.relkind IN ('r', 'v', 'p')
          AND c.relname <> 'alembic_version'
          AND (obj_description(c.oid, 'pg_class') IS NULL OR col_description(c.oid, a.attnum) IS NULL)
        UNION ALL
        SELECT n.nspname || '.' || p.proname
        FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
        WHERE n.nspname IN ('ingest', 'report') AND obj_description(p.oid, 'pg_proc') IS NULL
        UNION ALL
        SELECT nspname FROM pg_namespace
        WHERE nspname IN ('ingest', 'report') AND obj_description(oid, 'pg_namespace') IS NULL
    """
    assert sql(silent) == []


def test_a_schema_from_the_future_is_known_as_newer(connection: psycopg.Connection) -> None:
    """Invariant I19."""
    connection.execute("UPDATE ingest.alembic_version SET version_num = '9999'")
    state = schema_state(connection)

    assert state.newer
    assert not state.fits


def test_down_and_up_again_leaves_the_same_schema(database: str, connection: psycopg.Connection) -> None:
    before = dictionary(connection)
    config = Config()
    config.set_main_option("script_location", str(scripts()))
    with create_engine(database, poolclass=NullPool).connect() as given:
        config.attributes["connection"] = given
        command.downgrade(config, "base")
        given.commit()
    upgrade_database(database)

    assert dictionary(connection) == before


def test_the_dictionary_is_current(connection: psycopg.Connection) -> None:
    """Renew it by the command that stands in its marker."""
    assert DATA.read_text().partition(MARKER)[2] == dictionary(connection)


def test_the_queries_of_the_readme_run(sql: Query) -> None:
    """Those of DATA.md are asked of the frozen story."""
    queries = re.findall(r"```sql\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)

    assert queries
    for query in queries:
        sql(query)
