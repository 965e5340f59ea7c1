"""The database commands of the operator's guide do what it says, on a real server."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ingestor.adapters.embedded_postgres.binaries import find_binaries
from ingestor.app.database import upgrade_database
from tests.support.daemon import ROOT
from tests.support.postgres import BINARIES, libpq_url, postgres_directory, server_under_test

pytestmark = pytest.mark.slow

GUIDE = (ROOT / "deploy" / "README.md").read_text()


@pytest.fixture
def url() -> Iterator[str]:
    """Of the database `ingestor` on a server of this test's own, because roles belong to the whole server."""
    with postgres_directory() as directory, server_under_test(directory) as server:
        yield server.url("ingestor")


def commands(section: str, program: str, url: str, cwd: Path) -> None:
    """Run the commands of a section that begin with this program, as the superuser."""
    text = GUIDE.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    found = re.findall(rf"(?m)^((?:ingestor .* \| )?)runuser -u postgres -- ({program} .*)$", text)
    assert found
    target = psycopg.conninfo.conninfo_to_dict(libpq_url(url))
    for each in found:
        done = subprocess.run(
            ["sh", "-c", "".join(each).replace("ingestor db", f"{sys.executable} -m ingestor db")],
            env={
                "PATH": f"{find_binaries(BINARIES)}:{os.defpath}",
                "PYTHONPATH": str(ROOT),
                "PGHOST": str(target["host"]),
                "PGPORT": str(target["port"]),
                "PGUSER": "postgres",
            },
            cwd=cwd,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, (each, done.stderr)


def test_an_install_a_backup_and_a_restore_as_the_guide_has_them(url: str, tmp_path: Path) -> None:
    commands("First account", "createdb", url, tmp_path)
    commands("First account", "psql", url, tmp_path)
    upgrade_database(url.replace("//postgres@", "//ingestor-migrator@"))
    commands("First account", "psql", url, tmp_path)
    (grant,) = re.findall(r"```sql\n(GRANT ingestor_analyst [^`]*)```", GUIDE)
    libpq = libpq_url(url)
    with psycopg.connect(libpq, autocommit=True) as admin:
        admin.execute("CREATE ROLE alice LOGIN")
        admin.execute(grant.encode())
    with psycopg.connect(libpq.replace("//postgres@", "//ingestor@"), autocommit=True) as daemon:
        daemon.execute("INSERT INTO ingest.account VALUES ('kept', 'custom', now())")

    commands("Back up and restore", "pg_dump", url, tmp_path)
    commands("Back up and restore", "dropdb", url, tmp_path)
    commands("Back up and restore", "createdb", url, tmp_path)
    commands("Back up and restore", "pg_restore", url, tmp_path)
    commands("Back up and restore", "psql", url, tmp_path)

    with psycopg.connect(libpq.replace("//postgres@", "//ingestor@"), autocommit=True) as daemon:
        assert daemon.execute("SELECT account FROM ingest.account").fetchall() == [("kept",)]
        daemon.execute("INSERT INTO ingest.account VALUES ('another', 'custom', now())")
    with psycopg.connect(libpq.replace("//postgres@", "//alice@"), autocommit=True) as analyst:
        (gaps,) = re.findall(r"```sql\n(SELECT [^`]*report\.gap[^`]*)```", GUIDE)
        assert analyst.execute(gaps.encode()).fetchall() == []
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            analyst.execute("SELECT 1 FROM ingest.raw_event")
        assert analyst.execute("SHOW statement_timeout").fetchall() == [("1min",)]
