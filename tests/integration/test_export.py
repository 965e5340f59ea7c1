"""`ingestor export`: the files hold the rows of the views, exactly, and the manifest proves them."""

import csv
import hashlib
import json
import subprocess
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from ingestor.app.export import TIMES, ExportSelection
from ingestor.app.export import export as export_files
from ingestor.config import Settings, load
from tests.support.daemon import command, surroundings
from tests.support.documents import document_of
from tests.support.rows import Query, insert
from tests.support.story import tell

pytestmark = pytest.mark.slow

MARCH = ("--from", "2025-03-01", "--until", "2025-04-01")
RANGE = datetime(2025, 3, 1, tzinfo=UTC), datetime(2025, 4, 1, tzinfo=UTC)


@pytest.fixture
def story(sql: Query) -> Query:
    tell(sql)
    return sql


def settings_of(database: str) -> Settings:
    return load(environ={"INGESTOR_ACCOUNT": "main", "INGESTOR_DATABASE__URL": database}).settings


def export(database: str, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**surroundings(), "INGESTOR_ACCOUNT": "main", "INGESTOR_DATABASE__URL": database}
    return command("export", str(directory), *arguments, env=env)


def exported(database: str, directory: Path, *arguments: str) -> dict[str, Any]:
    """The manifest."""
    done = export(database, directory, *arguments)
    assert done.returncode == 0, done.stderr
    manifest: dict[str, Any] = json.loads((directory / "manifest.json").read_text())
    return manifest


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_manifest_that_cannot_be_written_whole_does_not_exist(
    story: Query, database: str, tmp_path: Path
) -> None:
    """On this disk there is room for the rows of the year before the story, which are none."""
    code = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))"
    (tmp_path / "sitecustomize.py").write_text(code)
    env = {
        **surroundings(),
        "INGESTOR_ACCOUNT": "main",
        "INGESTOR_DATABASE__URL": database,
        "PYTHONPATH": str(tmp_path),
    }
    done = command("export", str(tmp_path / "x"), "--from", "2024-01-01", "--until", "2025-01-01", env=env)
    assert done.returncode == 74, done.stderr
    assert {path.stem for path in (tmp_path / "x").glob("*.csv")} == set(TIMES)
    assert not (tmp_path / "x" / "manifest.json").exists()


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_contradiction_that_is_pending_lasts_to_infinity(
    form: str, story: Query, database: str, tmp_path: Path
) -> None:
    story("UPDATE ingest.confirmation SET resolution = NULL, resolved_at = NULL WHERE reason = 'conflict'")
    export_files(
        settings_of(database), ExportSelection("main", ["confirmation"], *RANGE, form, tmp_path / "x")
    )

    path = tmp_path / "x" / f"confirmation.{form}"
    rows = read(path) if form == "csv" else pyarrow.parquet.read_table(path).to_pylist()
    assert [row["during"] for row in rows[:2]] == [
        '["2025-03-03 14:00:00+00",infinity)',
        '["2025-03-03 15:00:00+00","2025-03-03 15:00:03+00")',
    ]


def test_every_view_with_its_counts_range_and_hashes(story: Query, database: str, tmp_path: Path) -> None:
    done = export(database, tmp_path / "march", *MARCH, "--json")
    manifest = json.loads((tmp_path / "march" / "manifest.json").read_text())

    assert document_of("export", done.stdout) == manifest["files"]
    assert {each["view"] for each in manifest["files"]} == set(TIMES)
    for each in manifest["files"]:
        path = tmp_path / "march" / each["name"]
        view, column = each["view"], each["time_column"]
        rows = read(path)
        assert hashlib.sha256(path.read_bytes()).hexdigest() == each["sha256"]
        assert path.stat().st_size == each["bytes"]
        found = story(
            f"SELECT count(*) FROM report.{view} WHERE account = 'main' "
            f"AND {column} >= '2025-03-01' AND {column} < '2025-04-01'"
        )
        assert [(len(rows),)] == found == [(each["rows"],)]
        if rows:
            assert (rows[0][column], rows[-1][column]) == (each["first"], each["last"])
    assert sum(float(part["share"]) for part in manifest["coverage"] if part["kind"] == "balances") == 1


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_amounts_and_times_are_exact(story: Query, database: str, tmp_path: Path, form: str) -> None:
    amount = "12345678901234567890.123456789012345678"
    story("UPDATE ingest.balance SET available = %s WHERE asset = 'BTC' AND sequence = 101", Decimal(amount))

    exported(database, tmp_path / "x", *MARCH, "--view", "balance_history", "--format", form)

    path = tmp_path / "x" / f"balance_history.{form}"
    rows = read(path) if form == "csv" else pyarrow.parquet.read_table(path).to_pylist()
    assert amount in {row["available"] for row in rows if row["asset"] == "BTC"}
    assert "2025-03-03" in str(rows[0]["valid_from"])
    assert str(rows[0]["valid_from"]).endswith(("Z", "+00:00")), "a time without a zone means nothing"


