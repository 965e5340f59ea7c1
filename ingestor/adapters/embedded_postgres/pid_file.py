"""`postmaster.pid`, by which a server says that it runs, and where.

Its lines are: pid, data directory, start, port, socket directory, listen address, shared memory, state.
"""

import os
import socket
from pathlib import Path
from urllib.parse import quote

from ingestor.adapters.embedded_postgres.locks import DirectoryInUse


def is_ready(pid_file: Path, pid: int) -> bool:
    """Whether the server with this pid takes connections, in its own word."""
    lines = _lines(pid_file)
    return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"


def forget_stale(pid_file: Path) -> None:
    """Let Postgres take over the pid file of a dead server although another process has that pid now.

    It refuses to start if the pid is alive, unless that is its parent's (a rule of its own, for containers):
    so we write ours there. The rest stays, because it names the shared memory that Postgres checks next.

    Raises:
        DirectoryInUse: a server answers there.
    """
    lines = _lines(pid_file)
    if len(lines) < 5:  # none, or died while writing it
        pid_file.unlink(missing_ok=True)
        return
    if not lines[4]:
        return  # not of our making: Postgres decides
    if _answers(lines):
        raise DirectoryInUse(f"{pid_file.parent} is in use by a Postgres with pid {lines[0]}: stop it first")
    descriptor = os.open(pid_file, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join([str(os.getpid()), *lines[1:], ""]))


def address_of_running(directory: Path, database: str = "ingestor") -> str | None:
    """SQLAlchemy's address of a database of the server that runs on this directory, whoever started it.

    None if none runs there.
    """
    lines = _lines(directory.absolute() / "data" / "postmaster.pid")
    if len(lines) < 5 or not _answers(lines):
        return None
    return address(lines[4], lines[3], database).replace("postgresql:", "postgresql+psycopg:", 1)


def address(sockets: str, port: str, database: str) -> str:
    """libpq's address of a database of the server with this socket directory."""
    return f"postgresql://postgres@/{quote(database, safe='')}?host={quote(sockets, safe='/')}&port={port}"


def _lines(pid_file: Path) -> list[str]:
    try:
        return pid_file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return []


def _answers(lines: list[str]) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(f"{lines[4]}/.s.PGSQL.{lines[3]}")
        except OSError as error:
            return isinstance(error, TimeoutError | BlockingIOError | PermissionError)  # there, but busy
    return True
