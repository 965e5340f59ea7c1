"""`ingestor status`: each reason not to trust the tables is a problem, and exit code 1."""

import json
import re

import pytest

from tests.support.daemon import ACCOUNT, command, environment
from tests.support.rows import Query, account, gap, stream


def problems(database: str) -> list[str]:
    """What both forms say; they must agree, with each other and with the exit code."""
    env = environment("http://127.0.0.1:1/hub", database, "a-key")
    plain, machine = command("status", env=env), command("status", "--json", env=env)
    said: list[str] = json.loads(machine.stdout)["problems"]
    printed = re.findall(r"(?m)^problem   (.*)", plain.stdout)
    assert [_timeless(each) for each in printed] == [_timeless(each) for each in said]
    assert plain.returncode == machine.returncode == (1 if said else 0)
    return said


def _timeless(text: str) -> str:
    """Without the age, which grows from one look to the next."""
    return re.sub(r"for \d+ s", "for so long", text)


@pytest.fixture
def healthy(sql: Query) -> Query:
    account(sql, ACCOUNT)
    stream(sql, name=ACCOUNT)
    stream(sql, "", kind="pairs", name=ACCOUNT)
    return sql


def test_a_healthy_account_has_no_problems(healthy: Query, database: str) -> None:
    gap(healthy, "healed", "{}", name=ACCOUNT)
    gap(healthy, "explained", "{}", name=ACCOUNT)
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


def test_an_open_doubt_is_a_problem(healthy: Query, database: str) -> None:
    healthy(
        "INSERT INTO ingest.doubt SELECT %s, gen_random_uuid(), 1, 0, doubt, 'balances', 'u', 1, now() "
        "FROM unnest(ARRAY['reset_suspected', 'conflict']) AS d(doubt)",
        ACCOUNT,
    )
    (doubt,) = problems(database)
    assert doubt.startswith("balances in doubt: conflict, reset_suspected")

    healthy("UPDATE ingest.doubt SET resolution = 'refuted', resolved_at = now()")
    assert problems(database) == []


def test_an_open_gap_is_a_problem_whether_or_not_the_daemon_runs(healthy: Query, database: str) -> None:
    gap(healthy, None, "{balances}", name=ACCOUNT)
    assert [each.partition(",")[0] for each in problems(database)] == ["gaps open: 1"]

    healthy("UPDATE ingest.heartbeat SET stopped_at = now()")
    assert any(each.startswith("gaps open: 1") for each in problems(database))


def test_a_gap_that_only_a_former_user_could_end_is_no_problem(healthy: Query, database: str) -> None:
    stream(healthy, "a former user", age="1 year", name=ACCOUNT)
    gap(healthy, None, "{balances}", user="a former user", name=ACCOUNT)
    assert problems(database) == []

    gap(healthy, None, "{balances}", user="u", name=ACCOUNT)
    assert [each.partition(",")[0] for each in problems(database)] == ["gaps open: 1"]


def test_a_lost_gap_is_a_problem_for_a_day(healthy: Query, database: str) -> None:
    gap(healthy, "lost", "{balances}", ended="25 hours", name=ACCOUNT)
    assert problems(database) == []

    gap(healthy, "lost", "{balances}", ended="23 hours", name=ACCOUNT)
    (lost,) = problems(database)
    assert lost.startswith("gaps lost in the last 24 hours: 1")
