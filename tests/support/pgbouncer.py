"""A real pgbouncer in front of a test's server; skipped where it is not installed."""

import os
import pwd
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import libpq_url, postgres_directory
from tests.support.waiting import eventually


@contextmanager
def pgbouncer(url: str, *, pool_mode: str, **settings: str) -> Iterator[str]:
    """Between us and the database at `url`; gives the URL through it."""
    program = shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")
    if program is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    target = psycopg.conninfo.conninfo_to_dict(libpq_url(url))
    with postgres_directory() as directory, socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
        free.close()
        configuration = {
            "listen_addr": "127.0.0.1",
            "listen_port": str(port),
            "unix_socket_dir": "",
            "auth_type": "any",
            "pool_mode": pool_mode,
            **settings,
        }
        lines = [
            "[databases]",
            f"pooled = host={target['host']} port={target['port']} dbname={target['dbname']} user=postgres",
            "[pgbouncer]",
            *(f"{name} = {value}" for name, value in configuration.items()),
        ]
        file = directory / "pgbouncer.ini"
        file.write_text("\n".join(lines) + "\n")
        with _as_owner_of(Path(str(target["host"])), [program, "-q", str(file)], directory) as process:
            through = f"postgresql+psycopg://postgres@127.0.0.1:{port}/pooled"
            eventually(lambda: _answers(port) or process.poll() is not None)
            assert process.poll() is None, (directory / "log").read_text()
            yield through


@contextmanager
def _as_owner_of(place: Path, arguments: list[str], directory: Path) -> "Iterator[subprocess.Popen[bytes]]":
    """pgbouncer does not run as root either, and must get through to the server's socket."""
    owner = place.stat().st_uid
    directory.chmod(0o755)
    user = pwd.getpwuid(owner).pw_name if os.geteuid() == 0 else None
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(arguments, stdout=log, stderr=log, user=user)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
