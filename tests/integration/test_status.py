"""`ingestor status`: each reason not to trust the tables is a problem, and exit code 1."""

import json
import re
from contextlib import closing
from dataclasses import astuple
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.account_lock import lock_key
from ingestor.app.check.checks import check
from ingestor.app.status import AccountStatus, daemon_state, status
from ingestor.app.status import problems as found_problems
from ingestor.cli.status import lines
from ingestor.config import load
from tests.support.daemon import ACCOUNT, command, environment
from tests.support.postgres import libpq_url
from tests.support.rows import SOME_ID, Query, account, ago, gap, insert, pending, stream, version

pytestmark = pytest.mark.slow


def read_status(database: str) -> AccountStatus:
    return status(load(overrides={"account": ACCOUNT, "database.url": database}, environ={}).settings)


def problems(database: str) -> list[str]:
    return found_problems(read_status(database))


def shown(database: str) -> str:
    """What a person reads."""
    return "\n".join(lines(read_status(database)))


def state(database: str) -> str:
    return daemon_state(read_status(database)).value


@pytest.fixture
def sql(sql: Query) -> Query:
    """Has the lock of the account, as its daemon does."""
    sql("SELECT pg_advisory_lock(%s)", lock_key(ACCOUNT))
    return sql


@pytest.fixture
def healthy(sql: Query) -> Query:
    account(sql, ACCOUNT)
    stream(sql, name=ACCOUNT)
    stream(sql, "", kind="pairs", name=ACCOUNT)
    return sql


def test_a_healthy_account_has_no_problems(healthy: Query, database: str) -> None:
    gap(healthy, "{balances,pairs}", balances="9 seconds", pairs="9 seconds", ended=True, name=ACCOUNT)
    stream(healthy, "a former user", age="1 year", name=ACCOUNT)

    assert problems(database) == []


def test_what_was_not_confirmed_in_time_is_a_problem(healthy: Query, database: str) -> None:
    healthy("UPDATE ingest.watermark SET confirmed_until = now() - interval '1 hour'")

    balances, pairs = problems(database)
    assert re.match(r"balances not confirmed for 36\d\d s, expected every 60 s: ", balances)
    assert re.match(r"pairs not confirmed for 36\d\d s, expected every 300 s: ", pairs)


def test_what_was_never_confirmed_is_a_problem_once_it_had_time(sql: Query, database: str) -> None:
    account(sql, ACCOUNT)
    assert problems(database) == []

    sql("UPDATE ingest.heartbeat SET started_at = now() - interval '1 hour'")
    balances, pairs = problems(database)
    assert balances.startswith("balances never confirmed")
    assert pairs.startswith("pairs never confirmed")


def test_a_pending_confirmation_is_a_problem_until_it_is_resolved(healthy: Query, database: str) -> None:
    pending(healthy, "reset_suspected", name=ACCOUNT)
    pending(healthy, "conflict", name=ACCOUNT)
    (problem,) = problems(database)
    assert problem.startswith("balances await confirmation: conflict, reset_suspected")

    healthy("UPDATE ingest.confirmation SET resolution = 'refuted', resolved_at = now()")
    assert problems(database) == []


@pytest.mark.parametrize(("offset", "said"), [(40.0, "40.000 s ahead of"), (-90.0, "90.000 s behind")])
def test_a_clock_that_differs_from_the_databases_is_a_problem(
    offset: float, said: str, healthy: Query, database: str
) -> None:
    healthy("UPDATE ingest.heartbeat SET clock_offset_seconds = 1.9")
    assert problems(database) == []

    healthy("UPDATE ingest.heartbeat SET clock_offset_seconds = %s", offset)
    (problem,) = problems(database)
    assert said in problem
    assert f"clock     {said} the database's" in shown(database)


