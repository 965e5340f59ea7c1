"""Servers that lose what they have acknowledged: crashed, put back, replaced by a standby that lags."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import psycopg

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from tests.support.postgres import postgres_directory, server_under_test
from tests.support.waiting import eventually


def crash(server: EmbeddedPostgres) -> None:
    """SIGKILL to the server and its children, as by a host that loses power; on return all are gone."""
    postmaster = server.postmaster_pid
    pids = [postmaster, *_children(postmaster)]
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually(lambda: not server.running)
    eventually(lambda: not any(map(_lives, pids[1:])))


def copy_data(server: EmbeddedPostgres, to: Path) -> None:
    """A file-system copy of a server that does not run."""
    subprocess.run(["cp", "-a", server.data, to], check=True)


def put_back(server: EmbeddedPostgres, copy: Path) -> None:
    """The copy in place of the data of a server that does not run."""
    shutil.rmtree(server.data)
    subprocess.run(["cp", "-a", copy, server.data], check=True)


@contextmanager
def standby_of(primary: EmbeddedPostgres) -> Iterator[EmbeddedPostgres]:
    """A running standby that streams from the primary, which is restarted for it."""
    with postgres_directory() as directory:
        primary.stop()
        standby = server_under_test(directory, durable=True)
        copy_data(primary, standby.data)
        (directory / "owner.lock").touch()
        (standby.data / "standby.signal").touch()
        primary.start()
        address = psycopg.conninfo.conninfo_to_dict(primary.dsn())
        conninfo = f"host={address['host']} port={address['port']} user=postgres"
        with (standby.data / "postgresql.auto.conf").open("a") as settings:
            settings.write(f"primary_conninfo = '{conninfo}'\n")
        with standby:
            eventually(lambda: _one(primary, "SELECT pid FROM pg_stat_replication"))
            yield standby


@contextmanager
def stalled_replication(primary: EmbeddedPostgres) -> Iterator[None]:
    """The standby gets nothing that is committed in the block."""
    sender = eventually(lambda: _one(primary, "SELECT pid FROM pg_stat_replication"))
    assert isinstance(sender, int)
    os.kill(sender, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(sender, signal.SIGCONT)


def promote(standby: EmbeddedPostgres) -> None:
    """It is a primary on return."""
    assert _one(standby, "SELECT pg_promote()")


def url_of_both(first: EmbeddedPostgres, second: EmbeddedPostgres, database: str) -> str:
    """One URL that names two hosts, in this order."""
    addresses = [psycopg.conninfo.conninfo_to_dict(each.dsn(database)) for each in (first, second)]
    hosts = ",".join(quote(str(each["host"]), safe="/") for each in addresses)
    ports = ",".join(str(each["port"]) for each in addresses)
    return f"postgresql+psycopg://postgres@/{database}?host={hosts}&port={ports}"


def _one(server: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as connection:
        row = connection.execute(query.encode()).fetchone()
        return None if row is None else row[0]


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _lives(pid: int) -> bool:
    """Zombies are nobody's children any more: init reaps them when it likes."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
