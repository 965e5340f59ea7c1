"""Below the limits nothing is lost, however fast or large it comes; above them head and SHA-256 are kept.

Invariants I1, I13.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ingestor.simulator import HubConfig, SimulatedHub
from tests.acceptance.conftest import Query
from tests.acceptance.test_content import END, good
from tests.support.daemon import Daemon, environment
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

MIB = 1024 * 1024


@pytest.fixture
def quiet_hub() -> Iterator[SimulatedHub]:
    with SimulatedHub(HubConfig(seed=5, ping_interval_s=1.0)) as hub:
        yield hub


@pytest.fixture
def daemon(quiet_hub: SimulatedHub, database: str, sql: Query) -> Iterator[Daemon]:
    more = {"INGESTOR_HUB__RECEIVE_DEADLINE_SECONDS": "15"}
    with Daemon(environment(quiet_hub.url, database, quiet_hub.config.api_key, **more)) as running:
        eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'pairs'"), within=20)
        yield running
        assert running.terminate() == 0, running.log()


def _peak(daemon: Daemon) -> float:
    """High-water number of resident memory, MiB."""
    status = Path(f"/proc/{daemon.process.pid}/status")
    try:
        with status.open() as lines:
            return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    except FileNotFoundError:  # not Linux: the current size has to do
        return float(psutil.Process(daemon.process.pid).memory_info().rss) / MIB


def test_twenty_thousand_events_in_a_burst(
    quiet_hub: SimulatedHub, daemon: Daemon, sql: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    quiet_hub.burst(20_000)
    eventually(lambda: sql("SELECT count(*) FROM ingest.raw_event")[0][0] >= 20_002, within=60)
    with capsys.disabled():
        print(f"\nburst of 20,000: peak memory {_peak(daemon):.0f} MiB")

    assert sql("SELECT sequence FROM ingest.watermark WHERE kind = 'balances'") == [
        (quiet_hub.account.sequence,)
    ]
    assert sql("SELECT sum(dropped_records) FROM ingest.session") == [(0,)]
    assert sql("SELECT * FROM report.unaccounted") == []


def test_a_ten_megabyte_frame_of_small_records(
    quiet_hub: SimulatedHub, daemon: Daemon, sql: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [good(n) for n in range(1, 30_001)]
    frame = END.join(records) + END
    assert len(frame) > 10 * MIB
    quiet_hub.send_raw(frame)
    eventually(
        lambda: sql("SELECT sequence FROM ingest.watermark WHERE user_id = 'content'") == [(30_000,)],
        within=60,
    )
    with capsys.disabled():
        print(f"\none frame of {len(frame) / MIB:.1f} MiB: peak memory {_peak(daemon):.0f} MiB")

    assert sql("SELECT count(*) FROM ingest.event_outcome WHERE user_id = 'content'") == [(30_000,)]
    assert sql("SELECT count(*) FROM ingest.session") == [(1,)]


@pytest.mark.parametrize("megabytes", [10, 100])
def test_a_record_above_the_limit_keeps_its_head_and_its_digest(
    megabytes: int, quiet_hub: SimulatedHub, daemon: Daemon, sql: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    record = b'{"type":1,"target":"executionEvents","arguments":["' + b"x" * (megabytes * MIB) + b'"]}'
    quiet_hub.send_raw(record + END)
    quiet_hub.send_raw(good(1) + END)
    eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE user_id = 'content'"), within=60)
    with capsys.disabled():
        print(f"\none record of {megabytes} MiB: peak memory {_peak(daemon):.0f} MiB")

    ((size, sha256, head),) = sql(
        "SELECT size, sha256, raw FROM ingest.raw_event JOIN ingest.dead_letter "
        "USING (account, session_id, ordinal, received_at) WHERE reason = 'too_large'"
    )
    with_terminator = size - len(record)
    assert with_terminator in {0, 1}, "the size on the wire"
    assert bytes(sha256) == hashlib.sha256(record + END[:with_terminator]).digest()
    assert record.startswith(bytes(head))
    assert sql("SELECT count(*) FROM ingest.session") == [(1,)]
