"""A hub, a migrated database, and plain SQL to look into it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestor.simulator import HubConfig, SimulatedHub
from tests.support.postgres import libpq_url

Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


@pytest.fixture
def hub(journal: Path) -> Iterator[SimulatedHub]:
    """Moves by itself, a little; its journal is the oracle's."""
    config = HubConfig(changes_per_second=20, journal_path=journal, journal_fsync=False, seed=11)
    with SimulatedHub(config) as running:
        yield running


@pytest.fixture
def sql(database: str) -> Iterator[Query]:
    """Run one query on the test's database; gives its rows."""
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:

        def query(statement: str, *values: object) -> list[tuple[Any, ...]]:
            return connection.execute(statement, values).fetchall()

        yield query
