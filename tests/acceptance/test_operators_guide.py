"""The database commands of the operator's guide do what it says, on a real server."""

import os
import pwd
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql as composed

from ingestor.adapters.embedded_postgres.binaries import find_binaries
from ingestor.app.database import upgrade_database
from ingestor.simulator import SimulatedHub
from tests.support.daemon import ROOT, environment
from tests.support.postgres import BINARIES, libpq_url, postgres_directory, server_under_test
from tests.support.waiting import eventually

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


def test_the_first_account_of_the_readme(url: str, hub: SimulatedHub, tmp_path: Path) -> None:
    """With a simulated hub; the lines that install are left out, because they want a package index."""
    readme = (ROOT / "README.md").read_text().partition("## Your first real account")[2]
    lines = re.findall(r"(?m)^\$ (.*)$", readme.partition("```console\n")[2].partition("```")[0])
    assert [line.split()[0] for line in lines[:2]] == ["python3", "pip"]
    target = psycopg.conninfo.conninfo_to_dict(libpq_url(url))
    server = libpq_url(url).replace("/ingestor?", "/postgres?")
    user = pwd.getpwuid(os.geteuid()).pw_name
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(composed.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(composed.Identifier(user)))
    script = "\n".join(lines[2:]).replace("/run/postgresql", str(target["host"]))
    running = subprocess.Popen(
        ["bash", "-euc", f'ingestor() {{ "{sys.executable}" -m ingestor "$@"; }}\n{script}'],
        env={
            **environment(hub.url, "", "", PGHOST=str(target["host"]), PGPORT=str(target["port"])),
            "PATH": f"{find_binaries(BINARIES)}:{os.environ['PATH']}",
            "INGESTOR_ACCOUNT": "main",
        },
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert running.stdin is not None
    running.stdin.write(f"{hub.config.api_key}\n")
    running.stdin.close()
    try:
        query = b"SELECT count(*) FROM report.balance_current WHERE account = 'main'"

        def stored() -> int:
            assert running.poll() is None
            try:
                with psycopg.connect(libpq_url(url)) as connection:
                    return int(connection.execute(query).fetchone()[0])  # type: ignore[index]
            except (psycopg.OperationalError, psycopg.errors.UndefinedTable):
                return 0  # not made yet

        eventually(stored, within=60, every=0.2)
        os.killpg(running.pid, signal.SIGINT)
        running.wait(20)
    finally:
        if running.poll() is None:
            os.killpg(running.pid, signal.SIGKILL)
        assert running.stdout is not None
        printed = running.stdout.read()
        running.stdout.close()
        running.wait(10)
    assert "FAIL" not in printed, printed
    with psycopg.connect(libpq_url(url)) as connection:
        assert connection.execute("SELECT ending FROM ingest.session").fetchall() == [("clean",)]


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
