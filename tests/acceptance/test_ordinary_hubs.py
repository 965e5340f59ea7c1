"""Healthy hubs with counters, answers and lists that the vendor does not rule out, and hubs that refuse."""

import itertools
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ingestor.simulator import AnswersIn, DataForm, Fault, HandlerForm, HubConfig, SimulatedHub
from tests.acceptance.conftest import Query
from tests.support.daemon import ACCOUNT, Daemon, command, environment
from tests.support.oracle import judge
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

FIRST_START = [("disconnected", "before_first_session")]
LINK_UP = [("GetBalances", "link_up", "answered"), ("GetPairs", "link_up", "answered")]
POLLED = {
    "INGESTOR_SNAPSHOTS__REPLY_DEADLINE_SECONDS": "1",
    "INGESTOR_SNAPSHOTS__BALANCES_INTERVAL_SECONDS": "1",
    "INGESTOR_SNAPSHOTS__PAIRS_INTERVAL_SECONDS": "1",
}
"""A schedule that comes around during a test."""


@contextmanager
def running(
    database: str, config: HubConfig, *faults: tuple[Fault, dict[str, Any]], **more: str
) -> Iterator[tuple[SimulatedHub, Daemon, dict[str, str]]]:
    """A hub that has these faults from the start, a daemon connected to it, and the daemon's environment."""
    with ExitStack() as stack:
        # Quiet hubs must ping within the short receive deadline of these tests.
        hub = stack.enter_context(SimulatedHub(replace(config, ping_interval_s=0.5)))
        for fault, parameters in faults:
            hub.inject(fault, **parameters)
        env = environment(hub.url, database, hub.config.api_key, **more)
        yield hub, stack.enter_context(Daemon(env)), env


def gaps(sql: Query) -> list[tuple[Any, ...]]:
    return sql("SELECT kind, cause FROM ingest.gap ORDER BY opened_at, kind")


def open_gaps(sql: Query) -> list[tuple[Any, ...]]:
    return sql("SELECT kind, cause, affects FROM ingest.gap WHERE ended_at IS NULL ORDER BY affects")


def requests(sql: Query) -> list[tuple[Any, ...]]:
    return sql("SELECT command, cause, outcome FROM ingest.request ORDER BY requested_at, command")


def balance_versions(sql: Query) -> int:
    return int(sql("SELECT count(*) FROM ingest.version WHERE kind = 'balances'")[0][0])


def both_known(sql: Query) -> bool:
    """Balances and pairs are stored, and nothing is uncertain any more."""
    return len(sql("SELECT 1 FROM ingest.watermark")) == 2 and not open_gaps(sql)


# --- the counter -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "passed_over"),
    [
        (HubConfig(changes_per_second=5, sequence_step=2, seed=3), {1}),
        (HubConfig(changes_per_second=5, sequence_step_random=3, seed=3), {0, 1, 2}),
    ],
    ids=["by 2", "at random"],
)
def test_numbers_that_are_passed_over_are_a_fact_and_no_gap(
    config: HubConfig, passed_over: set[int], database: str, sql: Query
) -> None:
    with running(database, config) as (_, daemon, env):
        eventually(lambda: both_known(sql) and balance_versions(sql) >= 25, within=30)
        assert command("status", env=env).returncode == 0
        assert daemon.terminate() == 0, daemon.log()

    assert requests(sql) == LINK_UP
    assert [gap for gap in gaps(sql) if gap[1] != "stopped"] == FIRST_START
    versions = sql(
        "SELECT passed_over, sequence FROM ingest.version WHERE kind = 'balances' ORDER BY sequence"
    )
    assert {number for number, _ in versions[1:]} == passed_over
    for (_, before), (number, sequence) in itertools.pairwise(versions):
        assert number == sequence - before - 1
    shown = sql("SELECT step FROM report.sequence_steps WHERE origin = 'pushed'")
    assert {step - 1 for (step,) in shown} == passed_over


