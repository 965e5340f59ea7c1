"""The shipped alert rules, by promtool: each fires for its cause, none when all is well, and the vendor's
maintenance quietens those that it explains. What a real daemon's metrics set off is in
tests/acceptance/test_readiness.py."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingestor.app.metrics import EXPOSED, PREFIX, page
from tests.support.alerts import DIRECTORY, Firing, check, firing_at, history, needs_promtool, promtool
from tests.support.daemon import ROOT
from tests.support.daemon_status import daemon_status
from tests.support.postgres import libpq_url

RULES = (DIRECTORY / "alerts.yml").read_text()
ALERTS = re.findall(r"(?m)^ +- alert: (\w+)$", RULES)
WEDNESDAY = 6 * 24 * 60  # promtool's time begins on a Thursday
pytestmark = needs_promtool


def metrics(**changed: Any) -> str:
    return page(lambda: daemon_status(**changed)).decode()


NO_LINK = {"link": "waiting", "open_gaps": 1, "gaps": {"disconnected": 1}, "oldest_gap_seconds": 1.0}
CASES: list[tuple[dict[str, Any], list[Firing]]] = [
    ({}, [firing_at(60)]),
    (NO_LINK, [firing_at(3.5), firing_at(5, "NotReady")]),
    ({"started": False}, [firing_at(3.5), firing_at(5, "NotReady")]),
    ({"started": False, "standby": True}, [firing_at(60)]),
    ({**NO_LINK, "oldest_gap_seconds": 299.0}, [firing_at(60, "NotReady")]),
    ({**NO_LINK, "oldest_gap_seconds": 301.0}, [firing_at(3.5), firing_at(5, "NotReady", "GapOpen")]),
    ({"seconds_uncommitted": 59.0}, [firing_at(60, "NotReady")]),
    (
        {"seconds_uncommitted": 61.0},
        [firing_at(2.25, "NotCommitting"), firing_at(60, "NotCommitting", "NotReady")],
    ),
    ({"dropped": 7}, [firing_at(2.25, "Dropped"), firing_at(58, "Dropped"), firing_at(63)]),
    ({"key_refused": True}, [firing_at(2.25), firing_at(3.5, "KeyRefused")]),
    ({"clock_offset_seconds": -4.9}, [firing_at(60)]),
    ({"clock_offset_seconds": -5.1}, [firing_at(2.25), firing_at(3.5, "ClockOffset")]),
    ({"clock_offset_seconds": 5.1}, [firing_at(3.5, "ClockOffset")]),
    ({"unaccounted": 1}, [firing_at(3.5), firing_at(5, "Unaccounted")]),
    ({**NO_LINK, "link": "paused", "oldest_gap_seconds": 301.0}, [firing_at(58), firing_at(65, "Paused")]),
    (
        {"link": "paused", "turns": {"writer": 60.0}},
        [firing_at(58, "NotReady"), firing_at(65, "NotReady", "Paused")],
    ),
]


@pytest.mark.parametrize(("changed", "expected"), CASES)
def test_what_fires(tmp_path: Path, changed: dict[str, Any], expected: list[Firing]) -> None:
    check(tmp_path, history(metrics(), (metrics(**changed),) * 2, 90), [firing_at(1.75), *expected])


def test_a_daemon_that_does_not_answer(tmp_path: Path) -> None:
    check(tmp_path, history(metrics(), None, 30), [firing_at(1.75), firing_at(3.5), firing_at(5, "Down")])


def test_a_target_that_is_not_there(tmp_path: Path) -> None:
    check(tmp_path, {}, [firing_at(1), firing_at(3, "Down")])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "within", "after"),
    [
        (NO_LINK, [], ["NotReady"]),
        ({**NO_LINK, "oldest_gap_seconds": 301.0}, [], ["NotReady", "GapOpen"]),
        ({**NO_LINK, "key_refused": True}, [], ["NotReady", "KeyRefused"]),
        ({**NO_LINK, "turns": {"writer": 60.0}}, ["NotReady"], ["NotReady"]),
        ({**NO_LINK, "seconds_since_stored": 60.0}, ["NotReady"], ["NotReady"]),
        (
            {**NO_LINK, "seconds_uncommitted": 61.0},
            ["NotReady", "NotCommitting"],
            ["NotReady", "NotCommitting"],
        ),
    ],
)
def test_the_vendors_maintenance_quietens_what_it_explains(
    tmp_path: Path, changed: dict[str, Any], within: list[str], after: list[str]
) -> None:
    """Wednesday 09:00 to 10:00 UTC; from there on an alert's time counts anew."""
    nine, ten = WEDNESDAY + 9 * 60, WEDNESDAY + 10 * 60
    series = {
        name: f"_x{(nine - 60) // 5} {values}"
        for name, values in history(metrics(), (metrics(**changed),) * 2, 90, step=300).items()
    }
    expected = [
        firing_at(nine - 5, *after),
        firing_at(nine + 5, *within),
        firing_at(ten - 5, *within),
        firing_at(ten, *within),
        firing_at(ten + 5, *after),
    ]
    check(tmp_path, series, expected, step=300)


def test_promtool_finds_nothing_wrong() -> None:
    for arguments in (["rules", "--lint-fatal", "alerts.yml"], ["config", "prometheus.yml"]):
        done = promtool("check", *arguments[:-1], str(DIRECTORY / arguments[-1]))
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_use_only_metrics_that_exist() -> None:
    used = set(re.findall(rf"\b{PREFIX}\w+", RULES))
    assert used <= {f"{PREFIX}{each.name}" for each in EXPOSED}


def test_each_alert_has_an_entry_in_the_runbook_and_a_link_to_it() -> None:
    runbook = (ROOT / "deploy" / "RUNBOOK.md").read_text()
    assert re.findall(r"(?m)^## (Hercle\w+)$", runbook) == ALERTS
    assert re.findall(r"RUNBOOK\.md#(\w+)", RULES) == [name.lower() for name in ALERTS]
    for entry in runbook.split("\n## ")[1:]:
        for part in ("**Symptom.**", "**Cause.**", "**Do.**", "```sh"):
            assert part in entry, entry.splitlines()[0]


def test_each_alert_is_fired_by_a_test() -> None:
    fired = {name for _, expected in CASES for each in expected for name in each.firing}
    assert fired | {"HercleIngestorDown"} == set(ALERTS)


def test_the_runbooks_queries_run(database: str) -> None:
    queries = re.findall(r'psql -d ingestor -c "([^"]+)"', (ROOT / "deploy" / "RUNBOOK.md").read_text())
    assert len(queries) >= 4
    with psycopg.connect(libpq_url(database)) as connection:
        for query in queries:
            connection.execute(query.encode())
