"""The benchmark measures the real command line; a run that lost or doubled anything has no figure."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from tests.benchmarks import idle, report, reports, runs
from tests.benchmarks.__main__ import bed
from tests.benchmarks.check import ContentDiffers, check_daemon
from tests.benchmarks.figures import Results
from tests.benchmarks.load import Load
from tests.benchmarks.runs import Bed, Pace

slow = pytest.mark.slow

DAMAGES = {
    "records:": "DELETE FROM ingest.raw_event WHERE ordinal = 100",
    "unaccounted: expected 0, found 1": "DELETE FROM ingest.outcome WHERE ordinal = 100",
    "versions:": "UPDATE ingest.outcome SET valid_from = NULL WHERE ordinal = 100",
    "balance_rows:": "DELETE FROM ingest.balance WHERE sequence = 100",
    "final balances:": "UPDATE ingest.balance SET available = available + 1e-8 WHERE sequence = 301",
    "digest:": "UPDATE ingest.raw_event SET raw = raw || '!' WHERE ordinal = 100",
    "out_of_order: expected 0, found 1": "UPDATE ingest.outcome SET sequence = 1 WHERE ordinal = 100",
    "records: expected 302, found 303": (
        "INSERT INTO ingest.raw_event SELECT account, session_id, ordinal, "
        "received_at + interval '1 s', size, sha256, raw FROM ingest.raw_event WHERE ordinal = 100"
    ),
}


@pytest.fixture(scope="module")
def ground() -> Iterator[Bed]:
    """Server, generator and observer."""
    with bed(seed=1) as made:
        yield made


@slow
def test_a_run_counts_only_with_every_row_in_place(ground: Bed) -> None:
    """What the daemon wrote adds up; with one row less, one more or one different it does not."""
    ground.generator.reset(ground.seed, 3)
    since = datetime.now(UTC) - timedelta(minutes=1)
    with runs.fresh(ground) as database:
        found = runs.daemon_flat(ground, database, Load(300, records_per_frame=7))
        assert (found.events, found.seconds > 0) == (300, True)
        tally = ground.generator.tally()
        with psycopg.connect(ground.server.dsn(database)) as connection:
            check_daemon(connection, tally, since)
            for named, damage in DAMAGES.items():
                assert connection.execute(damage.encode()).rowcount > 0
                with pytest.raises(ContentDiffers, match=named):
                    check_daemon(connection, tally, since)
                connection.rollback()


@slow
def test_latencies_are_taken_of_each_event_but_the_first(ground: Bed) -> None:
    """A tenth warms up; the others lie between the send and the look of somebody else."""
    [found] = runs.daemon_latencies(ground, [Pace(100, 5, 1.0)])
    assert len(found.values) == 90
    assert 0 < found.at(0.5) <= found.at(0.99)


@slow
def test_an_idle_daemon_is_looked_at_while_it_runs(ground: Bed) -> None:
    """Its threads are all seen, and `status` finds it running."""
    found = idle.measure(ground, 2.0)
    assert 20e6 < found.resident < 500e6
    assert 0 < found.wakeups_per_second < 1000
    assert len(found.status_seconds) == idle.STATUS_RUNS


def test_a_figure_with_a_target_is_shown_with_it_and_can_miss_it() -> None:
    results = Results()
    results.add("wakeups_per_s", 3.5, "1/s")
    results.add("idle_rss_mib", 50.0, "MiB")
    assert results.missed() == ["wakeups_per_s"]
    assert results.figures().keys() == {"wakeups_per_s", "idle_rss_mib"}
    lines = report.table(results).splitlines()
    assert [line.split()[-1] for line in lines if line.startswith(("wake-ups", "MiB of"))] == [
        "aim",
        "MISSED",
    ]


def test_void_rounds_do_not_count_unless_nothing_else_is_left() -> None:
    """A round that the hypervisor took from us says nothing about the daemon."""
    results = Results(round=1)
    results.add("some", 1.0, "s")
    results.round = 2
    results.add("some", 3.0, "s")
    results.void = {1}
    assert results.summary("some")["median"] == 3.0
    results.void = {1, 2}
    assert results.summary("some")["median"] == 2.0


@slow
def test_the_reports_are_measured(tmp_path: Path) -> None:
    """On a small history; nothing is said about the targets."""
    output = tmp_path / "reports.json"
    reports.main(["--rows", "20000", "--runs", "1", "--output", str(output)])
    figures = json.loads(output.read_text())

    assert {name for name in figures if name.endswith("_ms")} == {f"{name}_ms" for name in reports.QUESTIONS}
    assert all(figures[f"{name}_ratio"] > 0 for name in reports.QUESTIONS)
    assert figures["statement_seconds"] > 0
    assert figures["statement_target_seconds"] == 5