def test_records_that_were_dropped_are_a_problem_for_a_day(healthy: Query, database: str) -> None:
    gap(healthy, "{balances}", balances="1 second", ended=True, kind="dropped", name=ACCOUNT)
    healthy(
        "UPDATE ingest.gap SET first_missing = 11, last_missing = 40, opened_at = now() - interval '25 h'"
    )
    assert problems(database) == []

    healthy("UPDATE ingest.gap SET opened_at = now() - interval '23 h'")
    (problem,) = problems(database)
    assert problem.startswith("records dropped in the last 24 hours: 30")


def test_the_steps_of_the_counter_are_shown(healthy: Query, database: str) -> None:
    """So that an operator can tell whether a skip means that something was missed."""
    for sequence, passed_over in ((2, 0), (3, 0), (4, 0), (6, 1)):
        version(healthy, sequence, passed_over=passed_over, name=ACCOUNT)
    assert [astuple(each) for each in read_status(database).sequence_steps] == [
        ("u", "pushed", 1, 3, 0.75),
        ("u", "pushed", 2, 1, 0.25),
    ]
    assert "steps     75.0% of the versions that were pushed rose by 1 (3, user u)" in shown(database)


def test_several_users_are_told_apart_and_cannot_command_the_terminal(healthy: Query, database: str) -> None:
    assert "user u" not in shown(database)

    stream(healthy, "x\x1b[2J\n", name=ACCOUNT)
    for sequence in (2, 3):
        version(healthy, sequence, user="x\x1b[2J\n", name=ACCOUNT)

    assert {each[-8:] for each in lines(read_status(database)) if each.startswith("balances")} == {
        ", user u",
        "x1b[2J\\n",
    }
    assert "(2, user x\\x1b[2J\\n)" in shown(database)


def test_the_gap_of_a_clean_stop_is_no_damage(healthy: Query, database: str) -> None:
    gap(healthy, "{balances,pairs}", name=ACCOUNT)
    healthy("UPDATE ingest.gap SET cause = 'stopped', missed_until = NULL")
    _stop(healthy)

    (problem,) = problems(database)
    assert re.fullmatch(r"the daemon is not running: it was stopped [\d.]+ s ago", problem)
    assert "gaps      0 open" in shown(database)
    assert "\nlink  " not in shown(database)


def _stop(sql: Query) -> None:
    sql("UPDATE ingest.heartbeat SET stopped_at = now(), link_state = 'stopped'")
    sql("SELECT pg_advisory_unlock_all()")


def test_an_open_gap_is_a_problem_whether_or_not_the_daemon_runs(healthy: Query, database: str) -> None:
    gap(healthy, "{balances}", name=ACCOUNT)
    assert [each.partition(",")[0] for each in problems(database)] == ["gaps open: 1"]

    _stop(healthy)
    assert any(each.startswith("gaps open: 1") for each in problems(database))


def test_a_gap_that_only_a_former_user_could_end_is_no_problem(healthy: Query, database: str) -> None:
    stream(healthy, "a former user", age="1 year", name=ACCOUNT)
    gap(healthy, "{balances}", user="a former user", name=ACCOUNT)
    assert problems(database) == []

    gap(healthy, "{balances}", user="u", name=ACCOUNT)
    assert [each.partition(",")[0] for each in problems(database)] == ["gaps open: 1"]


OLD = "UPDATE ingest.heartbeat SET heartbeat_at = now() - interval '1 minute', inbox_records = 2"


def test_a_daemon_that_died_is_not_shown_as_if_it_ran(healthy: Query, database: str) -> None:
    """Its lock is gone with it, at once."""
    healthy("UPDATE ingest.heartbeat SET inbox_records = 2")
    healthy("SELECT pg_advisory_unlock_all()")

    assert state(database) == "silent"
    (problem,) = problems(database)
    assert problem.startswith("the daemon has died or cannot reach the database: it has no database session")
    assert re.search(r"link      was up [\d.]+ s ago", shown(database))
    assert re.search(r"inbox     2 records were waiting [\d.]+ s ago", shown(database))


