"""The server process: started, watched, stopped. The theory is in the package's own docstring."""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Self

import psycopg
import structlog
from psycopg import sql

from ingestor.adapters.embedded_postgres.account import Account, choose_account, take_over
from ingestor.adapters.embedded_postgres.binaries import AUTO, find_binaries, version_of, within_reach
from ingestor.adapters.embedded_postgres.directory import (
    OWNER,
    POLL_SECONDS,
    SERVER,
    address,
    forget_stale,
    is_ready,
    sign,
    take_lock,
)
from ingestor.domain.errors import BadConfiguration, Fatal

PORT = "5432"  # only names the socket file; always given, lest a PGPORT changes one side of it
LONGEST_SOCKET_PATH = 103  # bytes: the limit is 107 on Linux, 103 on macOS
START_SECONDS = 60  # crash recovery included
STOP_SECONDS = 20
LOG_TAIL_CHARS = 600
LOG_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW

NOT_DURABLE = MappingProxyType({"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"})

# The pid goes into the pipe before the shell turns into postgres: there is no moment at which our death
# leaves a server that the watcher does not know.
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

    exit_code = 75  # a full disk is the most frequent reason, and passes

    def __init__(self, what: str, log_file: Path) -> None:
        said = " ".join(log_file.read_text(errors="replace")[-LOG_TAIL_CHARS:].split())
        super().__init__(
            f"the private Postgres cannot be started: {what}\nwhy: the end of its log is: {said}\n"
            f"fix: repair that, and make sure that the disk is not full; the whole log is {log_file}"
        )


class EmbeddedPostgres:
    """One server on one directory: `with EmbeddedPostgres(path) as server: use(server.ensure_database())`.

    Args:
        directory: made if missing; must be empty, or have been used for this before.
        durable: False is for tests only: a killed server may lose its last commits.
        settings: further settings of postgres (`-c name=value`); they cannot open a TCP port.
        binaries: "wheel", "system", a directory that holds initdb and postgres, or "auto": the first found.
    """

    def __init__(
        self,
        directory: Path,
        *,
        durable: bool = True,
        settings: Mapping[str, str] = MappingProxyType({}),
        binaries: str | Path = AUTO,
    ) -> None:
        self.directory = directory.absolute()
        self.data = self.directory / "data"
        self.log_file = self.directory / "server.log"
        self._pid_file = self.data / "postmaster.pid"
        self._durable = durable
        self._settings = {**({} if durable else NOT_DURABLE), **settings}
        self._binaries = binaries
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

    def url(self, database: str = "ingestor") -> str:
        """SQLAlchemy's address of a database of this server, whether or not that exists."""
        return self.dsn(database).replace("postgresql:", "postgresql+psycopg:", 1)

    def dsn(self, database: str = "ingestor") -> str:
        """The same address for psycopg and psql."""
        if self._socket_directory is None:
            raise Fatal(f"the server on {self.directory} is not started")
        return address(str(self._socket_directory), PORT, database)

    def ensure_database(self, database: str = "ingestor") -> str:
        """Create the database unless it exists; gives its `url`."""
        create = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database))
        with (
            contextlib.suppress(psycopg.errors.DuplicateDatabase),
            psycopg.connect(self.dsn("postgres"), autocommit=True) as connection,
        ):
            connection.execute(create)
        return self.url(database)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
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
        version, major = version_of(binaries)
        account = choose_account(self.data)
        take_over(self.directory, account)
        sign(self._lock(OWNER, wait_seconds=0))
        # The server of a killed predecessor may be on its way down, as long as its watcher allows.
        lock = self._lock(SERVER, wait_seconds=STOP_SECONDS + 5)
        binaries = within_reach(binaries, account, self.directory / f"postgres-{version}")
        if self.log_file.exists():
            self.log_file.replace(self.log_file.with_name("server.log.1"))
        if not (self.data / "PG_VERSION").exists():
            self._initialise(binaries, account, lock)
        if (of := (self.data / "PG_VERSION").read_text().strip()) != str(major):
            raise BadConfiguration(
                f"{self.data} was made by Postgres {of}, but {binaries} is {version}: "
                f"use the programs of {of}, take another directory, or bring the data over "
                "(deploy/README.md, The private Postgres)"
            )
        forget_stale(self._pid_file)
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
        # Checksums are the default of some versions only, and pg_upgrade wants both sides to agree.
        options = ["-U", "postgres", "-E", "UTF8", "--no-locale", "-A", "trust", "--data-checksums"]
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
            raise StartFailed(f"initdb ended with {code}", self.log_file)
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
        postgres: list[str | Path] = [binaries / "postgres", "-D", self.data, "-p", PORT, *options]
        command: list[str | Path] = ["/bin/sh", "-c", LAUNCH, "sh", *postgres]
        with self._open_log() as said:
            server = account.spawn(command, stdout=writer, stderr=said, keep=[lock])
        self._held.callback(_shut_down, server, watcher)
        return server

    def _await_ready(self, server: subprocess.Popen[bytes]) -> None:
        for _ in range(round(START_SECONDS / POLL_SECONDS)):
            if is_ready(self._pid_file, server.pid):
                return
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = server.wait(POLL_SECONDS)
                raise StartFailed(f"postgres ended with {code}", self.log_file)
        raise StartFailed(f"postgres was not ready after {START_SECONDS} s", self.log_file)

    def _open_log(self) -> IO[bytes]:
        return os.fdopen(os.open(self.log_file, LOG_FLAGS, 0o600), "ab")


def _shut_down(server: subprocess.Popen[bytes], watcher: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGINT)
    _end(watcher)  # before the server is reaped: then its pid may belong to anybody
    for harder in (signal.SIGQUIT, signal.SIGKILL):
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_SECONDS)
        server.send_signal(harder)  # nothing, once it has ended
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
