"""The files that `ingestor install` places on a machine without the Debian package, and `ingestor uninstall`
removes.

The software itself stays in the virtual environment into which pip has installed it. Both commands plan only
the differences from the present state of the machine, so they can be run again at any time.
"""

import os
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path

from ingestor.adapters.postgres.roles import MIGRATOR, PRUNER, ROLES, WRITER
from ingestor.domain.errors import BadConfiguration

NAME = "hercle-ingestor"
WHERE_LOOKED_FOR = {
    "man/ingestor.1": "man/man1/ingestor.1",
    "completions/ingestor.bash": "bash-completion/completions/ingestor",
    "completions/_ingestor": "zsh/vendor-completions/_ingestor",
    "completions/ingestor.fish": "fish/vendor_completions.d/ingestor.fish",
}
"""The directory in which man or a shell looks for each shipped file, below `share`."""

_OF_THE_PACKAGE = "/opt/ingestor/venv/bin/ingestor"
"""The program that the unit files start."""
_UNITS = "/etc/systemd/system"
_SETTINGS = "/etc/ingestor"
_USERS = (WRITER, MIGRATOR, PRUNER)
_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - nothing is made there
"""Directories that ProtectHome= and PrivateTmp= hide from the units."""
_ENABLED = (f"{_UNITS}/multi-user.target.wants", f"{_UNITS}/timers.target.wants")
_STAMPS = "/var/lib/systemd/timers"
"""Stamps of systemd with the last run of each timer."""
SHARED = (
    *("/usr/local/bin", "/usr/local/share", "/usr/local/share/man", "/usr/share"),
    *("/etc", _UNITS, *_ENABLED, _STAMPS),
)
"""Shared directories, which are kept even if they become empty."""
_POSTGRES = "runuser -u postgres --"


class Action(StrEnum):
    """What is done with a path."""

    CREATE = "create"
    REPLACE = "replace"
    UNCHANGED = "unchanged"
    """It exists with this content."""
    REMOVE = "remove"
    KEEP = "keep"
    """It was edited, or is of another program: not changed."""


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file or link."""

    path: str
    action: Action
    mode: str | None = None
    """Octal; null for a link, and for a path that is removed."""
    link_to: str | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """All actions of a command, in this order."""

    root: str
    """`/`, or the directory with the file tree of an image; then no command is run."""
    before: list[str]
    """Shell commands that are run first."""
    files: list[PlannedFile]
    users: list[str]
    """Users that systemd creates while a unit runs; none of them remains."""
    roles: list[str]
    """Roles of the database server."""
    after: list[str]
    """Shell commands that are run last."""
    by_hand: list[str]
    """Commands that the operator must run."""


@dataclass(frozen=True, slots=True)
class InstallFile:
    """A file or link to place."""

    path: str
    content: bytes = b""
    link_to: str | None = None
    edited_by_hand: bool = False


def plan_install(root: Path, *, local_database: bool) -> Plan:
    """Plan an installation.

    Args:
        root: the directory to use as `/`.
        local_database: also create database and roles, with PostgreSQL on the same machine.

    Raises:
        BadConfiguration: the units could not read the virtual environment, or the Debian package is
            installed.
        FileExistsError: the path of a link is taken by something that is not a link.
    """
    planned = [_planned(root, each) for each in install_files(root, local_database=local_database)]
    units_differ = any(
        each.path.startswith(_UNITS) and each.action in {Action.CREATE, Action.REPLACE} for each in planned
    )
    return Plan(
        root=str(root),
        before=[],
        files=planned,
        users=list(_USERS),
        roles=list(ROLES) if local_database else [],
        after=[
            *(["systemctl daemon-reload"] if units_differ else []),
            *(_DATABASE if local_database else []),
        ],
        by_hand=[
            f"editor {_SETTINGS}/main.toml",
            *([] if local_database else [_DATABASE_BY_HAND]),
            f"install -m 0600 /dev/null {_SETTINGS}/main.key && editor {_SETTINGS}/main.key",
            f"systemctl enable --now {NAME}@main",
        ],
    )


def plan_uninstall(root: Path, *, purge: bool, drop_database: bool) -> Plan:
    """Plan the removal of an installation.

    Args:
        root: the directory to use as `/`.
        purge: also remove edited settings, keys, passwords and drop-ins.
        drop_database: also drop the local database `ingestor` with all its data, and the roles.

    Raises:
        BadConfiguration: the Debian package is installed.
    """
    placed = list(install_files(root, local_database=True))
    enabled = sorted(each for wants in _ENABLED for each in at(root, wants).glob(f"{NAME}*@*"))
    planned = [
        *(PlannedFile(inside(root, each), Action.REMOVE) for each in enabled),
        *(_leaving(root, each, purge=purge) for each in placed if os.path.lexists(at(root, each.path))),
    ]
    if purge:
        known = {each.path for each in planned}
        found = [
            *(each for each in at(root, _SETTINGS).rglob("*") if each.is_symlink() or not each.is_dir()),
            *at(root, _UNITS).glob(f"{NAME}*@*.d/*"),
            *at(root, _STAMPS).glob(f"stamp-{NAME}*@*"),
        ]
        paths = sorted({inside(root, each) for each in found} - known)
        planned += [PlannedFile(path, Action.REMOVE) for path in paths]
    drops = [f"{_POSTGRES} dropdb --if-exists ingestor"]
    drops += [f"{_POSTGRES} dropuser --if-exists {role}" for role in ROLES]
    return Plan(
        root=str(root),
        before=[f"systemctl stop '{NAME}*@*.timer' '{NAME}*@*.service'"],
        files=planned,
        users=[],
        roles=list(ROLES) if drop_database else [],
        after=["systemctl daemon-reload", *(drops if drop_database else [])],
        by_hand=[f"rm -r {_environment(root)}", *([] if drop_database else drops)],
    )


def install_files(root: Path, *, local_database: bool) -> Iterator[InstallFile]:
    """All files and links that `install` places."""
    venv, shared = _environment(root), _shipped()
    program = f"{venv}/bin/ingestor"
    yield InstallFile("/usr/local/bin/ingestor", link_to=program)
    yield InstallFile(f"/usr/share/{NAME}", link_to=inside(root, shared))
    for name, place in WHERE_LOOKED_FOR.items():
        local = place.replace("zsh/vendor-completions", "zsh/site-functions")  # its name below /usr/local
        yield InstallFile(f"/usr/local/share/{local}", (shared / name).read_bytes())
    for unit in sorted((shared / "systemd").glob("*@.*")):
        text = unit.read_text().replace(_OF_THE_PACKAGE, program.replace("%", "%%"))
        yield InstallFile(f"{_UNITS}/{unit.name}", text.encode())
        if local_database and unit.suffix == ".service":
            drop_in = shared / "systemd" / "drop-ins" / "peer-authentication.conf"
            path = f"{_UNITS}/{unit.name}.d/{drop_in.name}"
            yield InstallFile(path, drop_in.read_bytes(), edited_by_hand=True)
    yield InstallFile(f"{_SETTINGS}/main.toml", (shared / "main.toml").read_bytes(), edited_by_hand=True)


def _shipped() -> Path:
    """The directory of files other than Python: of the installed package, or of a checkout."""
    checkout = Path(str(files("ingestor"))).parent / "deploy"
    return (
        checkout if (checkout / "main.toml").is_file() else Path(sysconfig.get_path("data")) / "share" / NAME
    )


def _environment(root: Path) -> str:
    """The virtual environment's path on the machine."""
    if (root / "usr/lib/systemd/system" / f"{NAME}@.service").exists():
        raise BadConfiguration(
            f"the Debian package {NAME} is installed\n"
            "why: files of `ingestor install` would override those of the package\n"
            f"fix: use apt-get, or `apt-get purge {NAME}` first"
        )
    path = inside(root, Path(sys.prefix))
    if sys.prefix == sys.base_prefix or path.startswith(tuple(f"{each}/" for each in _HIDDEN)):
        raise BadConfiguration(
            f"the units could not start {path}/bin/ingestor\n"
            f"why: it must be in a virtual environment, and not below {', '.join(_HIDDEN)}\n"
            "fix: install it into /opt/ingestor/venv, as the operator's guide says"
        )
    return path


