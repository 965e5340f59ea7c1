"""`python -m tests.benchmarks.reports`: how fast the reports answer on two years of three accounts.

Each question is asked through the schema `report`, and naively of the raw history: by the statement that
somebody would write who has the tables and not the indexes in mind. Times are those of EXPLAIN (ANALYZE), the
best of some runs.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg

from ingestor.app.database import upgrade_database
from tests.support.postgres import libpq_url, postgres_directory, server_under_test

FILL = Path(__file__).with_name("history.sql")
NAIVE_LIMIT = "20s"
"""A naive statement that takes longer counts as taking that long."""
STATEMENT_SECONDS = 5.0
"""Which the whole command `ingestor statement` may take, for one month."""
AT = "date_trunc('hour', now()) - interval '200 days 7 hours'"
DAY = f"({AT})::date"
LATEST = "account, user_id, asset, valid_from DESC, epoch DESC, sequence DESC, revision DESC"
NAIVE_SPANS = """
    SELECT *, lead(valid_from, 1, 'infinity') OVER (
        PARTITION BY account, user_id, asset ORDER BY valid_from, epoch, sequence, revision
    ) AS valid_to
    FROM ingest.balance
"""


@dataclass(frozen=True, slots=True)
class Question:
    """One question, asked twice, and how many milliseconds the first may take."""

    target_ms: float
    report: str
    naive: str


QUESTIONS = {
    "balance_current": Question(
        5,
        "SELECT * FROM report.balance_current WHERE account = 'main'",
        "SELECT DISTINCT ON (account, user_id, asset) * FROM ingest.balance WHERE account = 'main' "
        f"ORDER BY {LATEST}",
    ),
    "balance_as_of": Question(
        20,
        f"SELECT * FROM report.balance_as_of({AT}) WHERE account = 'main'",
        f"SELECT DISTINCT ON (account, user_id, asset) * FROM ingest.balance "
        f"WHERE account = 'main' AND valid_from <= {AT} ORDER BY {LATEST}",
    ),
    "balance_eod": Question(
        300,
        f"SELECT * FROM report.balance_eod({DAY}, {DAY} + 30, 'Europe/Rome') WHERE account = 'main'",
        f"SELECT d, b.* FROM generate_series({DAY}::timestamp, {DAY} + interval '30 days', '1 day') AS d "
        f"JOIN ({NAIVE_SPANS}) AS b ON b.valid_from <= (d + interval '1 day') AT TIME ZONE 'Europe/Rome' "
        "AND b.valid_to > (d + interval '1 day') AT TIME ZONE 'Europe/Rome' WHERE account = 'main'",
    ),
    "balance_bucket": Question(
        300,
        f"SELECT * FROM report.balance_bucket({AT}, {AT} + interval '7 days', interval '1 hour') "
        "WHERE account = 'main'",
        f"SELECT t, b.* FROM generate_series({AT}, {AT} + interval '7 days', '1 hour') AS t "
        f"JOIN ({NAIVE_SPANS}) AS b ON b.valid_from <= t AND b.valid_to > t WHERE account = 'main'",
    ),
    "balance_history": Question(
        5,
        "SELECT * FROM report.balance_history WHERE account = 'main' AND user_id = 'user-of-main' "
        "AND asset = 'A07' ORDER BY valid_from DESC LIMIT 20",
        f"SELECT * FROM ({NAIVE_SPANS}) AS b WHERE account = 'main' AND asset = 'A07' "
        "ORDER BY valid_from DESC LIMIT 20",
    ),
    "coverage": Question(
        300,
        "SELECT * FROM report.coverage(now() - interval '365 days', now())",
        "SELECT account, kind, sum(valid_from - previous_confirmed_until) FROM ("
        "  SELECT *, lag(session_id) OVER (PARTITION BY account, kind, user_id ORDER BY valid_from) AS before"
        "  FROM ingest.version WHERE valid_from > now() - interval '365 days') AS v "
        "WHERE origin <> 'pushed' OR passed_over <> 0 OR session_id <> before GROUP BY account, kind",
    ),
    "pair_as_of": Question(
        20,
        f"SELECT * FROM report.pair_as_of({AT})",
        f"SELECT DISTINCT ON (account, name) * FROM ingest.pair WHERE valid_from <= {AT} "
        "ORDER BY account, name, valid_from DESC, epoch DESC, sequence DESC, revision DESC",
    ),
    "freshness": Question(
        5,
        "SELECT * FROM report.freshness",
        "SELECT account, kind, user_id, max(valid_from) FROM ingest.version GROUP BY account, kind, user_id",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """0: every question is answered within its target; 1: not."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.reports")
    parser.add_argument("--rows", type=int, default=10_000_000, help="rows of balances")
    parser.add_argument("--runs", type=int, default=5, help="of each question; the best one counts")
    parser.add_argument("--output", type=Path, default=Path("build/reports.json"))
    options = parser.parse_args(arguments)
    started = time.monotonic()
    with postgres_directory() as directory, server_under_test(directory) as server:
        url = server.ensure_database("reports")
        upgrade_database(url)
        with psycopg.connect(libpq_url(url), autocommit=True) as connection:
            fill(connection, options.rows)
            connection.execute(
                "SET jit = off"
            )  # as the reader's role has it: compiling takes longer than reading
            print(f"{options.rows} rows of balances, filled in {time.monotonic() - started:.0f} s")
            figures = measured(connection, options.runs)
        figures["statement_seconds"] = statement_seconds(url)
        figures["statement_target_seconds"] = STATEMENT_SECONDS
    figures["rows"] = options.rows
    figures["seconds"] = round(time.monotonic() - started)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(figures, indent=2) + "\n")
    print(f"{figures['seconds']} s; written to {options.output}")
    fast = all(figures[f"{name}_ms"] <= each.target_ms for name, each in QUESTIONS.items())
    return 0 if fast and figures["statement_seconds"] <= STATEMENT_SECONDS else 1


