"""The store reads the database's clock when it connects and with each heartbeat; it records steps."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import structlog
from structlog.testing import LogCapture

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.pipeline.ports import Heartbeat
from tests.support.batches import START, make_store
from tests.support.rows import Query


class Host:
    """A host whose wall clock is set by the test."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self.clock = DatabaseClock(lambda: datetime.now(UTC) + self.ahead)


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def logs() -> Iterator[LogCapture]:
    captured = LogCapture()
    before = structlog.get_config()["processors"]
    structlog.configure(processors=[captured])
    yield captured
    structlog.configure(processors=before)


@pytest.fixture
def store(database: str, host: Host) -> Iterator[PostgresStore]:
    made = make_store(database, host.clock)
    made.open()
    yield made
    made.close()


def heartbeat(store: PostgresStore, host: Host) -> None:
    interval = timedelta(seconds=60)
    store.heartbeat(
        Heartbeat(
            process_id=UUID(int=1),
            pid=1,
            host="h",
            started_at=host.clock.now(),
            link_state="up",
            connection_error=None,
            last_message_at=None,
            inbox_records=0,
            inbox_bytes=0,
            dropped_records=0,
            balances_interval=interval,
            pairs_interval=interval,
            clock_offset_seconds=host.clock.offset_seconds,
        )
    )


@pytest.mark.parametrize("ahead", [timedelta(seconds=40), timedelta(seconds=-90)])
def test_two_hosts_that_disagree_on_the_time_make_no_difference(
    ahead: timedelta, database: str, host: Host, sql: Query
) -> None:
    """C10: the daemon's host and the database's 40 s apart, then 90 s the other way."""
    host.ahead = ahead
    store = make_store(database, host.clock)
    assert store.open().account_since is not None
    heartbeat(store, host)
    store.close()

    ((since_start, since_beat, offset, alive),) = sql(
        "SELECT extract(epoch FROM clock_timestamp() - h.started_at)::float8, "
        "extract(epoch FROM clock_timestamp() - h.heartbeat_at)::float8, h.clock_offset_seconds, f.is_alive "
        "FROM ingest.heartbeat AS h JOIN report.freshness AS f USING (account) LIMIT 1"
    )
    assert 0 <= since_start < 20
    assert 0 <= since_beat < 20
    assert offset == pytest.approx(ahead.total_seconds(), abs=0.5)
    assert alive
    assert sql("SELECT abs(extract(epoch FROM now() - created_at)) < 20 FROM ingest.account") == [(True,)]


def test_a_step_of_the_hosts_clock_is_recorded_and_logged(
    store: PostgresStore, host: Host, sql: Query, logs: LogCapture
) -> None:
    heartbeat(store, host)
    host.ahead = timedelta(hours=1)
    heartbeat(store, host)
    heartbeat(store, host)
    host.ahead = timedelta(0)
    heartbeat(store, host)

    steps = sql(
        "SELECT clock, step_seconds, noticed_at BETWEEN now() - interval '1 minute' AND now() "
        "FROM report.clock_step ORDER BY noticed_at"
    )
    assert [(clock, round(seconds), recent) for clock, seconds, recent in steps] == [
        ("host", 3600, True),
        ("host", -3600, True),
    ]
    assert [each["event"] for each in logs.entries if each["event"].startswith("clock")] == [
        "clock_stepped",
        "clock_offset_large",
        "clock_stepped",
    ]


def test_a_connection_that_is_made_anew_reads_the_clock(store: PostgresStore, host: Host, sql: Query) -> None:
    """A failover to a server whose clock is another: its first answer says so, whatever is written first."""
    host.clock.synchronise(
        START, *(host.clock.monotonic(),) * 2
    )  # as if the server before had been months behind
    sql(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with pytest.raises(Exception, match="connection"):
        store.open()
    store.open()

    ((clock, seconds),) = sql("SELECT clock, step_seconds FROM report.clock_step")
    assert clock == "database"
    assert timedelta(seconds=seconds) > timedelta(days=30)
