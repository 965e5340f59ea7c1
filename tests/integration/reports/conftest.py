"""The frozen story, told once for each test's database."""

import pytest

from tests.support.rows import Query
from tests.support.story import tell


@pytest.fixture
def story(sql: Query) -> Query:
    tell(sql)
    sql("SET timezone = 'UTC'")
    return sql
