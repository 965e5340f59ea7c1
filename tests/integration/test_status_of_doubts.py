"""An operator sees that a stream holds an older state than the hub may have."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import create_engine
from sqlalchemy.pool import NullPool

from ingestor.adapters.clock import SystemClock
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.domain.decision import Policy
from ingestor.pipeline.booking import BookingRules
from tests.support.daemon import ACCOUNT, command, environment
from tests.support.items import balances
from tests.support.line import Line, outcomes


@pytest.fixture
def store(database: str) -> Iterator[PostgresStore]:
    """Open, on the test's database."""
    engine = create_engine(database, poolclass=NullPool)
    store = PostgresStore(engine, ACCOUNT, "custom", "1.2.3", 30.0, SystemClock())
    store.open()
    yield store
    store.close()


def test_status_names_a_degraded_stream_until_its_doubt_is_decided(
    store: PostgresStore, database: str
) -> None:
    line = Line(BookingRules(policy=Policy(epochs_per_hour=0)))
    env = environment("ws://127.0.0.1:1/hub", database, "unused")
    store.write(line.book(line.opened(), line.heard(balances(50)), line.heard(balances(1))))
    degraded = line.book(line.asked("mine"), line.heard(balances(1, client_id="mine")))
    assert outcomes(degraded) == ["stale"]
    store.write(degraded)

    shown = json.loads(command("status", "--json", env=env).stdout)
    assert _doubts(shown) == {"balances": ["reset_suspected"], "pairs": []}
    assert any("report.doubt" in problem for problem in shown["problems"])
    assert "in doubt: reset_suspected" in command("status", env=env).stdout

    store.write(line.book(line.asked("again"), line.heard(balances(51, client_id="again"))))
    decided = json.loads(command("status", "--json", env=env).stdout)
    assert _doubts(decided) == {"balances": [], "pairs": []}
    assert not any("report.doubt" in problem for problem in decided["problems"])


def _doubts(shown: dict[str, Any]) -> dict[str, list[str]]:
    return {stream["kind"]: stream["doubts"] for stream in shown["streams"]}
