"""The schema: one head, every column commented, upgraded by one process at a time, equal to the code."""

import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Dialect, Engine, MetaData, Table, create_engine, text
from sqlalchemy.pool import NullPool

import ingestor
from ingestor.adapters.postgres.dictionary import dictionary
from ingestor.adapters.postgres.migrate import schema_state, scripts, upgrade
from ingestor.adapters.postgres.schema import REVISION, REVISIONS
from ingestor.adapters.postgres.tables import SCHEMA, metadata
from ingestor.app.database import schema_at, upgrade_database
from tests.support.daemon import ROOT, surroundings

DATA = Path(ingestor.__file__).parent / "DATA.md"
MARKER = "<!-- generated: python -m ingestor.adapters.postgres.dictionary URL -->\n\n"


@pytest.fixture
def engine(database: str) -> Iterator[Engine]:
    made = create_engine(database, poolclass=NullPool)
    yield made
    made.dispose()


def test_the_revision_the_software_writes_to_is_the_only_head() -> None:
    directory = ScriptDirectory(str(scripts()))

    assert directory.get_heads() == [REVISION]
    assert [each.revision for each in directory.walk_revisions()] == list(reversed(REVISIONS))


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
    assert schema_at(empty_database).fits


def test_an_upgrade_leaves_logging_as_it_was(empty_database: str) -> None:
    """Alembic's usual env.py silences every logger that exists: a daemon would go on without a word."""
    logger = logging.getLogger("somebody.elses")
    upgrade_database(empty_database)

    assert not logger.disabled


def shape(table: Table, dialect: Dialect) -> list[tuple[object, ...]]:
    """Name, type, key and nullability of each column, in order."""
    return [
        (
            each.name,
            each.type.compile(dialect),
            each.primary_key,
            each.nullable and not each.primary_key,
        )
        for each in table.columns
    ]


def test_the_migrations_make_exactly_the_tables_of_the_code(engine: Engine) -> None:
    found = MetaData(schema=SCHEMA)
    found.reflect(engine)
    expected = {name: shape(table, engine.dialect) for name, table in metadata.tables.items()}

    assert {
        name: shape(table, engine.dialect) for name, table in found.tables.items() if "alembic" not in name
    } == expected


def test_every_key_begins_with_the_account_and_that_of_a_table_that_grows_holds_a_time(
    engine: Engine,
) -> None:
    """So that tables can be distributed by account and partitioned by time."""
    one_row_a_stream_or_less = {"account", "epoch", "heartbeat", "watermark"}
    keys = text("""
        SELECT c.relname, array_agg(a.attname::text ORDER BY k.position),
               bool_or(a.atttypid = 'timestamptz'::regtype)
        FROM pg_constraint AS p
        JOIN pg_class AS c ON c.oid = p.conrelid
        CROSS JOIN unnest(p.conkey) WITH ORDINALITY AS k (number, position)
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = k.number
        WHERE p.contype = 'p' AND c.relnamespace = 'ingest'::regnamespace AND c.relname <> 'alembic_version'
        GROUP BY c.relname
    """)
    with engine.connect() as connection:
        rows = connection.execute(keys).all()

    assert len(rows) == len(metadata.tables)
    for table, columns, has_time in rows:
        assert columns[0] == "account", table
        assert has_time or table in one_row_a_stream_or_less, table


def test_every_table_view_column_and_function_has_a_comment(engine: Engine) -> None:
    silent = text("""
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
    """)
    with engine.connect() as connection:
        assert connection.execute(silent).scalars().all() == []


def test_a_schema_from_the_future_is_known_as_newer(engine: Engine) -> None:
    """Invariant I19."""
    with engine.begin() as connection:
        connection.execute(text("UPDATE ingest.alembic_version SET version_num = '9999'"))
    with engine.connect() as connection:
        state = schema_state(connection)

    assert state.newer
    assert not state.fits


def test_down_and_up_again_leaves_the_same_schema(engine: Engine) -> None:
    from alembic import command  # noqa: PLC0415 - only here
    from alembic.config import Config  # noqa: PLC0415 - only here

    before = dictionary(engine)
    config = Config()
    config.set_main_option("script_location", str(scripts()))
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
    with engine.connect() as connection:
        upgrade(connection)

    assert dictionary(engine) == before


def test_the_dictionary_is_current(engine: Engine) -> None:
    """Renew it by the command that stands in its marker."""
    assert DATA.read_text().partition(MARKER)[2] == dictionary(engine)


def test_the_example_queries_run(engine: Engine) -> None:
    questions = DATA.read_text().partition("<!-- queries")[2].partition("## Words")[0]
    queries = re.findall(r"```sql\n(.*?)```", questions + (ROOT / "README.md").read_text(), re.DOTALL)

    assert len(queries) == 9
    with engine.connect() as connection:
        for query in queries:
            connection.exec_driver_sql(query)