def inside(root: Path, path: Path) -> str:
    """A path of this machine as seen with `root` as `/`."""
    return f"/{path.relative_to(root)}" if path.is_relative_to(root) else str(path)


def at(root: Path, path: str) -> Path:
    return root / path.removeprefix("/")


def _planned(root: Path, file: InstallFile) -> PlannedFile:
    there = at(root, file.path)
    mode = None if file.link_to else "0644"
    if not os.path.lexists(there):
        action = Action.CREATE
    elif _is_in_place(there, file):
        action = Action.UNCHANGED
    elif file.link_to is not None and not there.is_symlink():
        raise FileExistsError(17, "it is not a link, and so not of ingestor", str(there))
    else:
        action = Action.KEEP if file.edited_by_hand else Action.REPLACE
    return PlannedFile(file.path, action, mode, file.link_to)


def _leaving(root: Path, file: InstallFile, *, purge: bool) -> PlannedFile:
    there = at(root, file.path)
    ours = _is_in_place(there, file)
    if file.link_to is None:
        ours = ours or purge or not file.edited_by_hand
    return PlannedFile(file.path, Action.REMOVE if ours else Action.KEEP)


def _is_in_place(there: Path, file: InstallFile) -> bool:
    if file.link_to is not None:
        return there.is_symlink() and str(there.readlink()) == file.link_to
    return there.is_file() and not there.is_symlink() and there.read_bytes() == file.content


_DATABASE_BY_HAND = f"editor /usr/share/{NAME}/README.md   # First account, Database; or use --local-database"
_EXISTS = "SELECT 1 FROM pg_database WHERE datname = 'ingestor'"
_CREATE = f"{_POSTGRES} createdb -E UTF8 -T template0 ingestor"
_GRANT = f"ingestor db roles | {_POSTGRES} psql -q -d ingestor -v ON_ERROR_STOP=1"
_DATABASE = [
    f'{_POSTGRES} psql -qtAc "{_EXISTS}" | grep -q 1 || {_CREATE}',
    _GRANT,
    f"systemctl start {NAME}-migrate@main",
    _GRANT,  # again, because privileges on tables can be granted only once the tables exist
]
"""The commands of the operator's guide."""
