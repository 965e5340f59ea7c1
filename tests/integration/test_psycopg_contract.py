"""What we use of psycopg beyond its public interface: an upgrade that moves it fails here."""

from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from io import BytesIO
from uuid import UUID

import psycopg
from msgspec import defstruct
from msgspec.structs import astuple
from psycopg._conninfo_attempts import conninfo_attempts
from psycopg.copy import FileWriter
from psycopg.pq import ConnStatus, PGconn

from ingestor.adapters.postgres.login import _libpq
from ingestor.adapters.postgres.packing import Packer
from ingestor.adapters.postgres.statements import Copy
from tests.support.postgres import libpq_url


def test_the_version_is_of_the_line_that_was_read() -> None:
    assert version("psycopg").startswith("3.3.")


def test_each_host_is_an_attempt_of_its_own() -> None:
    attempts = conninfo_attempts({"host": "127.0.0.1,/run/a", "port": "1,2", "dbname": "some"})

    assert [(each["host"], each["port"]) for each in attempts] == [("127.0.0.1", "1"), ("/run/a", "2")]


def test_libpq_takes_its_verbosity_from_us_while_a_connection_is_being_made() -> None:
    pgconn = PGconn.connect_start(b"host=127.0.0.1 port=1")
    ordinary, verbose, terse = 1, 2, 0
    library = _libpq()
    assert library is not None
    assert library.PQsetErrorVerbosity(pgconn.pgconn_ptr, verbose) == ordinary  # type: ignore[attr-defined]
    assert library.PQsetErrorVerbosity(pgconn.pgconn_ptr, terse) == verbose  # type: ignore[attr-defined]
    pgconn.finish()


def test_a_connection_is_made_around_one_of_libpq() -> None:
    pgconn = PGconn.connect_start(b"sslmode=none-of-the-known")
    assert pgconn.status == ConnStatus.BAD
    assert psycopg.Connection(pgconn).closed


def test_rows_that_are_packed_ahead_are_what_psycopg_would_send(database: str) -> None:
    """`format_row_binary` is not public: an upgrade that changes it fails here."""
    into = Copy(b"", ("text", "int8", "timestamptz", "uuid", "numeric", "bytea", "bool", "text"))
    row = defstruct("Row", ["a", "b", "c", "d", "e", "f", "g"])
    some = [
        row(7, datetime(2026, 1, 1, tzinfo=UTC), UUID(int=5), Decimal("1.50"), b"x", True, None),
        row(-1, None, None, Decimal(0), b"", False, "é"),
    ]
    written = BytesIO()
    with (
        psycopg.connect(libpq_url(database)) as connection,
        psycopg.copy.Copy(connection.cursor(), binary=True, writer=FileWriter(written)) as copy,
    ):
        copy.set_types(into.types)
        for each in some:
            copy.write_row(("main", *astuple(each)))
    assert b"".join(Packer("main").pack(into, some)) == written.getvalue()
