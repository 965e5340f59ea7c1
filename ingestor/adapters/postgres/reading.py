"""Reads rows as values of a given type, by the names of the columns."""

from typing import Any, TypeVar

import psycopg
from msgspec import convert
from psycopg.rows import dict_row, namedtuple_row

_T = TypeVar("_T")


def read(connection: psycopg.Connection, into: type[_T], query: str, *values: object) -> list[_T]:
    """All rows of a query whose parameters are `$1`, `$2`, ...; columns that the type does not have are
    ignored.

    Raises:
        psycopg.Error: as it comes.
        msgspec.ValidationError: a column is missing, or has another type, which is a bug.
    """
    with psycopg.RawCursor(connection, row_factory=dict_row) as cursor:
        return [convert(row, into) for row in cursor.execute(query.encode(), values)]


def rows(connection: psycopg.Connection, query: str, *values: object) -> list[Any]:
    """The same as tuples with the columns' names."""
    with psycopg.RawCursor(connection, row_factory=namedtuple_row) as cursor:
        return cursor.execute(query.encode(), values).fetchall()


def value(connection: psycopg.Connection, query: str, *values: object) -> Any:
    """The one value of the only row; None where there is no row."""
    found = rows(connection, query, *values)
    return found[0][0] if found else None