def test_a_daemon_that_is_tried_and_not_written_by_is_not_dead(healthy: Query, database: str) -> None:
    """This connection uses its database session, as one does that tries again and again."""
    healthy(OLD)

    assert state(database) == "not_writing"
    healthy("SELECT 1")
    (problem,) = problems(database)
    assert re.match(r"the daemon runs and has written nothing for \d+ s: see commit_delayed", problem)


def test_a_database_session_that_is_made_anew_for_each_attempt_is_found(
    healthy: Query, database: str
) -> None:
    """A full disk: each failed write costs the database session, and the lock is there for moments only."""
    healthy(OLD)
    healthy("SELECT pg_advisory_unlock_all()")
    on, off = f"PERFORM pg_advisory_lock({lock_key(ACCOUNT)})", "PERFORM pg_advisory_unlock_all()"
    loop = f"BEGIN LOOP {on}; PERFORM pg_sleep(0.02); {off}; PERFORM pg_sleep(0.5); END LOOP; END"
    with closing(psycopg.connect(libpq_url(database), autocommit=True)) as daemon:
        daemon.pgconn.send_query(f"DO $${loop}$$".encode())
        found = state(database)
        daemon.cancel()
    assert found == "not_writing"


def test_a_daemon_that_has_just_taken_the_lock_is_starting(sql: Query, database: str) -> None:
    account(sql, ACCOUNT)
    sql("UPDATE ingest.heartbeat SET stopped_at = now()")
    assert state(database) == "starting"


def test_a_misspelt_account_is_told_from_one_that_never_ran(sql: Query, database: str) -> None:
    sql("SELECT pg_advisory_unlock_all()")
    (problem,) = problems(database)
    assert problem == f"the daemon has never run for the account {ACCOUNT}: `ingestor run`"

    account(sql, "main")
    (problem,) = problems(database)
    assert "this database holds main: check the setting account" in problem


WAITING = (
    "UPDATE ingest.heartbeat SET link_state = 'waiting', connection_error = %s, "
    "connection_error_detail = %s, key_refused = %s, next_attempt_at = now() + interval '10 minutes'"
)


def test_a_link_that_is_away_says_why_and_when_it_is_tried_again(healthy: Query, database: str) -> None:
    healthy(WAITING, "http_503", "negotiate was answered 503", False)

    (problem,) = problems(database)
    assert re.match(
        r"no link to the hub: http_503, negotiate was answered 503 \(next attempt in 10 min\); ", problem
    )
    assert "link      waiting, next attempt in 10 min" in shown(database)


def test_a_refused_key_is_named_also_after_the_end(healthy: Query, database: str) -> None:
    healthy(WAITING, "http_401", None, True)
    (problem,) = problems(database)
    assert problem.startswith("the hub refused the key: http_401 (next attempt in 10 min); check")

    _stop(healthy)
    assert problems(database)[1].startswith("the hub refused the key: http_401; check")


def session(sql: Query, **values: object) -> None:
    given: dict[str, object] = {
        "account": ACCOUNT,
        "session_id": SOME_ID,
        "opened_at": ago("1 hour"),
        "url": "u",
        "attempts": 1,
        "connection_errors": ("'{}'",),
        "software_version": "1",
        "closed_at": ago("10 minutes"),
        "ending": "link_lost",
        "received": 0,
        "committed_ordinal": 0,
        "committed_records": 0,
        "dropped_records": 0,
    }
    insert(sql, "session", **{**given, **values})


def test_links_that_are_lost_often_are_a_problem(healthy: Query, database: str) -> None:
    for _ in range(4):
        session(healthy)
    session(healthy, ending="clean")
    session(healthy, closed_at=ago("61 minutes"))
    assert problems(database) == []
    assert "links     4 lost in the last hour" in shown(database)

    session(healthy)
    assert problems(database) == ["5 links lost in the last hour: see the view report.session"]


def test_records_unaccounted_for_are_a_problem(healthy: Query, database: str) -> None:
    session(healthy, received=10, committed_records=7)
    assert problems(database) == ["records unaccounted for: 3, see the view report.unaccounted"]