def test_a_counter_that_is_said_to_be_contiguous_makes_gaps_of_skips_and_few_requests(
    database: str, sql: Query
) -> None:
    """Invariants I11, I13."""
    config = HubConfig(changes_per_second=5, sequence_step=2, seed=3)
    with running(database, config, INGESTOR_SEQUENCE__STEP="contiguous"):
        eventually(lambda: balance_versions(sql) >= 25, within=30)
        skips = sql("SELECT first_missing, last_missing FROM ingest.gap WHERE kind = 'sequence_skip'")
        assert len(skips) >= 10
        assert all(first == last and first % 2 == 1 for first, last in skips)
        assert len(requests(sql)) <= 2 + 8


def test_a_counter_that_restarts_lower_while_pushes_go_on_costs_one_epoch(database: str, sql: Query) -> None:
    """Invariant I10."""
    config = HubConfig(changes_per_second=100, first_sequence=26_941_144, seed=3)
    with running(database, config) as (hub, _, env):
        eventually(lambda: both_known(sql) and balance_versions(sql) >= 10, within=30)
        hub.inject(Fault.SEQUENCE_RESET, sequence=624_086)
        eventually(lambda: sql("SELECT 1 FROM ingest.watermark WHERE epoch = 2"), within=15)
        eventually(lambda: both_known(sql))
        ((lower, stale),) = sql("SELECT first_sequence, stale_snapshots FROM ingest.epoch WHERE epoch = 2")
        assert 624_086 <= lower < 625_000
        lower_and_stale = "SELECT count(*) FROM ingest.outcome WHERE outcome = 'stale' AND sequence <= %s"
        assert sql(lower_and_stale, lower) == [(stale,)]
        assert not sql("SELECT 1 FROM report.confirmation WHERE is_pending")
        assert len([one for one in requests(sql) if one[0] == "GetBalances"]) <= 5
        assert command("status", env=env).returncode == 0


# --- answers ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lag", [0.5, 1.5])
def test_an_answer_that_pushes_have_overtaken_is_stale_and_nothing_more(
    lag: float, database: str, sql: Query
) -> None:
    """Invariant I5."""
    with running(database, HubConfig(changes_per_second=5, answer_lag_seconds=lag, seed=3)) as (_, _, env):
        eventually(lambda: both_known(sql) and balance_versions(sql) >= 25, within=30)
        assert requests(sql) == LINK_UP
        assert sql("SELECT * FROM report.confirmation") == []
        assert sql("SELECT count(*) FROM ingest.outcome WHERE outcome = 'stale'") == [(1,)]
        assert gaps(sql) == FIRST_START
        assert sql("SELECT DISTINCT certainty FROM report.balance_current") == [("confirmed",)]
        assert command("status", env=env).returncode == 0


def test_late_answers_to_a_schedule_are_no_reason_for_more_requests(database: str, sql: Query) -> None:
    """Invariant I13."""
    config = HubConfig(changes_per_second=5, answer_lag_seconds=0.5, seed=3)
    with running(database, config, **POLLED) as (_, _, env):
        eventually(lambda: len(requests(sql)) >= 12, within=30)
        assert {cause for _, cause, _ in requests(sql)} <= {"link_up", "schedule", "overdue"}
        assert sql("SELECT * FROM report.confirmation") == []
        assert gaps(sql) == FIRST_START
        assert command("status", env=env).returncode == 0