def test_a_text_that_a_spreadsheet_would_run_is_defused_in_csv(
    story: Query, database: str, tmp_path: Path
) -> None:
    formula = '=HYPERLINK("http://127.0.0.1")'
    story("UPDATE ingest.gap SET cause = %s WHERE kind = 'undecodable'", formula)

    exported(database, tmp_path / "csv", *MARCH, "--view", "gap")
    exported(database, tmp_path / "parquet", *MARCH, "--view", "gap", "--format", "parquet")

    assert f"'{formula}" in {row["cause"] for row in read(tmp_path / "csv" / "gap.csv")}
    table = pyarrow.parquet.read_table(tmp_path / "parquet" / "gap.parquet")
    assert formula in table.column("cause").to_pylist()


@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\t", "\r"])
def test_whatever_begins_a_formula_is_defused(sign: str, story: Query, database: str, tmp_path: Path) -> None:
    story("UPDATE ingest.gap SET cause = %s WHERE kind = 'undecodable'", f"{sign}1")
    selection = ExportSelection("main", ["gap"], *RANGE, "csv", tmp_path / "x")

    told: list[tuple[str, int, int]] = []
    (file,) = export_files(settings_of(database), selection, lambda *each: told.append(each))

    rows = read(tmp_path / "x" / "gap.csv")
    assert f"'{sign}1" in {row["cause"] for row in rows}
    assert told == [("gap", len(rows), len(rows))]
    assert file.rows == len(rows)


def test_flags_and_lists_are_as_in_json(story: Query, database: str, tmp_path: Path) -> None:
    exported(database, tmp_path / "x", *MARCH, "--view", "gap")

    rows = read(tmp_path / "x" / "gap.csv")
    assert {row["is_open"] for row in rows} == {"true", "false"}
    assert {row["affects"] for row in rows} == {'["balances", "pairs"]'}


def test_a_negative_amount_is_a_number_and_no_formula(story: Query, database: str, tmp_path: Path) -> None:
    exported(database, tmp_path / "x", *MARCH, "--view", "balance_history")

    assert "-900" in {row["total_change"] for row in read(tmp_path / "x" / "balance_history.csv")}


def test_another_account_is_not_in_it(story: Query, database: str, tmp_path: Path) -> None:
    exported(database, tmp_path / "x", *MARCH)

    accounts = {row["account"] for path in (tmp_path / "x").glob("*.csv") for row in read(path)}
    assert accounts == {"main"}


def test_days_begin_at_the_zones_midnight(sql: Query, database: str, tmp_path: Path) -> None:
    insert(sql, "account", account="main", environment="custom", created_at="2025-03-01 00:00+00")
    for minute in (58, 59):
        at = f"2025-03-31 21:{minute}+00"  # in Rome still, and just, March
        insert(sql, "clock_step", account="main", noticed_at=at, clock="host", step_seconds=1)
    late = "2025-03-31 22:00+00"
    insert(sql, "clock_step", account="main", noticed_at=late, clock="host", step_seconds=2)

    manifest = exported(database, tmp_path / "x", *MARCH, "--zone", "Europe/Rome", "--view", "clock_step")

    assert (manifest["since"], manifest["until"]) == ("2025-02-28T23:00:00Z", "2025-03-31T22:00:00Z")

    assert [row["step_seconds"] for row in read(tmp_path / "x" / "clock_step.csv")] == ["1.0", "1.0"]


def test_a_directory_with_files_is_left_alone(story: Query, database: str, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("mine")

    done = export(database, tmp_path, *MARCH)

    assert done.returncode == 78
    assert "is not empty" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["mine.csv"]


def test_an_end_before_the_start_is_refused(database: str, tmp_path: Path) -> None:
    done = export(database, tmp_path / "x", "--from", "2025-04-01", "--until", "2025-03-01")

    assert done.returncode == 2
    assert "is not after the start" in done.stderr


def test_a_time_outside_of_pythons_years_is_refused(database: str, tmp_path: Path) -> None:
    arguments = ("--from", "0001-01-01", "--until", "2025-04-01", "--zone", "Asia/Tokyo")

    done = export(database, tmp_path / "x", *arguments)

    assert done.returncode == 2
    assert "not within the years 1 to 9999" in done.stderr


def test_a_view_that_is_named_twice_is_written_once(story: Query, database: str, tmp_path: Path) -> None:
    manifest = exported(database, tmp_path / "x", *MARCH, "--view", "gap", "--view", "gap")

    assert [each["view"] for each in manifest["files"]] == ["gap"]


def test_an_unknown_account_is_refused_and_leaves_nothing(
    story: Query, database: str, tmp_path: Path
) -> None:
    done = export(database, tmp_path / "x", *MARCH, "--set", "account=nobody")

    assert done.returncode == 78
    assert "there is no account nobody in this database" in done.stderr
    assert not (tmp_path / "x").exists()
