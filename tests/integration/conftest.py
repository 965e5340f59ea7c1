"""Plain SQL on the test's database."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.postgres import libpq_url
from tests.support.rows import Query


@pytest.fixture
def sql(database: str) -> Iterator[Query]:
    """Run one statement; gives its rows, if it has any."""
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:

        def query(statement: str, *values: object) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

        yield query