@pytest.mark.parametrize("handler_form", HandlerForm)
@pytest.mark.parametrize("answers_in", [AnswersIn.COMPLETION, AnswersIn.BOTH])
def test_answers_in_completions_are_answers(
    answers_in: AnswersIn, handler_form: HandlerForm, database: str, sql: Query, journal: Path
) -> None:
    config = HubConfig(
        answers_in=answers_in, handler_form=handler_form, journal_path=journal, journal_fsync=False
    )
    with running(database, config) as (hub, daemon, env):
        eventually(lambda: both_known(sql), within=20)
        assert requests(sql) == LINK_UP
        holdings = hub.account.read().holdings
        stored = sql("SELECT asset, available, allocated, sequence FROM report.balance_current")
        assert sorted(stored) == sorted((name, *one, 100) for name, one in _amounts(holdings))
        assert sql("SELECT count(*) FROM report.pair_current") == [(6,)]
        assert sql("SELECT DISTINCT origin FROM ingest.version") == [("answered",)]
        assert sql("SELECT * FROM report.dead_letter") == []
        assert command("status", env=env).returncode == 0
        assert daemon.terminate() == 0, daemon.log()
    verdict = judge(journal, libpq_url(database), ACCOUNT)
    assert verdict.sent == (4 if answers_in is AnswersIn.BOTH else 2)
    assert (verdict.lost, verdict.doubled, verdict.invented) == (0, 0, 0)
    assert sql("SELECT * FROM report.unaccounted") == []


def _amounts(holdings: dict[str, Any]) -> list[tuple[str, tuple[Any, Any]]]:
    return [(name, (one.available, one.allocated)) for name, one in holdings.items()]


@pytest.mark.parametrize("data_form", DataForm)
@pytest.mark.parametrize(("name", "kind"), [("GetBalances", "balances"), ("GetPairs", "pairs")])
def test_null_is_an_empty_list_however_often_it_is_polled(
    name: str, kind: str, data_form: DataForm, database: str, sql: Query
) -> None:
    config = HubConfig(empty_account=True, null_lists=True, data_form=data_form)
    with running(database, config, **POLLED) as (hub, _, _):
        answered = "SELECT count(*) FROM ingest.request WHERE outcome = 'answered' AND command = %s"
        eventually(lambda: hub.targets_seen[name] >= 3, within=20)
        hub.account.change()
        eventually(lambda: sql(answered, name)[0][0] >= 5, within=15)
        assert sql("SELECT * FROM ingest.dead_letter WHERE subject LIKE %s", f"%{kind}%") == []
        affecting = f"SELECT cause, {kind}_confirmed_at IS NULL FROM ingest.gap WHERE %s = ANY (affects)"
        assert sql(affecting, kind) == [("before_first_session", False)]


# --- hubs in trouble -------------------------------------------------------------------------------------


def test_an_answer_above_the_size_limit_settles_its_request_and_is_requested_a_few_times_only(
    database: str, sql: Query
) -> None:
    """The bug that this is about requested it once a second, for ever (I13)."""
    config = HubConfig(answer_bytes=20_000, push_balances=False)
    with running(database, config, INGESTOR_HUB__MAX_RECORD_BYTES="4096") as (hub, daemon, env):
        eventually(lambda: requests(sql), within=20)
        until = time.monotonic() + 20
        eventually(lambda: time.monotonic() > until, within=21, every=0.5)
        for name in ("GetBalances", "GetPairs"):
            assert 2 <= hub.targets_seen[name] <= 10
        assert {outcome for _, _, outcome in requests(sql)} == {"unreadable"}
        lasting = sql(
            "SELECT affects, count(*), min(occurrences), bool_and(ended_at IS NULL) FROM ingest.gap "
            "WHERE kind = 'undecodable' GROUP BY affects"
        )
        assert 1 <= len(lasting) <= 2, "one for each kind of stream, or one for both"
        assert all(rows == 1 and times > 1 and is_open for _, rows, times, is_open in lasting)
        assert command("status", env=env).returncode == 1
        assert daemon.terminate() == 0, daemon.log()


REFUSED = [
    (Fault.COMMAND_COMPLETION_ERROR, "refused"),
    (Fault.COMMAND_PRECHECKS_ERROR, "refused"),
    (Fault.COMMAND_SUBJECT_ERROR, "refused"),
    (Fault.COMMAND_SILENCE, "timed_out"),
]


