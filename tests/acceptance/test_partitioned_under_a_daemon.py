"""`ingestor db partition` beside a running daemon: it goes on, and loses nothing (I1, I2, I3)."""

from pathlib import Path

import pytest

from ingestor.simulator import SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, Daemon, command, environment
from tests.support.oracle import judge
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


def test_a_daemon_that_writes_meanwhile_loses_nothing(
    hub: SimulatedHub, journal: Path, database: str, sql: Query
) -> None:
    env = environment(hub.url, database, hub.config.api_key)
    parts = "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'ingest.raw_event'::regclass"
    with Daemon(env) as daemon:
        eventually(lambda: sql("SELECT count(*) FROM ingest.raw_event") > [(20,)], within=20)
        hub.burst(500)

        def partitioned() -> bool:
            return command("db", "partition", "--yes", env=env).returncode == 0

        eventually(partitioned, within=60)  # it may have waited for a lock for too long
        hub.burst(2_000)
        eventually(lambda: sql("SELECT count(*) FROM ingest.raw_event") > [(2_500,)], within=30)
        hub.settle()
        assert daemon.terminate() == 0, daemon.log()
        assert daemon.events("watermark_conflict") == []

    assert len(sql(parts)) == 14, "what there was, twelve months, and the rest"
    verdict = judge(journal, libpq_url(database), ACCOUNT)
    assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)
    gaps = sql("SELECT cause FROM ingest.gap ORDER BY opened_at")
    assert gaps == [("before_first_session",), ("stopped",)], "nothing was missed while the daemon ran"
    assert sql("SELECT 1 FROM report.unaccounted") == []
    assert sql("SELECT outcome FROM ingest.outcome WHERE outcome = 'quarantined'") == []
