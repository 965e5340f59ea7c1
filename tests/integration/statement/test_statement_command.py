"""`ingestor statement` over the frozen story: the page says what the functions of schema report say."""

import hashlib
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest

from tests.integration.statement.story import cells
from tests.support.daemon import ROOT, command, surroundings
from tests.support.rows import Query
from tests.support.story import USER, tell

pytestmark = pytest.mark.slow

THIN = "\N{NARROW NO-BREAK SPACE}"
DASH = "\N{EN DASH}"


@pytest.fixture
def story(sql: Query) -> Query:
    tell(sql)
    return sql


def statement(database: str, account: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**surroundings(), "INGESTOR_ACCOUNT": account, "INGESTOR_DATABASE__URL": database}
    return command("statement", "--zone", "Europe/Rome", *arguments, env=env)


def march(database: str, account: str, *arguments: str) -> list[list[str]]:
    """The cells of all tables, row by row."""
    done = statement(database, account, "--month", "2025-03", "-o", "-", *arguments)
    assert done.returncode == 0, done.stderr
    return cells(done.stdout)


def row(rows: list[list[str]], *begin: str) -> list[str]:
    (found,) = [each for each in rows if each[: len(begin)] == list(begin)]
    return found


def test_opening_and_closing_balances_with_their_certainty(story: Query, database: str) -> None:
    rows = march(database, "main")

    btc = row(rows, "BTC")
    assert btc[1:6] == [DASH, "before first", DASH, "9", "in gap"], (
        "the process was stopped at noon of the 31st"
    )
    assert row(rows, "EUR")[4] == "0", "it is not named any more"


def test_the_largest_movement_comes_first_and_limits_have_both_values(story: Query, database: str) -> None:
    rows = march(database, "main")

    assert rows[rows.index(["Observed", "Asset", "Change", "Total after", ""]) + 1][1:4] == [
        "EUR",
        "-900",
        "0",
    ]
    assert row(rows, "2025-03-03 11:00:00", "BTCEUR")[2:] == ["max size", "100", "200"]


def test_coverage_of_its_days_adds_up_to_the_month(story: Query, database: str) -> None:
    """A former user's time is not counted."""
    rows = march(database, "polled")

    head = rows.index(["Balances", "Time", "Share"])
    end = rows.index(["Observed", "Asset", "Change", "Total after", ""])
    shares = [float(each[2].removesuffix(" %")) for each in rows[head + 1 : end]]
    assert sum(shares) == pytest.approx(100, abs=0.01 * len(shares))
    assert any("former user" in cell for each in rows for cell in each)


def test_the_hash_can_be_taken_again_from_the_report(story: Query, database: str) -> None:
    done = statement(database, "main", "--month", "2025-03", "-o", "-")
    arguments = re.search(r"report\.balance_change\(([^)]+)\)", unescape(done.stdout))
    assert arguments is not None

    found = story(
        f"SELECT user_id, asset, total_before, total FROM report.balance_change({arguments[1]}) "
        "WHERE account = 'main' AND total IS NOT NULL ORDER BY is_former, user_id, asset"
    )
    lines = "".join(
        "\t".join([*each[:2], *("" if total is None else f"{total:f}" for total in each[2:])]) + "\n"
        for each in found
    )
    assert {each[0] for each in found} == {USER}
    assert hashlib.sha256(lines.encode()).hexdigest() in done.stdout


def test_the_proof_counts_what_became_state_in_the_month(story: Query, database: str) -> None:
    ((records, balances, first, last),) = story(
        "SELECT count(*), count(*) FILTER (WHERE kind = 'balances'), "
        "(array_agg(session_id || '/' || ordinal ORDER BY received_at, ordinal))[1], "
        "(array_agg(session_id || '/' || ordinal ORDER BY received_at DESC))[1] "
        "FROM report.version WHERE account = 'main'"
    )

    march, *others = (
        statement(database, "main", "--month", f"2025-{month}", "-o", "-").stdout
        for month in ("03", "02", "04")
    )

    assert (records, balances) == (18, 15)
    assert f"<dd>{records}, from {first} to {last}</dd>" in march
    assert f"<dt>Versions of the balances</dt><dd>{balances}</dd>" in march
    for month in others:
        assert "<dd>0, from - to -</dd>" in month
        assert "<dt>Versions of the balances</dt><dd>0</dd>" in month


def test_one_asset_only(story: Query, database: str) -> None:
    rows = march(database, "main", "--asset", "BTC")

    assert row(rows, "BTC")
    assert not [each for each in rows if each[0] == "EUR"]


@pytest.mark.parametrize(
    ("account", "month", "code", "text"),
    [
        ("main", "2999-01", 78, "it has not begun"),
        ("nobody", "2025-03", 78, "there is no account nobody"),
        ("main", "March", 2, "write it like 2026-03"),
        ("main", "9999-12", 2, "write it like 2026-03"),
    ],
)
def test_what_cannot_be_told_is_an_error_that_helps(
    story: Query, database: str, account: str, month: str, code: int, text: str
) -> None:
    done = statement(database, account, "--month", month, "-o", "-")

    assert done.returncode == code
    assert text in done.stderr


@pytest.mark.parametrize(
    ("reader", "code", "text"),
    [("> /dev/full", 74, "error: standard output cannot be written"), ("| true", 141, "")],
)
def test_a_statement_that_is_not_read_says_so(
    story: Query, database: str, reader: str, code: int, text: str
) -> None:
    words = f"'{sys.executable}' -m ingestor statement --month 2025-03 -o - {reader}"
    env = {**surroundings(), "INGESTOR_ACCOUNT": "main", "INGESTOR_DATABASE__URL": database}
    done = subprocess.run(
        ["bash", "-c", f"{words}; exit ${{PIPESTATUS[0]}}"],
        env=env,
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr.partition("\n")[0]) == (code, text)


def test_it_is_written_to_a_file_of_its_own_name(story: Query, database: str, tmp_path: Path) -> None:
    path = tmp_path / "march.html"

    done = statement(database, "main", "--month", "2025-03", "-o", str(path))

    assert done.stdout.strip() == str(path)
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
