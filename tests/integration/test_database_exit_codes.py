"""Why there is no database session decides the exit code, of every command alike, in any language."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.app.database import database, upgrade_database
from ingestor.config import Environment, Hub, Settings
from ingestor.config.model import Database
from ingestor.config.values import Secret
from ingestor.domain.errors import Transient
from tests.integration.test_database_session import run, session_at
from tests.support.daemon import command, environment
from tests.support.fake_server import FakeServer, refusal

pytestmark = pytest.mark.slow

NOBODY_LISTENS = "http://127.0.0.1:1/hub"
COMMANDS = [("status",), ("db", "upgrade"), ("check",)]

REFUSALS = {
    "28P01": ("autenticazione con password fallita per l'utente «a»", 77),
    "28000": ("il ruolo «a» non esiste", 77),
    "3D000": ("il database «a» non esiste", 78),
    "42501": ("permesso negato per il database «a»", 78),
    "57P03": ("il database si sta avviando", 69),
    "53300": ("sono già presenti troppi client", 69),
    "08P01": ("violazione del protocollo", 69),
}


@pytest.mark.parametrize(
    ("words", "sqlstate"),
    [
        *(((("db", "status")), sqlstate) for sqlstate in REFUSALS),
        *((words, sqlstate) for words in COMMANDS for sqlstate in ("28P01", "3D000")),
    ],
    ids=str,
)
def test_the_code_is_the_servers_sqlstate_in_any_language(words: tuple[str, ...], sqlstate: str) -> None:
    text, code = REFUSALS[sqlstate]
    with FakeServer(refusal(sqlstate, text, "FATALE")) as url:
        done = command(*words, env=environment(NOBODY_LISTENS, url, "a-key"))

    assert done.returncode == code, done.stdout + done.stderr
    assert text in done.stdout + done.stderr
    assert "secret" not in done.stdout + done.stderr


@pytest.mark.parametrize(("sqlstate", "code"), [("28P01", 77), ("3D000", 78)])
def test_a_first_start_ends_with_the_same_code(sqlstate: str, code: int) -> None:
    with FakeServer(refusal(sqlstate, "così no", "FATALE")) as url:
        assert command("run", env=environment(NOBODY_LISTENS, url, "a-key")).returncode == code


@pytest.mark.parametrize(
    ("addition", "code", "words"),
    [
        ("?sslmode=verify-ful", 78, "verify-ful"),
        ("?target_session_attrs=writable", 78, "writable"),
        ("?sslmode=require", 69, "TLS"),
        ("?sslmode=verify-full&sslrootcert=/nonexistent", 69, "TLS"),
    ],
)
def test_what_libpq_itself_objects_to_has_its_own_words(addition: str, code: int, words: str) -> None:
    with FakeServer(refusal("57P03", "no")) as url:
        done = command("db", "status", env=environment(NOBODY_LISTENS, url + addition, "a-key"))

    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "fix:" in done.stderr


@pytest.mark.parametrize("url", ["postgresql://a@127.0.0.1:1/b", "postgresql://a@nowhere.invalid/b"])
def test_a_server_that_cannot_be_reached_is_69(url: str) -> None:
    done = command("db", "status", env=environment(NOBODY_LISTENS, url, "a-key"))

    assert done.returncode == 69
    assert "fix: make sure that the server runs" in done.stderr


def test_a_server_that_asks_for_a_password_and_gets_none_is_77() -> None:
    def ask(peer: socket.socket) -> None:
        peer.sendall(b"R\0\0\0\x08\0\0\0\x03")
        with suppress(OSError):
            peer.recv(100)

    with FakeServer(ask) as url:
        done = command("status", env=environment(NOBODY_LISTENS, url.replace(":secret", ""), "a-key"))
    assert done.returncode == 77, done.stderr


NAMELESS = """
import os, sys
import encodings.idna, ingestor.adapters.postgres.migrate, ingestor.cli.errors
from ingestor.cli import db, run, status as _
from ingestor.cli.main import run
os.setgroups([])
os.setgid(61999)
os.setuid(61999)
sys.exit(run(sys.argv[1:]))
"""
"""What is imported at the start is here all the same: the user may not read it."""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become a user without a name")
@pytest.mark.parametrize("words", [("run",), ("db", "upgrade"), ("status",)], ids=" ".join)
def test_a_user_without_a_name_is_one_code_and_one_fix(words: tuple[str, ...], tmp_path: Path) -> None:
    """As a unit's dynamic user where libnss-systemd is missing. Nor may it look into root's home."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    env = environment(NOBODY_LISTENS, "postgresql:///b?host=/tmp", "a-key", HOME=str(home))
    program = [sys.executable, "-c", NAMELESS, *words]
    done = subprocess.run(program, env=env, cwd="/", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 78, done.stderr
    assert "install libnss-systemd" in done.stderr


@pytest.fixture
def protected(durable_postgres: Callable[[], EmbeddedPostgres]) -> Iterator[str]:
    """URL, without a password, of a role whose password is `first`."""
    server = durable_postgres()
    url = server.ensure_database("protected")
    upgrade_database(url)
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE keeper LOGIN SUPERUSER PASSWORD 'first'")
        admin.execute("ALTER ROLE postgres PASSWORD 'admin'")
        (server.data / "pg_hba.conf").write_text("local all keeper scram-sha-256\nlocal all postgres trust\n")
        admin.execute("SELECT pg_reload_conf()")
        yield url.replace("//postgres@", "//keeper@")


def test_a_real_server_gives_the_same_codes(protected: str) -> None:
    with_password = protected.replace("keeper@", "keeper:first@")
    codes = {
        with_password: 0,
        protected.replace("keeper@", "keeper:wrong@"): 77,
        protected: 77,
        protected.replace("keeper@", "stranger@"): 77,
        with_password.replace("/protected?", "/unknown?"): 78,
    }
    for url, code in codes.items():
        done = command("db", "status", env=environment(NOBODY_LISTENS, url, "a-key"))
        assert done.returncode == code, (url, done.stderr)


def test_a_server_that_takes_no_writes_can_be_looked_at(
    durable_postgres: Callable[[], EmbeddedPostgres],
) -> None:
    server = durable_postgres()
    url = server.ensure_database("readable")
    upgrade_database(url)
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
        admin.execute("SELECT pg_reload_conf()")
    env = environment(NOBODY_LISTENS, url, "a-key")

    done = {words: command(*words, env=env) for words in (("status",), ("db", "status"), ("check",))}

    assert [each.returncode for each in done.values()] == [1, 0, 69]
    assert "problem   the database accepts no writes" in done["status",].stdout
    assert "database accepts no writes (this host is read-only)" in done["check",].stdout
    assert command("db", "upgrade", env=env).returncode == 69


def test_a_rotated_password_file_is_read_at_the_next_connect(protected: str, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("first")
    file.chmod(0o600)
    settings = Settings(
        account="rotating",
        hub=Hub(environment=Environment.CUSTOM, url=NOBODY_LISTENS),
        database=Database(url=Secret(protected), password_file=file),
    )
    with database(settings) as address, session_at(address) as session:
        run(session, "ALTER ROLE keeper PASSWORD 'second'")
        session.drop()
        with pytest.raises(Transient):
            run(session, "SELECT 1")
        file.unlink()
        with pytest.raises(Transient):
            run(session, "SELECT 1")
        file.write_text("second")
        file.chmod(0o600)
        run(session, "SELECT 1")
