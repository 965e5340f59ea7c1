"""The dashboards of deploy/grafana: every query runs against the story, and the files are current.

Variables and macros are replaced as Grafana does it: variables by the browser, each value of one with several
values as a literal, divided by commas; then macros by the data source.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from ingestor.app.metrics import EXPOSED, PREFIX
from tests.support.daemon import ROOT, surroundings
from tests.support.postgres import libpq_url
from tests.support.rows import Query, insert
from tests.support.story import SESSIONS, request

GRAFANA = ROOT / "deploy" / "grafana"
NAMES = ("balances", "completeness", "operations")
SINCE, UNTIL = "2025-03-01T00:00:00Z", "2025-04-01T00:00:00Z"
TABLE_TYPES = {"text", "bool", "int4", "int8", "float8", "timestamptz"}
"""What Grafana shows as it is; numeric becomes floating point."""


class Target(NamedTuple):
    dashboard: str
    panel: str
    ref_id: str
    format: str
    sql: str


def dashboard(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((GRAFANA / f"{name}.json").read_text(encoding="utf-8"))
    return loaded


def panels(name: str) -> Iterator[dict[str, Any]]:
    yield from dashboard(name)["panels"]


TARGETS = [
    Target(name, panel["title"], target["refId"], target["format"], target["rawSql"])
    for name in NAMES
    for panel in panels(name)
    for target in panel["targets"]
    if "rawSql" in target
]
EXPRESSIONS = [
    target["expr"]
    for name in NAMES
    for panel in panels(name)
    for target in panel["targets"]
    if "expr" in target
]


def interpolated(sql: str, *, accounts: str = "'main','polled'", kind: str = "balances") -> str:
    """Its SQL as the database gets it, for March in Rome with steps of six hours."""
    variables = {
        "account": accounts,
        "asset": "'BTC','ETH','EUR'",
        "kind": kind,
        "__interval": "6h",
        "__timezone": "Europe/Rome",
    }
    for name, value in variables.items():
        sql = re.sub(rf"\${name}\b(?!\()", value, sql)
    macros: dict[str, Callable[[str], str]] = {
        "__timeFrom": lambda _: f"'{SINCE}'",
        "__timeTo": lambda _: f"'{UNTIL}'",
        "__timeFilter": lambda column: f"{column} BETWEEN '{SINCE}' AND '{UNTIL}'",
        "__timeGroup": lambda given: f"floor(extract(epoch from {given.split(',')[0]})/21600)*21600",
    }
    return re.sub(r"\$(\w+)\(([^)]*)\)", lambda found: macros[found[1]](found[2]), sql)


@pytest.fixture
def told(story: Query, sql: Query) -> Query:
    """The story, with a session that was lost and an event that could not be applied."""
    sql(
        "UPDATE ingest.session SET closed_at = '2025-03-03 12:00+00', ending = 'link_lost', cause = 'reset' "
        "WHERE session_id = %s",
        SESSIONS["A"],
    )
    request(sql, "main", "GetPairs", "04 12:00:00", "04 12:00:01", "answered")
    insert(
        sql,
        "dead_letter",
        account="main",
        session_id=SESSIONS["C"],
        ordinal=2,
        position=0,
        received_at="2025-03-03 13:04+00",
        stage="decode",
        reason="not_json",
        detail="no JSON",
        software_version="1",
        occurrences=1,
        last_received_at="2025-03-03 13:04+00",
    )
    return story


@pytest.fixture
def ask(told: Query, database: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


def test_every_panel_has_rows_that_grafana_can_show(ask: psycopg.Connection[tuple[Any, ...]]) -> None:
    empty = set()
    for target in TARGETS:
        # Not by execute's parameters: a "%" is the query's own.
        cursor = ask.execute(interpolated(target.sql).encode())
        assert cursor.description is not None
        types = {column.name: ask.adapters.types[column.type_code].name for column in cursor.description}
        rows = cursor.fetchall()
        if not rows:
            empty.add(target.panel)
        if target.format == "time_series":
            assert list(types) == ["time", "metric", "value"], target
            assert types["metric"] == "text", target
            assert types["value"] in {"int4", "int8", "float8"}, target
            # Grafana refuses a series whose times do not ascend.
            assert [row[0] for row in rows] == sorted(row[0] for row in rows), target
        else:
            assert set(types.values()) <= TABLE_TYPES, target
    assert empty == {"Data quality"}


def first(dashboard_name: str, panel: str, ref_id: str = "A") -> str:
    (found,) = (t.sql for t in TARGETS if (t.dashboard, t.panel, t.ref_id) == (dashboard_name, panel, ref_id))
    return found


def test_the_balances_are_exact_and_say_how_certain_they_are(told: Query) -> None:
    rows = told(interpolated(first("balances", "Balances now")))
    assert [(row[0], row[1], row[2], row[5]) for row in rows] == [
        ("main", "BTC", "9", "in_gap"),
        ("polled", "ETH", "7", "last_known"),
    ]


def test_one_account_is_shown_alone(told: Query) -> None:
    for target in TARGETS:
        if target.panel == "Size":  # of the tables, whoever's the rows are
            continue
        rows = told(interpolated(target.sql, accounts="'polled'").replace("%", "%%"))
        assert "main" not in {str(value).partition(" ")[0] for row in rows for value in row}, target


@pytest.mark.parametrize(
    ("panel", "series"),
    [
        (("balances", "Balances over time, gaps shaded", "B"), "gap main"),
        (("completeness", "Gaps", "A"), "main balances"),
    ],
)
def test_the_shading_is_that_of_the_gaps(panel: tuple[str, str, str], series: str, told: Query) -> None:
    rows = told(interpolated(first(*panel)))
    edges = [(at, value) for at, metric, value in rows if metric == series]
    assert (datetime.fromisoformat("2025-03-03T13:00:00Z"), 1) in edges
    assert (datetime.fromisoformat("2025-03-03T13:10:00Z"), 0) in edges
    assert edges[-1] == (datetime.fromisoformat(UNTIL), 0)
    assert [value for _, value in edges] == [1, 0] * (len(edges) // 2)


def test_the_known_and_the_unknown_time_of_a_range_are_those_of_its_coverage(told: Query) -> None:
    coverage = {
        (account, cause): (share, seconds)
        for account, cause, share, seconds in told(
            "SELECT account, cause, share::float8, extract(epoch FROM duration)::float8 "
            "FROM report.coverage(%s, %s) WHERE kind = 'balances' AND NOT is_former",
            SINCE,
            UNTIL,
        )
    }
    known = told(interpolated(first("completeness", "Known, of the range")))
    unknown = told(interpolated(first("completeness", "Unknown time by cause")))

    assert known == [(name, coverage[name, "known"][0]) for name in ("main", "polled")]
    assert dict(unknown) == {
        f"{name} {cause}": seconds for (name, cause), (_, seconds) in coverage.items() if cause != "known"
    }


@pytest.mark.parametrize("kind", ["balances", "pairs"])
def test_coverage_by_day_adds_up(told: Query, kind: str) -> None:
    rows = told(
        interpolated(first("completeness", "Coverage by day: $account"), accounts="'main'", kind=kind)
    )
    assert len(rows) == 32  # from the 1st of March, 01:00 in Rome, to the 1st of April, 02:00
    for _, *shares in rows:
        assert sum(share or 0 for share in shares) == pytest.approx(1, abs=1e-8)


def test_the_queries_of_the_variables_run(told: Query) -> None:
    found = {
        variable["name"]: told(interpolated(variable["query"]))
        for name in NAMES
        for variable in dashboard(name)["templating"]["list"]
        if variable["type"] == "query"
    }
    assert found == {
        "account": [("main",), ("polled",)],
        "asset": [("BTC",), ("ETH",), ("EUR",)],
    }


def test_only_the_contract_is_read() -> None:
    for target in TARGETS:
        sources = re.findall(r"(?<!epoch )\b(?:FROM|JOIN)\s+([a-z_.]+)", target.sql)
        assert sources, target
        assert all(each.startswith("report.") for each in sources), target


def test_every_metric_is_in_the_catalogue() -> None:
    exposed = {f"{PREFIX}{each.name}" for each in EXPOSED}
    named = {name for each in EXPRESSIONS for name in re.findall(rf"{PREFIX}\w+", each)}
    assert len(named) >= 10
    assert named <= exposed


@pytest.mark.parametrize("name", NAMES)
def test_the_json_survives_the_sdk(name: str) -> None:
    register_default_plugins()
    given = dashboard(name)
    assert json.loads(json.dumps(Dashboard.from_json(given), cls=JSONEncoder)) == given


def test_the_files_are_current(tmp_path: Path) -> None:
    """Renew them with `python deploy/grafana/dashboards.py`."""
    program = [sys.executable, str(GRAFANA / "dashboards.py"), str(tmp_path)]
    subprocess.run(program, env=surroundings(), check=True, timeout=60)
    for name in NAMES:
        assert (tmp_path / f"{name}.json").read_text() == (GRAFANA / f"{name}.json").read_text()