def request(sql: Query, command_: str, outcome: str | None, error: str | None = None) -> None:
    insert(
        sql,
        "request",
        account=ACCOUNT,
        request_id=SOME_ID,
        requested_at=("clock_timestamp()",),
        command=command_,
        cause="schedule",
        attempt=1,
        argument_form="positional",
        session_id=SOME_ID,
        outcome=outcome,
        error=error,
    )


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        ("refused", "GetPairs is refused by the hub: no right, see the view report.request"),
        (
            "unreadable",
            "GetPairs gets an answer that cannot be used: no right, see the view report.request",
        ),
        ("timed_out", "GetPairs gets no answer: no right, see the view report.request"),
    ],
)
def test_a_command_that_fails_is_a_problem_until_it_is_answered(
    outcome: str, said: str, healthy: Query, database: str
) -> None:
    """At once: the stream is stale only after two intervals."""
    request(healthy, "GetPairs", "answered")
    request(healthy, "GetPairs", outcome, "no right")
    request(healthy, "GetPairs", None)
    request(healthy, "GetBalances", "answered")
    assert problems(database) == [said]

    request(healthy, "GetPairs", "answered")
    assert problems(database) == []


def test_an_answer_that_is_too_large_names_size_and_setting(healthy: Query, database: str) -> None:
    detail = "the record has 5000 bytes; the limit is 4096 (hub.max_record_bytes)"
    gap(healthy, "{balances,pairs}", kind="undecodable", name=ACCOUNT)
    healthy(
        "INSERT INTO ingest.dead_letter SELECT account, session_id, ordinal, position, now(), 'decode', "
        "'too_large', %s, NULL, '1', 1, now() FROM ingest.gap",
        detail,
    )
    assert problems(database) == [
        "gaps open: 1, see the view report.gap",
        f"a record could not be read: {detail}",
    ]
    assert f"letters   1 quarantined, the newest: {detail}" in shown(database)

    healthy("UPDATE ingest.gap SET ended_at = now()")
    assert problems(database) == []


def test_a_look_does_not_take_the_lock(healthy: Query, database: str) -> None:
    """Or a daemon that connects at that moment would take the account for another's."""
    healthy("SELECT pg_advisory_unlock_all()")
    with psycopg.connect(libpq_url(database), autocommit=True) as daemon:
        ((taken,),) = daemon.execute("SELECT pg_try_advisory_lock(%s)", [lock_key(ACCOUNT)]).fetchall()
        assert taken
        assert state(database) == "running"


def test_both_forms_say_the_same(healthy: Query, database: str) -> None:
    env = environment("http://127.0.0.1:1/hub", database, "a-key")
    pending(healthy, name=ACCOUNT)
    plain, machine = command("status", env=env), command("status", "--json", env=env)
    said = json.loads(machine.stdout)["problems"]
    assert [each for each in said if each in plain.stdout][-1].startswith("balances await confirmation")
    assert "problem   balances await confirmation" in plain.stdout
    assert plain.returncode == machine.returncode == 1


@pytest.mark.parametrize(
    ("seconds", "said"), [(40, r"(40|39)\.\d+ s ahead of"), (-90, r"(90|89)\.\d+ s behind")]
)
def test_check_shows_how_far_the_clocks_are_apart(seconds: float, said: str, database: str) -> None:
    given = {"account": ACCOUNT, "database.url": database}
    (well,) = [each for each in check(lambda: load(overrides=given, environ={})) if each.name == "clock"]
    assert re.search(r"this host's clock is 0\.\d+ s (ahead of|behind) the database's$", well.what)
    assert (well.ok, well.fix) == (True, None)

    def wall() -> datetime:
        return datetime.now(UTC) + timedelta(seconds=seconds)

    found = check(lambda: load(overrides=given, environ={}), clock=DatabaseClock(wall))
    (apart,) = [each for each in found if each.name == "clock"]
    assert re.search(f"this host's clock is {said} the database's$", apart.what)
    assert apart.ok
    assert "time service" in (apart.fix or "")
