"""A private Postgres and the process it belongs to: who outlives whom, and what is left."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ingestor.adapters.embedded_postgres import EmbeddedPostgres, address_of_running, remove_leftovers
from ingestor.simulator import HubConfig, SimulatedHub
from tests.integration.test_embedded_postgres import child_on, gone, until
from tests.support.daemon import Daemon, command, environment
from tests.support.postgres import BINARIES, libpq_url, postgres_directory
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def above() -> Iterator[Path]:
    with postgres_directory() as directory:
        directory.chmod(0o711)
        yield directory


def committed(directory: Path) -> int:
    """Records; 0 while there is no server."""
    url = address_of_running(directory)
    if url is None:
        return 0
    try:
        with psycopg.connect(libpq_url(url)) as connection:
            row = connection.execute("SELECT count(*) FROM ingest.raw_event").fetchone()
    except psycopg.Error:
        return 0
    return int(row[0]) if row else 0


def test_a_private_server_that_is_killed_under_a_daemon_is_started_again(above: Path) -> None:
    directory = above / "postgres"
    with SimulatedHub(HubConfig(seed=3, changes_per_second=20)) as hub:
        env = environment(
            hub.url, "", hub.config.api_key, INGESTOR_DATABASE__EMBEDDED_DIRECTORY=str(directory)
        )
        del env["INGESTOR_DATABASE__URL"]
        with Daemon(env) as daemon:
            before = eventually(lambda: committed(directory), within=30)
            postmaster = int((directory / "data" / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGKILL)
            eventually(lambda: committed(directory) > before, within=30)
            assert len(daemon.events("embedded_postgres_started")) == 2
            status = json.loads(command("status", "--json", env=env).stdout)
            assert daemon.terminate() == 0
    assert status["daemon"] == "running"


def test_what_a_killed_process_has_left_is_removed_and_nothing_else(above: Path) -> None:
    killed, alive, starting = (above / f"run-{name}" for name in ("killed", "alive", "starting"))
    for each in (killed, alive, starting):
        each.mkdir(mode=0o711)
    (starting / "postgres").mkdir()
    (starting / "postgres" / "owner.lock").touch()
    with child_on(killed / "postgres") as child:
        child.process.kill()
        child.process.wait()
        until(lambda: gone(child.postmaster_pid), seconds=10, what="postgres followed its parent")
    with EmbeddedPostgres(alive / "postgres", durable=False, binaries=BINARIES):

        def removed() -> bool:
            remove_leftovers(above, "run-*")
            return not killed.exists()

        eventually(removed)
        assert (alive / "postgres" / "data").exists()
        assert starting.exists()
