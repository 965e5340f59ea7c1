"""`db upgrade` needs no more than it must, names the grant that helps, leaves a newer schema alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import sql

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.postgres.schema import REVISION, require_schema, schema_state
from ingestor.app.database import connect_url, upgrade_database
from ingestor.domain.errors import BadConfiguration, SchemaMismatch
from tests.integration.test_database_session import pid, session_at
from tests.support.daemon import command, environment
from tests.support.postgres import drop_database, libpq_url

pytestmark = pytest.mark.slow

NEWER = "UPDATE ingest.alembic_version SET version_num = '9999'"


@contextmanager
def admin_of(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(libpq_url(url), autocommit=True) as connection:
        yield connection


@pytest.fixture
def owner(postgres_server: EmbeddedPostgres, empty_database: str) -> Iterator[str]:
    """URL of the empty database for a role that may connect, and no more."""
    with admin_of(postgres_server.url("postgres")) as admin:
        name = str(psycopg.conninfo.conninfo_to_dict(libpq_url(empty_database))["dbname"])
        admin.execute("CREATE ROLE modest LOGIN")
        yield empty_database.replace("//postgres@", "//modest@")
        drop_database(postgres_server, name)
        admin.execute("DROP ROLE modest")


def test_schemas_that_a_dba_has_made_need_no_right_to_make_schemas(owner: str, empty_database: str) -> None:
    with admin_of(empty_database) as admin:
        for schema in ("ingest", "report"):
            admin.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION modest").format(sql.Identifier(schema)))
    upgrade_database(owner)

    with connect_url(owner) as connection:
        assert schema_state(connection).fits


@pytest.mark.parametrize("made", [(), ("ingest",)])
def test_a_missing_schema_names_the_grant_that_helps(
    made: tuple[str, ...], owner: str, empty_database: str
) -> None:
    with admin_of(empty_database) as admin:
        for schema in made:
            admin.execute(sql.SQL("CREATE SCHEMA {} AUTHORIZATION modest").format(sql.Identifier(schema)))
        with pytest.raises(BadConfiguration) as raised:
            upgrade_database(owner)
        grant = str(raised.value).partition("run ")[2]
        assert grant.startswith("GRANT CREATE ON DATABASE ")
        admin.execute(grant.encode())
        upgrade_database(owner)
    with connect_url(owner) as connection:
        assert schema_state(connection).fits


def test_a_schema_of_somebody_else_names_the_grant_that_helps(owner: str, empty_database: str) -> None:
    with admin_of(empty_database) as admin:
        for schema in ("ingest", "report"):
            admin.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(schema)))
        done = command("db", "upgrade", env=environment("http://127.0.0.1:1/hub", owner, "a-key"))
        assert done.returncode == 78
        grant = done.stderr.partition("run GRANT ")[2].strip()
        assert grant.startswith("USAGE, CREATE ON SCHEMA ingest, report TO modest")
        admin.execute(f"GRANT {grant}".encode())
    upgrade_database(owner)


@pytest.mark.parametrize("words", [("db", "upgrade"), ("run",)], ids=" ".join)
def test_a_newer_schema_is_78_with_both_revisions(words: tuple[str, ...], database: str) -> None:
    """Invariant I19."""
    with admin_of(database) as admin:
        admin.execute(NEWER.encode())
    done = command(*words, env=environment("http://127.0.0.1:1/hub", database, "a-key"))

    assert done.returncode == 78
    assert "9999" in done.stderr
    assert REVISION in done.stderr
    assert "fix: install the newer software" in done.stderr


def test_a_schema_upgraded_meanwhile_is_noticed_by_the_next_session(database: str) -> None:
    """Invariant I19."""
    with session_at(database) as session, admin_of(database) as admin:
        session.prepare = require_schema
        before = pid(session)
        admin.execute(NEWER.encode())
        assert pid(session) == before
        session.drop()
        with pytest.raises(SchemaMismatch, match="9999"):
            pid(session)
