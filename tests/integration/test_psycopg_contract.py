"""The private parts of psycopg that packing stands on: an upgrade that moves one of them fails here.

And what they are for: rows that we pack without a connection are, byte for byte, what psycopg would send, and
Postgres reads out of them, and out of their JSON, what went in.
"""

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from importlib.metadata import version
from io import BytesIO
from typing import Any
from uuid import UUID

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg._copy_base import BUFFER_SIZE, format_row_binary
from psycopg.adapt import Transformer
from psycopg.copy import Copy, FileWriter
from psycopg.pq import Format
from psycopg.types.datetime import DatetimeBinaryDumper
from psycopg.types.uuid import UUIDBinaryDumper

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.postgres.packing import Packer, _IdDumper, _TimeDumper, as_json, prepare
from ingestor.adapters.postgres.statements import EVENT_ROWS, _numbered
from ingestor.pipeline.batch import BalanceRow, RawEventRow
from tests.support.postgres import fresh_database, libpq_url

ACCOUNT = "main"
ID = UUID("00000000-0000-7000-8000-000000000001")
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def _numbers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


_ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))

VALUES: dict[str, st.SearchStrategy[Any]] = {
    # What Postgres cannot hold as text, no name can hold either: NUL and lone surrogates.
    "text": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
    "uuid": st.uuids(),
    "int8": _numbers(64),
    "int4": _numbers(32),
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


def rows(kind: type[Any]) -> st.SearchStrategy[list[Any]]:
    """Rows of this type; any value may be missing, and one may repeat as the very same object."""
    columns = [st.none() | VALUES[name] for name in EVENT_ROWS[kind].types]
    return st.lists(st.builds(kind, *columns), min_size=1, max_size=5).map(lambda some: some + some[:1])


def types(kind: type[Any]) -> tuple[str, ...]:
    """Of the account, which comes first, and of the row's fields."""
    return ("text", *EVENT_ROWS[kind].types)


def values(row: Any) -> tuple[Any, ...]:
    return (ACCOUNT, *(getattr(row, name) for name in row.__struct_fields__))


@pytest.fixture(scope="module")
def connection(postgres_server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    """As psycopg makes it: nothing of ours is registered."""
    with (
        fresh_database(postgres_server) as url,
        psycopg.connect(libpq_url(url), autocommit=True, options="-c timezone=UTC") as connection,
    ):
        yield connection


def sent_by_psycopg(connection: psycopg.Connection, kind: type[Any], some: list[Any]) -> bytes:
    """What psycopg's public interface would send for these rows."""
    file = BytesIO()
    with connection.cursor() as cursor, Copy(cursor, binary=True, writer=FileWriter(file)) as copy:
        copy.set_types(types(kind))
        for row in some:
            copy.write_row(values(row))
    return file.getvalue()


def read_by_postgres(connection: psycopg.Connection, kind: type[Any], data: bytes) -> list[tuple[Any, ...]]:
    """What lies in a table of these columns after this COPY."""
    columns = ", ".join(f"c{number} {name}" for number, name in enumerate(types(kind)))
    with connection.transaction(force_rollback=True), connection.cursor(binary=True) as cursor:
        cursor.execute(f"CREATE TEMPORARY TABLE packed ({columns})".encode())
        with cursor.copy("COPY packed FROM STDIN (FORMAT BINARY)") as copy:
            copy.write(data)
        return cursor.execute("SELECT * FROM packed ORDER BY ctid").fetchall()


def read_as_json(connection: psycopg.Connection, kind: type[Any], data: str) -> list[tuple[Any, ...]]:
    """What the statement for few rows would insert."""
    select = "SELECT" + EVENT_ROWS[kind].insert.partition("SELECT")[2]
    return psycopg.RawCursor(connection).execute(_numbered(select, 2), (ACCOUNT, data)).fetchall()


def test_there_are_values_for_every_type_that_is_written() -> None:
    assert {name for kind in EVENT_ROWS for name in types(kind)} == set(VALUES)


@pytest.mark.parametrize("kind", EVENT_ROWS, ids=lambda kind: kind.__name__)
def test_packed_rows_are_what_psycopg_would_send_and_what_postgres_reads(
    kind: type[Any], connection: psycopg.Connection
) -> None:
    @settings(max_examples=60, deadline=None)
    @given(some=rows(kind))
    def law(some: list[Any]) -> None:
        packed = Packer(ACCOUNT).table(some)
        given = [values(row) for row in some]

        assert packed.data == sent_by_psycopg(connection, kind, some)
        assert read_by_postgres(connection, kind, packed.data) == given
        assert read_as_json(connection, kind, as_json(some)) == given

    law()


def test_a_batch_larger_than_psycopgs_buffer_is_packed_whole(connection: psycopg.Connection) -> None:
    some = [RawEventRow(ID, n, MOMENT, 500, None, bytes([n % 256]) * 500) for n in range(1, 1_000)]
    packed = Packer(ACCOUNT).table(some)

    assert len(packed.data) > 10 * BUFFER_SIZE
    assert packed.data == sent_by_psycopg(connection, RawEventRow, some)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"asset": "\ud800"}, UnicodeError),
        ({"sequence": 2**63}, OverflowError),
        ({"available": Decimal("1E+400000")}, psycopg.Error),
        ({"allocated": Decimal("1E-20000")}, psycopg.Error),
    ],
)
def test_a_value_that_no_column_holds_is_refused_with_an_error_that_the_store_knows(
    change: dict[str, Any], error: type[Exception]
) -> None:
    fine: dict[str, Any] = {
        "user_id": "u",
        "asset": "BTC",
        "valid_from": MOMENT,
        "epoch": 1,
        "sequence": 1,
        "revision": 0,
        "available": Decimal(1),
        "allocated": Decimal(0),
        "reported": True,
    }
    assert Packer(ACCOUNT).table([BalanceRow(**fine)]).data
    with pytest.raises(error):
        Packer(ACCOUNT).table([BalanceRow(**fine), BalanceRow(**fine | change)])


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


