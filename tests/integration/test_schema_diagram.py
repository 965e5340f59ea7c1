"""SCHEMA.md: the diagrams are those of the catalogue, and what they say of rows is so."""

import re
from collections.abc import Iterator

import psycopg
import pytest

from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.integration.test_report import ingesting
from tests.support.postgres import libpq_url
from tests.support.rows import Query
from tests.support.schema_diagram import PAGE, PARENTS, drawn, references, tables
from tests.support.story import tell
from tests.support.waiting import eventually


@pytest.fixture
def connection(database: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:
        yield connection


def test_the_diagrams_are_current(connection: psycopg.Connection) -> None:
    """Drawn anew by `python -m tests.support.schema_diagram`."""
    page = PAGE.read_text("utf-8")

    assert drawn(page, connection) == page


def test_a_new_column_would_have_to_be_drawn(connection: psycopg.Connection) -> None:
    page = PAGE.read_text("utf-8")
    connection.execute("ALTER TABLE ingest.gap ADD COLUMN more text")

    assert set(drawn(page, connection).splitlines()) - set(page.splitlines()) == {"        text more"}


def test_everything_of_an_account_belongs_to_something(connection: psycopg.Connection) -> None:
    for schema, parents in PARENTS.items():
        of_an_account = {name for name, columns in tables(connection, schema).items() if "account" in columns}
        assert of_an_account - {"account"} == set(parents)


def test_the_foreign_keys_of_the_database_are_among_the_lines(
    connection: psycopg.Connection, sql: Query
) -> None:
    keys = sql(
        "SELECT conrelid::regclass::text, confrelid::regclass::text FROM pg_constraint WHERE contype = 'f'"
    )
    lines = {
        (f"ingest.{table}", f"ingest.{parent}")
        for table, parent, _ in references("ingest", tables(connection, "ingest"))
    }
    assert keys
    assert set(keys) <= lines


def strays(connection: psycopg.Connection, schema: str) -> dict[tuple[str, str], int]:
    """Of each line with a row that lacks what it belongs to: how many there are."""
    found = {}
    for table, parent, columns in references(schema, tables(connection, schema)):
        key = ", ".join(columns)
        row = connection.execute(
            f"SELECT count(*) FROM (SELECT DISTINCT {key} FROM {schema}.{table}) AS t "
            f"WHERE num_nulls({key}) = 0 AND ({key}) NOT IN (SELECT {key} FROM {schema}.{parent})".encode()
        ).fetchone()
        assert row is not None
        if row[0]:
            found[table, parent] = row[0]
    return found


def test_each_row_of_a_view_has_what_it_belongs_to(sql: Query, connection: psycopg.Connection) -> None:
    tell(sql)

    assert strays(connection, "report") == {}
    sql("DELETE FROM ingest.session")
    assert ("request", "session") in strays(connection, "report")


def test_each_row_of_a_daemon_has_what_it_belongs_to(
    database: str, sql: Query, connection: psycopg.Connection
) -> None:
    filled = re.compile("balance|pair|gap|confirmation|request|dead_letter|exposure|exposure_total|watermark")
    with SimulatedHub(HubConfig(seed=3, changes_per_second=20)) as hub, ingesting(hub, database):
        eventually(lambda: sql("SELECT 1 FROM report.freshness HAVING every(is_fresh)"), within=20)
        hub.inject(Fault.GARBAGE)
        hub.inject(Fault.SEQUENCE_RESET)
        eventually(lambda: sql("SELECT 1 FROM ingest.dead_letter"), within=20)
        eventually(lambda: sql("SELECT 1 FROM ingest.confirmation"), within=20)

    for table in filter(filled.fullmatch, tables(connection, "ingest")):
        assert sql(f"SELECT 1 FROM ingest.{table} LIMIT 1"), table
    assert strays(connection, "ingest") == {}
    assert strays(connection, "report") == {}
