"""Who holds the directory of a server: locks, which the kernel releases when their holders end, in whatever
way, and `postmaster.pid`, by which a server says that it runs, and where.

The lines of `postmaster.pid` are: pid, data directory, start, port, socket directory, listen address, shared
memory, state.
"""

import contextlib
import fcntl
import os
import shutil
import socket
import threading
from pathlib import Path
from urllib.parse import quote

from ingestor.domain.errors import BadConfiguration, Fatal

POLL_SECONDS = 0.01
OWNER, SERVER = "owner.lock", "server.lock"


class DirectoryInUse(Fatal):
    """Another process, or another object of this one, runs a server on this directory."""


def take_lock(path: Path, *, wait_seconds: float) -> int:
    """Take the flock of `path`, made if missing, and give the descriptor that holds it.

    Whoever inherits the descriptor holds the lock too; it is free when all of them closed it.

    Raises:
        DirectoryInUse: somebody else still holds it after `wait_seconds`.
        BadConfiguration: the file cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise BadConfiguration(
            f"{path} cannot be opened ({error.strerror}): take another directory"
        ) from error
    never = threading.Event()
    for _ in range(1 + round(wait_seconds / POLL_SECONDS)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            never.wait(POLL_SECONDS)  # flock has no time-out of its own
        else:
            return descriptor
    holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip()
    os.close(descriptor)
    who = f" by process {holder}" if holder else ""
    raise DirectoryInUse(f"{path.parent} is in use{who}: stop it first, or take another directory")


def sign(descriptor: int) -> None:
    """Write our pid into a lock we hold, for the text of the next one's error."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)


def remove_leftovers(parent: Path, pattern: str) -> None:
    """Remove what servers made for one run leave behind when their process is killed: the directories of this
    account that match, and whose server and its process are gone.

    Args:
        pattern: of directories in `parent`, each with the directory of one `EmbeddedPostgres` in it.
    """
    for lock in parent.glob(f"{pattern}/*/{SERVER}"):  # without that one, a start may be under way
        directory = lock.parents[1]
        with contextlib.suppress(OSError, DirectoryInUse, BadConfiguration), contextlib.ExitStack() as held:
            if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
                continue
            for name in (OWNER, SERVER):
                held.callback(os.close, take_lock(lock.with_name(name), wait_seconds=0))
            shutil.rmtree(directory)


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