def test_the_version_is_of_the_line_that_was_read() -> None:
    assert version("psycopg").startswith("3.3.")


def test_the_signatures_that_we_override() -> None:
    for dumper in (DatetimeBinaryDumper, UUIDBinaryDumper):
        assert parameters(dumper.dump) == ["self", "obj"]


def test_a_row_is_added_to_the_buffer_without_header_or_trailer() -> None:
    transformer = Transformer(Packer(ACCOUNT))
    transformer.set_dumper_types([psycopg.adapters.types.get_oid("bool")], Format.BINARY)
    out = bytearray(b"before")
    format_row_binary([True], transformer, out)

    assert out == b"before" + b"\0\x01" + b"\0\0\0\x01\x01"


@pytest.mark.parametrize("dumper", [_TimeDumper, _IdDumper])
def test_a_copy_asks_the_dumpers_that_we_register(
    dumper: type[_TimeDumper | _IdDumper], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def dump(value: object) -> bytes:
        asked.append(value)
        return b""

    monkeypatch.setattr(dumper, "dump", staticmethod(dump))
    Packer(ACCOUNT).table([RawEventRow(ID, 1, MOMENT, 2, None, b"{}")])
    assert asked == [MOMENT if dumper is _TimeDumper else ID]


def test_parameters_are_of_one_type_whatever_the_size_of_a_number(connection: psycopg.Connection) -> None:
    """A prepared statement is made for its types: with others it would be planned again."""
    with connection.cursor(binary=True) as cursor:
        prepare(cursor)
        for value in (1, 2**40):
            types = cursor.execute(
                "SELECT pg_typeof(%b)::text, pg_typeof(%b)::text, pg_typeof(%b)::text, pg_typeof(%b)::text",
                (value, [value], b"x", [MOMENT]),
            ).fetchone()
            assert types == ("bigint", "bigint[]", "bytea", "timestamp with time zone[]")
