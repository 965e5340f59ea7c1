"""What we use of psycopg beyond its public interface: an upgrade that moves it fails here."""

from importlib.metadata import version

import psycopg
from psycopg._conninfo_attempts import conninfo_attempts
from psycopg.pq import ConnStatus, PGconn

from ingestor.adapters.postgres.login import _libpq


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
