"""`ingestor db plan`: the steps of an upgrade and their locks, measured and undone."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from ingestor.adapters.postgres import migrate, schema
from ingestor.app import upgrade_plan
from ingestor.app.upgrade_plan import Blocks, UpgradePlan, plan_upgrade
from ingestor.config import load
from ingestor.domain.errors import Transient
from tests.support.daemon import command, environment
from tests.support.documents import document_of
from tests.support.postgres import libpq_url
from tests.support.rows import Query

pytestmark = pytest.mark.slow

STEP = """
'''{title}'''
from alembic import op

revision, down_revision = "{revision}", "{before}"
branch_labels = depends_on = None


def upgrade():
    op.execute('''{sql}''')
"""


@pytest.fixture
def first() -> str:
    """The SQL of the first of the `later` steps."""
    return (
        "ALTER TABLE ingest.gap ADD COLUMN note text; CREATE INDEX ON ingest.raw_event (size);"
        "LOCK TABLE ingest.session IN SHARE ROW EXCLUSIVE MODE; CREATE TABLE ingest.extra (a int);"
        "DROP VIEW report.epoch"
    )


@pytest.fixture
def later(first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Software with two more steps than ours."""
    scripts = tmp_path / "migrations"
    shutil.copytree(schema.scripts(), scripts)
    for revision, before, title, sql in (
        ("0003", "0002", "Notes on gaps.", first),
        ("0004", "0003", "Notes that say something.", "UPDATE ingest.gap SET affects = affects"),
    ):
        text = STEP.format(revision=revision, before=before, title=title, sql=sql)
        (scripts / "versions" / f"{revision}_later.py").write_text(text.lstrip())
    for module in (migrate, schema):
        monkeypatch.setattr(module, "scripts", lambda: scripts)
    monkeypatch.setattr(schema, "REVISION", "0004")


def planned(database: str) -> UpgradePlan:
    return plan_upgrade(load(overrides={"database.url": database}, environ={}).settings)


def db_plan(database: str, *words: str) -> Any:
    return command("db", "plan", *words, env=environment("http://127.0.0.1:1/hub", database, "a-key"))


def structure(sql: Query) -> list[tuple[Any, ...]]:
    return sql(
        "SELECT c.oid, relname, attname FROM pg_class AS c LEFT JOIN pg_attribute ON attrelid = c.oid "
        "WHERE relnamespace::regnamespace::text IN ('ingest', 'report') ORDER BY 1, 3"
    )


@pytest.mark.usefixtures("later")
def test_each_step_tells_the_locks_that_it_takes_first(database: str, sql: Query) -> None:
    before = structure(sql)
    plan = planned(database)

    assert (plan.found, plan.wanted) == ("0002", "0004")
    assert [(step.revision, step.title) for step in plan.steps] == [
        ("0003", "Notes on gaps."),
        ("0004", "Notes that say something."),
    ]
    strong = [(each.relation, each.mode, each.blocks) for each in plan.steps[0].locks[:4]]
    assert strong == [
        ("ingest.gap", "AccessExclusiveLock", Blocks.READS_AND_WRITES),
        ("report.epoch", "AccessExclusiveLock", Blocks.READS_AND_WRITES),
        ("ingest.session", "ShareRowExclusiveLock", Blocks.WRITES),
        ("ingest.raw_event", "ShareLock", Blocks.WRITES),
    ]
    assert [each.bytes > 0 for each in plan.steps[0].locks[:2]] == [True, False]
    known = {each.relation for step in plan.steps for each in step.locks}
    assert "ingest.extra" not in known, "nobody can wait for what is not there yet"
    assert "ingest.gap" not in {each.relation for each in plan.steps[1].locks}, "locked by the first step"
    assert all(step.seconds > 0 for step in plan.steps)
    assert structure(sql) == before
    assert sql("SELECT version_num FROM ingest.alembic_version") == [("0002",)]


@pytest.mark.usefixtures("later")
def test_a_table_in_use_is_not_waited_for(database: str) -> None:
    with psycopg.connect(libpq_url(database)) as reader:
        reader.execute("SELECT FROM ingest.gap")
        with pytest.raises(Transient, match="a table that the upgrade locks is in use"):
            planned(database)
    assert len(planned(database).steps) == 2


@pytest.mark.parametrize("first", ["SELECT pg_sleep(20)"])
@pytest.mark.parametrize("deadline", ["statement_seconds", "transaction_seconds"])
@pytest.mark.usefixtures("later")
def test_a_step_that_takes_too_long_is_cut_off(
    deadline: str, database: str, sql: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = replace(upgrade_plan._MEASURING, **{deadline: 0.5})
    monkeypatch.setattr(upgrade_plan, "_MEASURING", short)

    with pytest.raises(Transient, match="cannot be measured now\nwhy: a step takes too long"):
        planned(database)
    assert sql("SELECT version_num FROM ingest.alembic_version") == [("0002",)]


def test_the_plan_of_an_empty_database_locks_nothing_and_makes_nothing(empty_database: str) -> None:
    done = db_plan(empty_database, "--json")
    assert done.returncode == 0, done.stderr
    plan = document_of("db plan", done.stdout)

    assert [(step["revision"], step["locks"]) for step in plan["steps"]] == [("0001", []), ("0002", [])]
    with psycopg.connect(libpq_url(empty_database)) as connection:
        made = connection.execute("SELECT to_regnamespace('ingest'), to_regnamespace('report')")
        assert made.fetchall() == [(None, None)]
    lines = db_plan(empty_database).stdout.splitlines()
    assert lines[0].startswith("0001 The private schema")
    assert lines[-1] == "all in one transaction"


def test_a_schema_that_fits_has_nothing_to_do(database: str) -> None:
    done = db_plan(database)
    assert (done.returncode, done.stdout) == (0, "schema: at 0002, nothing to do\n")


def test_a_newer_schema_is_78(database: str, sql: Query) -> None:
    sql("UPDATE ingest.alembic_version SET version_num = '9999'")
    done = db_plan(database)
    assert done.returncode == 78
    assert "fix: install the newer software" in done.stderr


@pytest.fixture
def modest(postgres_server: EmbeddedPostgres) -> Iterator[str]:
    """A role that may connect, and no more."""
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as admin:
        admin.execute("CREATE ROLE plan_reader LOGIN")
        yield "plan_reader"
        admin.execute("DROP ROLE plan_reader")


def test_a_role_that_may_not_upgrade_is_78_with_the_grant(empty_database: str, modest: str) -> None:
    done = db_plan(empty_database.replace("//postgres@", f"//{modest}@"))
    assert done.returncode == 78
    assert "GRANT CREATE ON DATABASE" in done.stderr
