"""A whole Debian on this machine: its own systemd, PostgreSQL and loopback, and no other network."""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from tests.support.waiting import eventually

RELEASES = {"bookworm": 15, "trixie": 17}
"""Debian 12 and 13, each with its PostgreSQL."""
PACKAGES = "systemd,systemd-sysv,dbus,procps,postgresql,python3,libnss-systemd,ca-certificates"
"""PostgreSQL, and what our package depends on: the machine has no network to get it from."""
_ANSWER_SECONDS = 120
_ONE_AT_A_TIME = Path("/run/lock/ingestor-test-machine")
"""Two machines of one host would share their control groups, and each would kill what the other runs."""


class Impossible(Exception):
    """No such machine can be had here, for a reason that is not our package's."""


def missing() -> str | None:
    """Why no such machine can be started here; None where it can."""
    if os.geteuid() != 0:
        return "needs root"
    for program in ("systemd-nspawn", "mmdebstrap", "nsenter", "dpkg-deb"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: systemd-container, mmdebstrap)"
    return None


def base(directory: Path, release: str) -> Path:
    """The untouched root of a minimal Debian, made once; needs a Debian mirror for that."""
    root = directory / release
    if not root.exists():
        directory.mkdir(parents=True, exist_ok=True)
        fresh = Path(tempfile.mkdtemp(dir=directory))
        try:
            _run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", release, str(fresh))
        except AssertionError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise Impossible(f"there is no Debian to be had: {error}") from error
        fresh.chmod(0o755)
        fresh.rename(root)
    return root


def _run(*command: str, timeout: float = 600) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


class Machine:
    """A running machine; made by `machine()`."""

    def __init__(self, base_root: Path, root: Path, volume: Path, log: Path) -> None:
        self.root = root
        self.postgres_unit = f"postgresql@{RELEASES[base_root.name]}-main.service"
        self._volume = volume
        self._log = log
        self._nspawn: subprocess.Popen[bytes] | None = None
        self.leader = 0
        """The process id, seen from outside, of its systemd."""

    def boot(self) -> None:
        """Start it, and wait until all of its units have started."""
        with self._log.open("ab") as log:
            self._nspawn = subprocess.Popen(
                [
                    *("systemd-nspawn", "--quiet", "--boot", "--directory", str(self.root)),
                    *("--private-network", "--register=no", "--keep-unit", "--console=pipe"),
                    *("--machine=ingestor-test", "--bind", f"{self._volume}:/var/lib/postgresql"),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.leader = eventually(self._find_leader, within=20)
        eventually(lambda: self._state() in {"running", "degraded"}, within=60, every=0.1)

    def _find_leader(self) -> int:
        """Only the last of nspawn's own children becomes systemd; 0 before that."""
        assert self._nspawn is not None
        assert self._nspawn.poll() is None, self._log.read_text()
        listed = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
        if not listed:  # `ps` would list this terminal's processes, and so the systemd of another machine
            return 0
        named = subprocess.run(
            ["ps", "-o", "pid=,comm=", *listed], capture_output=True, text=True, check=False
        )
        pids = [int(line.split()[0]) for line in named.stdout.splitlines() if line.split()[1] == "systemd"]
        return pids[0] if pids else 0

    def _state(self) -> str:
        command = [*self._enter(), "systemctl", "is-system-running"]
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False).stdout.strip()

    def power_off(self) -> None:
        """In good order, as `systemctl poweroff` does it."""
        if self._nspawn is not None:
            os.kill(self.leader, signal.SIGRTMIN + 4)
            self._nspawn.wait(90)
            self._nspawn = None

    def _enter(self) -> list[str]:
        environment = ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "HOME=/root"]
        return ["nsenter", "-t", str(self.leader), "-m", "-u", "-i", "-n", "-p", "-r", "-w", *environment]

    def run(self, *command: str, timeout: float = _ANSWER_SECONDS) -> str:
        """A command inside, as root, to its end; gives its standard output.

        Raises:
            AssertionError: it failed; the text has all it said.
        """
        return _run(*self._enter(), *command, timeout=timeout)

    def shell(self, script: str, timeout: float = _ANSWER_SECONDS) -> str:
        """The same for a line of shell."""
        return self.run("sh", "-euc", script, timeout=timeout)

    def within_network(self) -> list[str]:
        """What a program of this host is prefixed with to find itself at the machine's loopback."""
        return ["nsenter", "-t", str(self.leader), "-n"]

    def show(self, unit: str, name: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", "--value", "--property", name, unit).strip()

    def enlarge_volume(self, size_bytes: int) -> None:
        """Of PostgreSQL, while it runs."""
        _run("mount", "-o", f"remount,size={size_bytes}", str(self._volume))

    @property
    def dsn(self) -> str:
        """Of the database `ingestor`, for this host's root."""
        return f"host=/proc/{self.leader}/root/run/postgresql dbname=ingestor user=root connect_timeout=5"

    def ask(self, query: str, *values: object) -> Any:
        """The first value of the first row; None without a row."""
        with psycopg.connect(self.dsn) as connection:
            row = connection.execute(query.encode(), values).fetchone()
        return None if row is None else row[0]


@contextmanager
def machine(base_root: Path, volume_bytes: int) -> Iterator[Machine]:
    """A machine that forgets everything at the end. Its PostgreSQL has a volume of its own of this size.

    Waits for the end of any other machine.
    """
    with ExitStack() as stack:
        lock = stack.enter_context(_ONE_AT_A_TIME.open("w"))
        fcntl.flock(lock, fcntl.LOCK_EX)
        directory = Path(tempfile.mkdtemp(prefix="ingestor-machine-"))
        stack.callback(shutil.rmtree, directory)
        for name in ("memory", "volume"):
            (directory / name).mkdir()
        try:
            _run("mount", "-t", "tmpfs", "-o", "size=2g,mode=0755", "tmpfs", str(directory / "memory"))
        except AssertionError as error:  # in most containers
            raise Impossible(f"root may not mount here: {error}") from error
        stack.callback(_unmount, directory / "memory")
        size = f"size={volume_bytes},mode=0755"
        _run("mount", "-t", "tmpfs", "-o", size, "tmpfs", str(directory / "volume"))
        stack.callback(_unmount, directory / "volume")
        upper, work, root = (directory / "memory" / name for name in ("upper", "work", "root"))
        for each in (upper, work, root):
            each.mkdir()
        options = f"lowerdir={base_root},upperdir={upper},workdir={work}"
        _run("mount", "-t", "overlay", "-o", options, "overlay", str(root))
        stack.callback(_unmount, root)
        _run("cp", "-a", f"{base_root}/var/lib/postgresql/.", str(directory / "volume"))
        made = Machine(base_root, root, directory / "volume", directory / "console.log")
        stack.callback(made.power_off)
        made.boot()
        yield made


def _unmount(path: Path) -> None:
    for _ in range(20):
        if subprocess.run(["umount", str(path)], capture_output=True, check=False).returncode == 0:
            return
        time.sleep(0.25)
    _run("umount", "--lazy", str(path))
