"""Locks that the kernel releases when their holders end, in whatever way; and what may be removed then."""

import contextlib
import fcntl
import os
import shutil
import threading
from pathlib import Path

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
    for directory in parent.glob(pattern):
        for locks in directory.glob(f"*/{SERVER}"):  # without that one, a start may be under way
            _remove(directory, locks.parent)


def _remove(directory: Path, of_server: Path) -> None:
    with contextlib.suppress(OSError, DirectoryInUse, BadConfiguration), contextlib.ExitStack() as held:
        if directory.is_symlink() or directory.stat().st_uid != os.geteuid():
            return
        for name in (OWNER, SERVER):
            held.callback(os.close, take_lock(of_server / name, wait_seconds=0))
        shutil.rmtree(directory)
