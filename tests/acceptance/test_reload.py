"""SIGHUP makes a running daemon read its settings again: what can change does, and the rest is named."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ingestor.simulator import Fault, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import Daemon, environment
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

Configure = Callable[..., None]


@pytest.fixture
def configure(tmp_path: Path) -> Configure:
    """Writes the configuration file."""

    def write(more: str = "", key: str = "first") -> None:
        (tmp_path / "ingestor.toml").write_text(f"[hub]\nkey_file = '{tmp_path / key}'\n{more}")

    return write


@pytest.fixture
def daemon(
    hub: SimulatedHub, database: str, sql: Query, tmp_path: Path, configure: Configure
) -> Iterator[Daemon]:
    """Linked, with the defaults; its key comes from a file."""
    for name in ("first", "second"):
        (tmp_path / name).write_text(hub.config.api_key)
        (tmp_path / name).chmod(0o600)
    configure()
    env = environment(hub.url, database, "wrong", INGESTOR_CONFIG=str(tmp_path / "ingestor.toml"))
    with Daemon(env) as running:
        eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE kind = 'balances'"), within=20)
        yield running
        assert running.terminate() == 0, running.log()


def hangs_up(daemon: Daemon, event: str, times: int = 1) -> dict[str, object]:
    """Send SIGHUP; gives the record of this name that follows."""
    daemon.process.send_signal(signal.SIGHUP)
    eventually(lambda: len(daemon.events(event)) == times, within=10)
    return daemon.events(event)[-1]


def test_intervals_and_log_change_without_a_gap_and_the_rest_waits_for_a_restart(
    daemon: Daemon, configure: Configure, sql: Query
) -> None:
    assert daemon.events("batch_committed") == []
    configure(
        "[log]\nlevel = 'debug'\n[writer]\nbatch_max_records = 7\n"
        "[snapshots]\nbalances_interval_seconds = 3\n[retention]\nrequests_days = 30\n"
    )
    said = hangs_up(daemon, "reloaded")
    assert said["changed"] == ["snapshots.balances_interval_seconds", "log.level", "retention.requests_days"]
    (waiting,) = eventually(lambda: daemon.events("restart_needed"))
    assert waiting["settings"] == ["writer.batch_max_records"]

    eventually(lambda: daemon.events("batch_committed"))
    scheduled = "SELECT 1 FROM ingest.request WHERE cause = 'schedule' AND outcome = 'answered'"
    eventually(lambda: len(sql(scheduled)) >= 2, within=20)
    every = "SELECT balances_interval FROM ingest.heartbeat WHERE balances_interval = interval '3 seconds'"
    eventually(lambda: sql(every), within=20)

    assert hangs_up(daemon, "reloaded", 2)["changed"] == []
    assert len(eventually(lambda: daemon.events("restart_needed")[1:])) == 1
    assert sql("SELECT count(*) FROM ingest.session") == [(1,)]


def test_wrong_settings_change_nothing_and_are_named(
    daemon: Daemon, configure: Configure, sql: Query
) -> None:
    configure("[log]\nlevel = 'debug'\nformt = 'json'\n")
    said = hangs_up(daemon, "reload_failed")
    assert said["level"] == "error"
    assert said["error"] == "log.formt: this setting does not exist"
    assert any("did you mean log.format?" in line for line in said["advice"])  # type: ignore[attr-defined]

    configure("[log]\nlevel = 'debug'\n", key="nowhere")
    assert hangs_up(daemon, "reload_failed", 2)["error"] == "the Hercle API key cannot be read"

    committed = sql("SELECT max(sequence) FROM ingest.watermark")
    eventually(lambda: sql("SELECT max(sequence) FROM ingest.watermark") > committed)
    assert daemon.events("batch_committed") == [], "the log's level has changed"
    assert daemon.events("reloaded") == []


def test_the_next_connect_uses_the_key_of_another_file(
    daemon: Daemon, configure: Configure, hub: SimulatedHub, tmp_path: Path
) -> None:
    configure(key="second")
    assert hangs_up(daemon, "reloaded")["changed"] == ["hub.key_file"]
    (tmp_path / "first").unlink()
    hub.inject(Fault.RST)
    eventually(lambda: len(daemon.events("link_up")) == 2, within=20)


def test_a_daemon_that_waits_for_its_database_reloads_too(
    hub: SimulatedHub, configure: Configure, tmp_path: Path
) -> None:
    (tmp_path / "first").write_text("a-key")
    (tmp_path / "first").chmod(0o600)
    configure()
    nowhere = "postgresql://nobody@127.0.0.1:1/nothing"
    file = str(tmp_path / "ingestor.toml")
    with Daemon(environment(hub.url, nowhere, "wrong", INGESTOR_CONFIG=file)) as daemon:
        eventually(lambda: daemon.events("database_awaited"), within=20)
        configure("[snapshots]\nbalances_interval_seconds = 30\n")
        assert hangs_up(daemon, "reloaded")["changed"] == ["snapshots.balances_interval_seconds"]
        assert daemon.terminate() == 0, daemon.log()