@pytest.mark.parametrize("name", ["GetBalances", "GetPairs"])
@pytest.mark.parametrize(("fault", "outcome"), REFUSED)
def test_a_hub_that_is_well_again_is_fresh_within_the_retry_cap(
    fault: Fault, outcome: str, name: str, database: str, sql: Query
) -> None:
    """The schedule comes after a minute at the earliest (I14)."""
    deadlines = {
        "INGESTOR_SNAPSHOTS__REPLY_DEADLINE_SECONDS": "1",
        "INGESTOR_SNAPSHOTS__RETRY_CAP_SECONDS": "2",
    }
    three = (fault, {"count": 3, "target": name})
    with running(database, HubConfig(push_balances=False), three, **deadlines) as (hub, _, env):
        eventually(lambda: hub.fault_counts[fault] == 3, within=20)
        eventually(lambda: both_known(sql), within=2 + 1 + 2)
        ended = [end for command_, _, end in requests(sql) if command_ == name]
        assert ended == [outcome] * 3 + ["answered"]
        assert command("status", env=env).returncode == 0


def test_refusals_that_never_end_are_answered_by_capped_pauses(database: str, sql: Query) -> None:
    """Neither once a second for ever, nor silence until the schedule (I13)."""
    cap = {"INGESTOR_SNAPSHOTS__RETRY_CAP_SECONDS": "3"}
    lasting = (Fault.COMMAND_COMPLETION_ERROR, {"count": None, "target": "GetBalances"})
    with running(database, HubConfig(push_balances=False), lasting, **cap) as (hub, _, _):
        eventually(lambda: hub.targets_seen["GetBalances"] >= 6, within=6 * 3)
        sent = sql("SELECT requested_at FROM ingest.request WHERE command = 'GetBalances' ORDER BY 1")
        pauses = [(later - earlier).total_seconds() for (earlier,), (later,) in itertools.pairwise(sent)]
        assert max(pauses) < 3 + 1
        assert min(pauses[3:]) > 1.2
        hub.clear_faults()
        eventually(lambda: both_known(sql), within=3 + 1)


def test_requests_without_an_answer_on_a_live_link_are_a_gap_since_the_last_confirmation(
    database: str, sql: Query
) -> None:
    """Invariant I11."""
    config = HubConfig(push_balances=False)
    with running(database, config, **POLLED) as (hub, _, env):
        eventually(lambda: both_known(sql) and len(requests(sql)) >= 4, within=20)
        hub.inject(Fault.COMMAND_SILENCE, count=None)
        unanswered = (
            "SELECT g.missed_from = w.confirmed_until, g.missed_until, g.ended_at, g.cause "
            "FROM ingest.gap AS g JOIN ingest.watermark AS w ON ARRAY[w.kind] = g.affects "
            "WHERE g.kind = 'unanswered' ORDER BY w.kind"
        )
        repeated = "SELECT min(occurrences) > 1 FROM ingest.gap WHERE kind = 'unanswered'"
        expected = (True, None, None, "timed_out")
        eventually(lambda: sql(unanswered) == [expected] * 2, within=15)
        eventually(lambda: sql(repeated) == [(True,)], within=15)
        assert sql("SELECT count(*) FROM ingest.session") == [(1,)]
        certainty = "SELECT DISTINCT certainty FROM report.balance_current"
        assert ("confirmed",) not in sql(certainty)
        assert command("status", env=env).returncode == 1

        hub.burst(1)  # a push is the next word of the balances
        ended = "SELECT ended_at IS NOT NULL FROM ingest.gap WHERE kind = 'unanswered' ORDER BY affects"
        eventually(lambda: sql(ended) == [(True,), (False,)], within=5)
        hub.clear_faults()
        eventually(lambda: both_known(sql), within=10)
        assert sql(certainty) == [("confirmed",)]
        assert command("status", env=env).returncode == 0
