"""Whom the server runs as, and how its processes are spawned.

Postgres refuses to run as root, so root lends the work to an account that can do nothing else. As anybody
else there is no choice.
"""

import os
import pwd
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ingestor.domain.errors import BadConfiguration

NOBODY = "nobody"

# A clean room: PGPORT, PGOPTIONS, LD_LIBRARY_PATH and the like of the caller must not reach the server.
ENVIRONMENT = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}

Stream = int | IO[bytes]


@dataclass(frozen=True, slots=True)
class Account:
    """An account of this machine; `switch` says that we are root and have to become it."""

    name: str
    uid: int
    gid: int
    switch: bool

    def spawn(
        self,
        arguments: Sequence[str | Path],
        *,
        stdin: Stream = subprocess.DEVNULL,
        stdout: Stream = subprocess.DEVNULL,
        stderr: Stream = subprocess.DEVNULL,
        keep: Sequence[int] = (),
    ) -> subprocess.Popen[bytes]:
        """A child of this account, in a session of its own so that ^C reaches only us; inherits `keep`."""
        return subprocess.Popen(  # noqa: S603 - the program comes from our own search, no shell expands it
            arguments,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=keep,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,
            user=self.uid if self.switch else None,
            group=self.gid if self.switch else None,
            extra_groups=[] if self.switch else None,
        )

    def can(self, *arguments: str | Path) -> bool:
        """Whether a program ends well as this account. The only test of access that knows about ACLs."""
        try:
            with self.spawn(arguments) as child:
                return child.wait() == 0
        except PermissionError:
            return False

    def give(self, path: Path) -> None:
        """Make a directory of ours the account's own, with nobody else let in."""
        if self.switch:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)
        path.chmod(0o700)


def choose_account(run_as: str | None, data: Path) -> Account:
    """The account to run as: ourselves, or when root `run_as`, the owner of existing data, or `nobody`.

    Raises:
        BadConfiguration: no such account, root, not ours to become, or not the owner of the data.
    """
    uid = os.geteuid()
    if uid != 0:
        return _ourselves(uid, run_as)
    owner = data.stat().st_uid if data.exists() else 0
    try:
        entry = pwd.getpwuid(owner) if run_as is None and owner else pwd.getpwnam(run_as or NOBODY)
    except KeyError:
        wanted = run_as or (f"uid {owner}, the owner of {data}," if owner else NOBODY)
        raise BadConfiguration(
            f"Postgres does not run as root, and the account {wanted} to run it as does not exist: "
            "name an existing one that is not root"
        ) from None
    if entry.pw_uid == 0:
        raise BadConfiguration("Postgres does not run as root: name another account to run it as")
    if owner not in {0, entry.pw_uid}:
        raise BadConfiguration(
            f"{data} belongs to uid {owner}, but Postgres is to run as {entry.pw_name}: "
            "name the owner, or take another directory"
        )
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=True)


def _ourselves(uid: int, run_as: str | None) -> Account:
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise BadConfiguration(
            f"uid {uid} has no entry in the passwd database, and Postgres cannot run without one: "
            "run as an account of this machine, or add the entry"
        ) from None
    if run_as not in {None, entry.pw_name}:
        raise BadConfiguration(f"only root can run Postgres as {run_as}; this process is {entry.pw_name}")
    return Account(entry.pw_name, uid, entry.pw_gid, switch=False)
