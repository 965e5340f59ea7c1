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

from ingestor.adapters.embedded_postgres.directory import OWNER
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


def choose_account(data: Path) -> Account:
    """The account to run as: ourselves, or when root the owner of existing data, or `nobody`.

    Raises:
        BadConfiguration: there is no such account.
    """
    uid = os.geteuid()
    owner = data.stat().st_uid if uid == 0 and data.exists() else uid
    try:
        entry = pwd.getpwuid(owner) if owner else pwd.getpwnam(NOBODY)
    except KeyError:
        who = f"uid {owner}" if owner else NOBODY
        raise BadConfiguration(
            f"{who} has no entry in the passwd database, and Postgres cannot run without one: "
            "run as an account of this machine, or add the entry"
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, switch=uid == 0)


def take_over(directory: Path, account: Account) -> None:
    """Make the directory, or make sure that it is empty or ours, and that the account can pass through it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in directory.iterdir()}
        if names and OWNER not in names:
            raise BadConfiguration(f"{directory} holds something else: name an empty or a new directory")
        directory.chmod(0o711 if account.switch else 0o700)
    except OSError as error:
        raise BadConfiguration(f"{directory} cannot be used: {error}") from error
    if not account.can("/bin/sh", "-c", 'cd "$1"', "sh", directory):
        raise BadConfiguration(
            f"the account {account.name}, which Postgres runs as, cannot enter {directory}: "
            "a directory above it is closed to others. Take another one, like one below /var/tmp"
        )
