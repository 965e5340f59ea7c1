"""Whatever refuses a batch, and however it travels: the true error is told, and nothing of it is stored."""

from collections.abc import Iterator

import pytest

from ingestor.adapters.clock import SystemClock
from ingestor.adapters.postgres.engine import DatabaseTiming, make_engine
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.domain.errors import DataRefused, StateMoved
from ingestor.pipeline.batch import Batch
from tests.support.items import balances
from tests.support.line import Line
from tests.support.rows import Query

REFUSALS = {
    "a session elsewhere": ("UPDATE ingest.session SET committed_ordinal = 5", StateMoved),
    "a stream elsewhere": ("UPDATE ingest.watermark SET sequence = 0", StateMoved),
    "a row": ("ALTER TABLE ingest.balance ADD CHECK (available < 3)", DataRefused),
    "a rare row": ("ALTER TABLE ingest.command ADD CHECK (account = '') NOT VALID", DataRefused),
    "the commit": (
        """CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON ingest.outcome DEFERRABLE INITIALLY DEFERRED
           FOR EACH ROW EXECUTE FUNCTION refuse()""",
        DataRefused,
    ),
}
WAYS = {"one statement": (3, 1), "a pipeline": (3, 2), "COPY": (150, 1), "COPY and a gap": (150, 2)}
"""Events, and the step from one sequence to the next: a skip is a gap row."""


@pytest.fixture
def store(database: str, sql: Query) -> Iterator[PostgresStore]:
    sql("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE check_violation; END'")
    made = PostgresStore(make_engine(database, DatabaseTiming()), "main", "custom", "0", 30, SystemClock())
    made.open()
    yield made
    made.close()


def following(line: Line, way: str) -> Batch:
    events, step = WAYS[way]
    snapshots = [line.heard(balances(1 + step * n, {"BTC": n})) for n in range(1, events + 1)]
    return line.book(*snapshots, line.asked("why"))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("refusal", REFUSALS)
def test_what_refuses_a_batch_is_told_and_nothing_of_it_is_stored(
    refusal: str, way: str, store: PostgresStore, sql: Query
) -> None:
    line = Line()
    store.write(line.book(line.opened(), line.heard(balances(1, {"BTC": 1}))))
    batch = following(line, way)
    store.pack(batch)
    statement, error = REFUSALS[refusal]
    sql(statement)

    with pytest.raises(error):
        store.write(batch)

    assert sql("SELECT count(*) FROM ingest.raw_event") == [(1,)]
    assert sql("SELECT count(*) FROM ingest.command") == [(0,)]
    sql("SELECT 1 FROM ingest.session FOR UPDATE NOWAIT")  # no transaction was left behind


@pytest.mark.parametrize("way", WAYS)
def test_a_batch_that_is_stored_is_held_and_refused_a_second_time(way: str, store: PostgresStore) -> None:
    line = Line()
    store.write(line.book(line.opened(), line.heard(balances(1, {"BTC": 1}))))
    batch = following(line, way)
    assert not store.holds(batch)

    store.write(batch)

    assert store.holds(batch)
    with pytest.raises(StateMoved):
        store.write(batch)
