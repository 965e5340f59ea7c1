"""Ready means that data flows and is committed, live that every thread makes progress."""

from typing import Any

import pytest

from ingestor.app.daemon_status import not_live
from ingestor.app.health import COMMIT_OVERDUE_SECONDS, REASONS, not_ready
from tests.support.daemon_status import daemon_status

WRONG: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({"started": False}, {"starting": "it waits for the database"}),
    ({"started": False, "standby": True}, {"standby": "another process writes the account"}),
    ({"turns": {"writer": 31.0}}, {"threads": "writer stuck for 31 s"}),
    ({"ended_thread": "link"}, {"threads": "link has ended"}),
    ({"link": "paused"}, {"paused": "by an operator; `ingestor resume` ends it"}),
    ({"link": "negotiating"}, {"link": "negotiating"}),
    ({"link": "waiting", "connection_error": "reset"}, {"link": "waiting, reset"}),
    (
        {"snapshot_seconds": {"balances": None, "pairs": 1.0}},
        {"snapshots": "no recent confirmation of balances"},
    ),
    (
        {"snapshot_seconds": {"balances": 120.1, "pairs": 600.1}},
        {"snapshots": "no recent confirmation of balances and pairs"},
    ),
    ({"open_gaps": 2, "oldest_gap_seconds": 3.0}, {"gaps": "2 open, the oldest for 3.0 s"}),
    (
        {"seconds_uncommitted": 15.1, "retrying": "connection refused\nfix: see"},
        {"commits": "a batch has waited for 15 s (connection refused)"},
    ),
    ({"seconds_since_stored": 15.1}, {"commits": "nothing was committed for 15 s"}),
    ({"dropping": 7}, {"dropping": "7 records so far, since the inbox is full"}),
]


def test_a_daemon_that_is_well_is_live_and_ready() -> None:
    assert not_ready(daemon_status()) == {}
    assert not_live(daemon_status()) == []


@pytest.mark.parametrize(("changed", "reasons"), WRONG)
def test_each_reason_is_named(changed: dict[str, Any], reasons: dict[str, str]) -> None:
    assert not_ready(daemon_status(**changed)) == reasons


def test_every_reason_is_tested() -> None:
    assert {reason for _, reasons in WRONG for reason in reasons} == set(REASONS)


def test_what_is_within_its_bound_is_well() -> None:
    just = COMMIT_OVERDUE_SECONDS
    bounds = {"balances": 120.0, "pairs": 600.0}
    now = daemon_status(seconds_uncommitted=just, seconds_since_stored=just, snapshot_seconds=bounds)
    assert not_ready(now) == {}


def test_only_threads_decide_whether_it_is_live() -> None:
    """Invariant I15: by the judgement that feeds the watchdog, in tests/unit/test_daemon.py."""
    for changed, reasons in WRONG:
        assert bool(not_live(daemon_status(**changed))) is ("threads" in reasons)
