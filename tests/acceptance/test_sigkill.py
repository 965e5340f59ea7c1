"""SIGKILL at random moments under load: no doubled effect, no loss without a gap, nothing gone back.

Invariants I1, I2, I3, I4.
"""

import random
import secrets
import statistics
import time
from pathlib import Path

import pytest

from ingestor.simulator import HubConfig, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, Daemon, environment
from tests.support.oracle import judge
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

KILLS = 20


@pytest.mark.timeout(400)
def test_twenty_kills(database: str, sql: Query, journal: Path, capsys: pytest.CaptureFixture[str]) -> None:
    seed = secrets.randbits(32)
    rng = random.Random(seed)
    recoveries: list[float] = []
    config = HubConfig(changes_per_second=200, journal_path=journal, journal_fsync=False, seed=seed)
    with SimulatedHub(config) as hub:
        env = environment(hub.url, database, hub.config.api_key)
        numbers = [(0, 0, 0)]
        for _ in range(KILLS):
            answered = _answered(sql)
            with Daemon(env) as daemon:
                recoveries.append(_fresh_snapshots(sql, answered))
                hub.burst(rng.randrange(50, 400), records_per_frame=rng.choice([1, 20]))
                time.sleep(rng.uniform(0.0, 0.1))  # the random moment itself, not a wait for anything
                daemon.kill()
            (number,) = sql("SELECT epoch, sequence, revision FROM ingest.watermark WHERE kind = 'balances'")
            assert number >= numbers[-1], "the watermark went back"
            numbers.append(number)
        answered = _answered(sql)
        with Daemon(env) as daemon:
            _fresh_snapshots(sql, answered)
            eventually(lambda: not sql("SELECT 1 FROM ingest.gap WHERE ended_at IS NULL"), within=30)
            assert daemon.terminate() == 0
    verdict = judge(journal, libpq_url(database), ACCOUNT)
    with capsys.disabled():
        print(
            f"\n{KILLS} kills, seed {seed}: {verdict}; start to fresh snapshot "
            f"p50 {statistics.median(recoveries):.2f} s, max {max(recoveries):.2f} s"
        )

    assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)
    assert verdict.covered > 0, "no kill has ever cost a record: the load was too light to prove anything"
    assert sql("SELECT count(*) FROM ingest.gap WHERE kind = 'unclean_end' AND ended_at IS NOT NULL") == [
        (KILLS,)
    ]
    assert sql("SELECT count(*) FROM ingest.session WHERE ending = 'unclean'") == [(KILLS,)]
    assert sql("SELECT max(epoch) FROM ingest.epoch") == [(1,)]
    doubled = "GROUP BY kind, user_id, epoch, sequence, revision HAVING count(*) > 1"
    assert sql(f"SELECT 1 FROM ingest.version {doubled}") == []

    assert sql("SELECT * FROM report.unaccounted") == []


def _answered(sql: Query) -> int:
    (count,) = sql("SELECT count(*) FROM ingest.request WHERE outcome = 'answered'")[0]
    return int(count)


def _fresh_snapshots(sql: Query, answered: int) -> float:
    """Wait until both link-up commands are answered and committed; gives the seconds it took."""
    began = time.monotonic()
    eventually(lambda: _answered(sql) >= answered + 2, within=30)
    return time.monotonic() - began
