"""Whatever value a row may hold, Postgres reads out of it what went in, whichever way it travels (I8)."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import defstruct

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.postgres import writing
from ingestor.adapters.postgres.packing import Packer
from ingestor.adapters.postgres.statements import CHANGES, COPIES, Copy, columns
from ingestor.adapters.postgres.statements import given as given_rows
from ingestor.pipeline.rows import Int4
from tests.support.postgres import fresh_database, libpq_url

ACCOUNT = "main"


def _numbers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))
"""What Postgres cannot hold as text, no name can hold either: NUL and lone surrogates."""

VALUES: dict[str, st.SearchStrategy[Any]] = {
    "text": _TEXT,
    "text[]": st.lists(_TEXT),
    "uuid": st.uuids(),
    "int8": _numbers(64),
    "int4": _numbers(32),
    "float8": st.floats(allow_nan=False, allow_infinity=False),
    "timestamptz": st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=_ZONES),  # noqa: DTZ001
    "bytea": st.binary(),
    "numeric": st.builds(
        lambda sign, digits, exponent: Decimal((sign, tuple(map(int, str(digits))), exponent)),
        st.sampled_from([0, 1]),
        st.integers(0, 10**40 - 1),
        st.integers(-80, 80),
    )
    | st.sampled_from([Decimal("-0"), Decimal("0E-7"), Decimal("1E+400"), Decimal("1E-400")]),
    "bool": st.booleans(),
}

EXAMPLES = settings(max_examples=60, deadline=None)


@pytest.fixture(scope="module")
def connection(postgres_server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with (
        fresh_database(postgres_server) as url,
        psycopg.connect(libpq_url(url), autocommit=True, options="-c timezone=UTC") as connection,
    ):
        yield connection


@pytest.mark.parametrize("kind", COPIES, ids=lambda kind: kind.__name__)
def test_what_is_copied_is_what_postgres_reads(kind: type[Any], connection: psycopg.Connection) -> None:
    types = COPIES[kind].types
    columns = ", ".join(f"c{number} {name}" for number, name in enumerate(types))
    into = replace(COPIES[kind], statement=b"COPY copied FROM STDIN (FORMAT BINARY)")
    rows = st.lists(
        st.builds(kind, *(st.none() | VALUES[name] for name in types[1:])), min_size=1, max_size=5
    )

    @EXAMPLES
    @given(some=rows)
    def law(some: list[Any]) -> None:
        with connection.transaction(force_rollback=True), psycopg.RawCursor(connection) as cursor:
            cursor.execute(f"CREATE TEMPORARY TABLE copied ({columns})".encode())
            writing._copy(cursor, into, Packer(ACCOUNT).pack(into, some))
            found = cursor.execute(b"SELECT * FROM copied ORDER BY ctid").fetchall()
        assert found == [(ACCOUNT, *(getattr(row, name) for name in row.__struct_fields__)) for row in some]

    law()


ANNOTATIONS: dict[str, Any] = {
    "text": str,
    "text[]": tuple[str, ...],
    "uuid": UUID,
    "int8": int,
    "int4": Int4,
    "float8": float,
    "timestamptz": datetime,
    "bytea": bytes,
    "numeric": Decimal,
    "bool": bool,
}


@pytest.mark.parametrize("each", [("value",), ()], ids=["as JSON", "said once"])
@pytest.mark.parametrize("type_", VALUES)
def test_what_travels_in_the_statement_is_what_postgres_reads(
    type_: str, each: tuple[str, ...], connection: psycopg.Connection
) -> None:
    """One column of each type stands for all of that type: the shape is made by type."""
    if type_ == "text[]" and not each:
        return  # such rows travel as JSON only, which the next test shows
    row = defstruct("Row", [("value", ANNOTATIONS[type_])])
    select = f"SELECT value FROM {given_rows(row, each, 1)}".encode()

    @EXAMPLES
    @given(some=st.lists(st.none() | VALUES[type_], min_size=1, max_size=5))
    def law(some: list[Any]) -> None:
        parameters = (
            [[writing._encode([row(value) for value in some]).decode()]]
            if each
            else [[value] for value in some]
        )
        found = [psycopg.RawCursor(connection).execute(select, one).fetchall() for one in parameters]
        assert [value for rows in found for (value,) in rows] == some

    law()


def test_no_list_is_said_once() -> None:
    """The driver would send a tuple as a row and not as an array."""
    for row, change in CHANGES.items():
        assert change.each is None or "text[]" not in columns(row).values()


def test_every_type_that_is_written_has_values() -> None:
    assert {name for row in CHANGES for name in columns(row).values()} == set(VALUES)


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("text", "\ud800", UnicodeError),
        ("int8", 2**63, OverflowError),
        ("numeric", Decimal("1E+400000"), psycopg.Error),
        ("numeric", Decimal("1E-20000"), psycopg.Error),
    ],
)
def test_what_no_column_holds_is_an_error_that_the_store_knows(
    name: str, value: object, error: type[Exception], connection: psycopg.Connection
) -> None:
    row = defstruct("Row", ["value"])
    into = Copy(b"COPY copied FROM STDIN (FORMAT BINARY)", ("text", name))
    with connection.transaction(force_rollback=True), psycopg.RawCursor(connection) as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE copied (account text, value {name})".encode())
        with pytest.raises(error):
            writing._copy(cursor, into, Packer(ACCOUNT).pack(into, [row(value)]))
