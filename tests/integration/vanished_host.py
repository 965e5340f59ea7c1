"""In a network of its own: a client's host vanishes while the server's answer to it is on its way.

Usage: unshare -n python vanished_host.py BINARIES. Prints the seconds until the server has freed the lock.
"""

import pwd
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psycopg

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.domain.errors import IngestorError
from tests.support.postgres import libpq_url, postgres_directory
from tests.support.waiting import eventually

PORT = 5433
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"


def link(state: str) -> None:
    subprocess.run([shutil.which("ip") or "/sbin/ip", "link", "set", "lo", state], check=True)


def hold_and_ask(url: str, holding: threading.Event) -> None:
    session = DatabaseSession(
        url, DatabaseTiming(statement_seconds=60, transaction_seconds=60), DatabaseClock()
    )
    with suppress(IngestorError), session.use() as connection:
        connection.execute("SELECT pg_advisory_lock(1)")
        holding.set()
        connection.execute("SELECT pg_sleep(1), repeat('x', 100)")


def main() -> None:
    with postgres_directory() as directory:
        with EmbeddedPostgres(directory, durable=False, binaries=sys.argv[1]) as server:
            local = libpq_url(server.ensure_database("some"))
        sockets = directory / "s"
        sockets.mkdir()
        owner = (directory / "data").stat().st_uid
        shutil.chown(sockets, owner)
        server_on_tcp = subprocess.Popen(
            [
                *(Path(sys.argv[1]) / "postgres", "-D", directory / "data", "-p", str(PORT)),
                *("--listen_addresses=127.0.0.1", f"--unix_socket_directories={sockets}"),
            ],
            user=pwd.getpwuid(owner).pw_name,
            stderr=subprocess.DEVNULL,
        )
        try:
            eventually((sockets / f".s.PGSQL.{PORT}").exists, within=20)
            eventually(lambda: (directory / "data" / "postmaster.pid").read_text().strip().endswith("ready"))
            measure(local.replace("port=5432", f"port={PORT}"))
        finally:
            server_on_tcp.terminate()
            server_on_tcp.wait()


def measure(local: str) -> None:
    link("up")
    holding = threading.Event()
    client = threading.Thread(
        target=hold_and_ask, args=(f"postgresql://postgres@127.0.0.1:{PORT}/some", holding), daemon=True
    )
    client.start()
    assert holding.wait(20)
    with psycopg.connect(local, autocommit=True) as other:
        link("down")
        began = time.monotonic()
        eventually(lambda: other.execute(LOCKS).fetchone() == (0,), within=60, every=0.1)
        print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    main()
