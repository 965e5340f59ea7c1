"""A server that has no transaction ids left is waited for like one whose disk is full (SQLSTATE class 54)."""

import re
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.embedded_postgres.account import choose_account
from ingestor.adapters.embedded_postgres.binaries import find_binaries
from ingestor.app.database import upgrade_database
from ingestor.simulator import HubConfig, SimulatedHub
from tests.support.daemon import ACCOUNT, Daemon, environment
from tests.support.oracle import judge
from tests.support.postgres import BINARIES
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

DATABASES = ("ingest", "postgres", "template0", "template1")
LEFT = 200
"""Transaction ids before the server refuses: a few seconds of the hub's changes."""
_STOPS_BEFORE = 2**31 - 1 - 3_000_000
_IDS_A_SEGMENT, _SEGMENT_BYTES = 1 << 20, 256 * 1024
"""Of the files that hold whether transactions were committed, two bits each."""


@dataclass(frozen=True)
class UsedUp:
    """A server that has our schema and few transaction ids left.

    A vacuum would free them all, and Postgres begins one by itself, but for one table: its only page is
    damaged, so its old row keeps the ids of the whole server.
    """

    server: EmbeddedPostgres
    page: Path
    undamaged: bytes

    def repair(self) -> None:
        """The page as it was, and a vacuum of everything."""
        # In place: a vacuum of the server's own must at no moment find the table empty.
        with self.page.open("r+b") as file:
            file.write(self.undamaged)
        vacuum(self.server)


@pytest.fixture
def used_up(durable_postgres: Callable[[], EmbeddedPostgres]) -> UsedUp:
    server = durable_postgres()
    upgrade_database(server.ensure_database("ingest"))
    with closing(admin(server, "postgres")) as connection:
        connection.execute("ALTER SYSTEM SET autovacuum = off")
        connection.execute("UPDATE pg_database SET datallowconn = true")
        vacuum(server)
        connection.execute("CREATE TABLE damaged AS SELECT 1 AS id")
        ((path, oldest),) = connection.execute(
            "SELECT pg_relation_filepath('damaged'), min(datfrozenxid::text::bigint) FROM pg_database"
        )
    server.stop()
    page = server.data / path
    undamaged = page.read_bytes()
    page.write_bytes(b"\x01" * len(undamaged))
    start_at(server, oldest + _STOPS_BEFORE - LEFT)
    return UsedUp(server, page, undamaged)


def start_at(server: EmbeddedPostgres, transaction_id: int) -> None:
    segment = server.data / "pg_xact" / f"{transaction_id // _IDS_A_SEGMENT:04X}"
    segment.write_bytes(bytes(_SEGMENT_BYTES))
    owner = choose_account(server.data)
    owner.give(segment)
    program = find_binaries(BINARIES) / "pg_resetwal"
    with owner.spawn(
        [program, "-x", str(transaction_id), server.data], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        said, _ = process.communicate(timeout=30)
    assert process.returncode == 0, said
    server.start()


def admin(server: EmbeddedPostgres, database: str) -> psycopg.Connection:
    return psycopg.connect(server.dsn(database), autocommit=True)


def vacuum(server: EmbeddedPostgres) -> None:
    for name in DATABASES:
        with closing(admin(server, name)) as connection:
            connection.execute("VACUUM (FREEZE, TRUNCATE off)")


def records(server: EmbeddedPostgres) -> int:
    with closing(admin(server, "ingest")) as connection:
        return int(connection.execute("SELECT count(*) FROM ingest.raw_event").fetchall()[0][0])


def test_a_server_without_transaction_ids_is_waited_for_and_costs_nothing(
    used_up: UsedUp, journal: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """C6."""
    server = used_up.server
    config = HubConfig(changes_per_second=50, journal_path=journal, journal_fsync=False, seed=6)
    with (
        SimulatedHub(config) as hub,
        Daemon(environment(hub.url, server.url("ingest"), hub.config.api_key)) as daemon,
    ):
        delayed = eventually(lambda: daemon.events("commit_delayed"), within=30)
        stored = records(server)
        with pytest.raises(psycopg.errors.ProgramLimitExceeded), closing(admin(server, "ingest")) as other:
            other.execute("SELECT pg_current_xact_id()")
        waiting_from = hub.account.sequence
        eventually(lambda: hub.account.sequence > waiting_from + 250, within=20)
        assert daemon.process.poll() is None
        assert records(server) == stored
        assert not daemon.events("commit_resumed")

        used_up.repair()
        began = time.monotonic()
        eventually(lambda: daemon.events("commit_resumed"), within=20)
        seconds = time.monotonic() - began
        eventually(lambda: records(server) > stored + 250, within=20)
        rejected = [*daemon.events("record_rejected"), *daemon.events("event_quarantined")]
        assert daemon.terminate() == 0
    verdict = judge(journal, server.dsn("ingest"), ACCOUNT)
    with capsys.disabled():
        print(
            f"\nno transaction ids, {server_version(server)}: {delayed[0]['error'][:60]!r}; committed "
            f"{seconds:.2f} s after the vacuum; {verdict}"
        )
    with closing(admin(server, "ingest")) as connection:
        letters = connection.execute("SELECT count(*) FROM ingest.dead_letter").fetchall()
        gaps = connection.execute("SELECT cause FROM ingest.gap ORDER BY opened_at").fetchall()

    assert re.match("54000: ", delayed[0]["error"])
    assert rejected == []
    assert letters == [(0,)]
    assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)
    assert gaps == [("before_first_session",), ("stopped",)], "nothing was missed while the daemon ran"


def server_version(server: EmbeddedPostgres) -> str:
    with closing(admin(server, "postgres")) as connection:
        return connection.info.parameter_status("server_version") or "?"