def fill(connection: psycopg.Connection[Any], rows: int) -> None:
    """Write the history, one statement after the other."""
    connection.execute("SELECT set_config('history.rows', %s, false)", [str(rows)])
    for statement in FILL.read_text().split(";\n"):
        if statement.strip():
            connection.execute(statement.encode())


def measured(connection: psycopg.Connection[Any], runs: int) -> dict[str, Any]:
    """Milliseconds of each question, and how many times as long the naive statement takes."""
    figures: dict[str, Any] = {}
    for name, question in QUESTIONS.items():
        best = min(milliseconds(connection, question.report) for _ in range(runs))
        connection.execute(f"SET statement_timeout = '{NAIVE_LIMIT}'".encode())
        try:
            naive = milliseconds(connection, question.naive)
        except psycopg.errors.QueryCanceled:
            naive = float(NAIVE_LIMIT.removesuffix("s")) * 1000
        connection.execute("RESET statement_timeout")
        figures[f"{name}_ms"] = round(best, 2)
        figures[f"{name}_ratio"] = round(naive / best, 1)
        print(f"{name:16} {best:9.2f} ms, target {question.target_ms:g}; naively {naive:.0f} ms")
    return figures


def statement_seconds(url: str) -> float:
    """The whole command, for the last whole month; the best of three."""
    month = (datetime.now(UTC).replace(day=1) - timedelta(days=1)).strftime("%Y-%m")
    program = [
        sys.executable,
        "-m",
        "ingestor",
        "statement",
        "--month",
        month,
        "--zone",
        "Europe/Rome",
        "-o",
        "-",
    ]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("INGESTOR_")}
    environment = {**kept, "INGESTOR_ACCOUNT": "main", "INGESTOR_DATABASE__URL": url}
    found = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run(program, env=environment, check=True, capture_output=True, timeout=120)
        found.append(time.monotonic() - started)
    print(f"{'statement':16} {min(found):9.2f} s, target {STATEMENT_SECONDS:g}")
    return round(min(found), 2)


def milliseconds(connection: psycopg.Connection[Any], statement: str) -> float:
    """Execution time as EXPLAIN (ANALYZE) says it."""
    explained = connection.execute(
        f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}".encode()
    ).fetchone()
    assert explained is not None
    return float(explained[0][0]["Execution Time"])


if __name__ == "__main__":
    sys.exit(main())
