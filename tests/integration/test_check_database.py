"""The database's part of `ingestor check`: each way in which it can be unfit has its own line."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.app.check.database import DatabaseCheck
from ingestor.app.check.findings import Finding, Verdict
from ingestor.app.check.steps import Chain
from ingestor.config import load
from tests.support.pgbouncer import pgbouncer
from tests.support.postgres import drop_database

clock = DatabaseClock()


def found(url: str) -> dict[str, Finding]:
    settings = load(overrides={"database.url": url}, environ={}).settings
    tried = DatabaseCheck(settings, clock)
    try:
        chain = Chain(tried.steps(), {"configuration"}, clock.monotonic() + 20, clock)
        return {each.name: each for each in chain.findings()}
    finally:
        tried.close()


@contextmanager
def latin(server: EmbeddedPostgres) -> Iterator[str]:
    with psycopg.connect(server.dsn("postgres"), autocommit=True) as admin:
        admin.execute("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        yield server.url("latin")
    finally:
        drop_database(server, "latin")


def test_a_database_that_is_fit(database: str) -> None:
    said = found(database)
    assert {each.verdict for each in said.values()} <= {Verdict.OK, Verdict.NOTE}
    assert "over a Unix socket" in said["database"].what
    assert said["encoding"].what == "UTF8"
    assert said["pooler"].what == "none: connected to the server directly"
    assert ", a superuser, may do what the daemon does" in said["roles"].what


def test_another_encoding_has_its_own_line(postgres_server: EmbeddedPostgres) -> None:
    with latin(postgres_server) as url:
        said = found(url)
    assert said["database"].verdict is Verdict.OK
    assert (said["encoding"].verdict, said["encoding"].exit_code) == (Verdict.FAILED, 78)
    assert "LATIN1" in said["encoding"].what
    assert {said[name].verdict for name in ("pooler", "schema", "roles")} == {Verdict.SKIPPED}


@pytest.mark.parametrize(
    ("mode", "verdict", "what"),
    [
        ("session", Verdict.OK, "session pooling, which is supported"),
        ("transaction", Verdict.FAILED, "shares sessions between clients"),
    ],
)
def test_a_pooler_is_told_from_one_that_lends_the_session(
    mode: str, verdict: Verdict, what: str, database: str
) -> None:
    with pgbouncer(database, pool_mode=mode) as url:
        said = found(url)
    assert said["encoding"].what == "UTF8"
    assert said["pooler"].verdict is verdict
    assert what in said["pooler"].what


def test_an_empty_database_needs_an_upgrade(empty_database: str) -> None:
    said = found(empty_database)
    assert (said["schema"].exit_code, said["schema"].fix) == (78, "run `ingestor db upgrade`")
    assert said["roles"].what == "not tried: needs schema"


@pytest.mark.parametrize(
    ("free", "verdict", "code"),
    [(2**40, Verdict.OK, 0), (2**30 - 1, Verdict.NOTE, 0), (2**26 - 1, Verdict.FAILED, 74)],
)
def test_a_disk_that_is_nearly_full_is_said(
    free: int, verdict: Verdict, code: int, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: (2**41, 2**41 - free, free))
    disk = found(database)["disk"]
    assert (disk.verdict, disk.exit_code) == (verdict, code)
    assert "/data; the database has 0.01 GiB" in disk.what
