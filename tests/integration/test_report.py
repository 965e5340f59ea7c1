"""What the views say, on rows of every kind: the contract that analysts rely on."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from ingestor.app import Ingestor
from ingestor.config import Environment, Hub, Settings, Snapshots
from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.support.postgres import libpq_url
from tests.support.waiting import eventually

Query = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def sql(database: str) -> Iterator[Query]:
    with psycopg.connect(libpq_url(database), autocommit=True) as connection:

        def query(statement: str, *values: object) -> list[tuple[Any, ...]]:
            cursor = connection.execute(statement, values)
            return cursor.fetchall() if cursor.description else []

        yield query


def account(sql: Query, name: str = "main") -> None:
    """An account whose daemon is alive and asks for balances every minute, for pairs every five."""
    sql("INSERT INTO ingest.account VALUES (%s, 'custom', now())", name)
    sql(
        "INSERT INTO ingest.heartbeat (account, process_id, pid, host, software_version, started_at, "
        "beat_at, link_state, inbox_records, inbox_bytes, balances_interval, pairs_interval) "
        "VALUES (%s, gen_random_uuid(), 1, 'h', '1', now(), now(), 'up', 0, 0, '1 minute', '5 minutes')",
        name,
    )


def stream(
    sql: Query, user: str = "u", *, age: str = "10 seconds", kind: str = "balances", name: str = "main"
) -> None:
    """A stream that was confirmed so long ago, and one asset of it."""
    sql(
        "INSERT INTO ingest.epoch VALUES (%s, %s, %s, 1, now(), 'first_seen', 1, NULL, "
        "gen_random_uuid(), 1, gen_random_uuid(), 1, 1)",
        *(name, kind, user),
    )
    sql(
        "INSERT INTO ingest.watermark VALUES (%s, %s, %s, 1, 1, 0, '', gen_random_uuid(), 1, 0, "
        "now() - interval '1 year', now() - %s::interval, false)",
        *(name, kind, user, age),
    )
    if kind == "balances":
        sql(
            "INSERT INTO ingest.balance "
            "VALUES (%s, %s, 'BTC', now() - interval '1 year', 1, 1, 0, 1, 0, true)",
            *(name, user),
        )


def gap(
    sql: Query,
    ending: str | None,
    awaiting: str,
    *,
    ended: str = "1 second",
    user: str | None = None,
    name: str = "main",
) -> None:
    """A gap that began a minute ago and ended so long ago, if it did."""
    sql(
        "INSERT INTO ingest.gap (account, session_id, ordinal, position, kind, missed_from, missed_until, "
        "opened_at, cause, obstacles, stream, user_id, awaiting, ending, ended_at) "
        "VALUES (%s, gen_random_uuid(), 1, 0, 'disconnected', now() - interval '1 minute', "
        "now() - interval '50 seconds', now() - interval '1 minute', 'reset', '{}', %s, %s, %s::text[], %s, "
        "CASE WHEN %s::text IS NOT NULL THEN now() - %s::interval END)",
        *(name, None if user is None else "balances", user, awaiting, ending, ending, ended),
    )


def certainty(sql: Query, user: str = "u") -> str:
    ((said,),) = sql(
        "SELECT certainty FROM report.balance_current WHERE account = 'main' AND user_id = %s", user
    )
    return str(said)


def test_without_any_gap_a_fresh_balance_is_confirmed_and_an_old_one_last_known(sql: Query) -> None:
    account(sql)
    stream(sql)
    stream(sql, "quiet", age="3 minutes")

    assert (certainty(sql), certainty(sql, "quiet")) == ("confirmed", "last_known")


@pytest.mark.parametrize(
    ("ending", "awaiting", "ended", "said"),
    [
        # Until a fresh answer has come, nobody knows.
        (None, "{balances,pairs}", "", "in_gap"),
        (None, "{balances}", "", "in_gap"),
        # The balances have been proven; only the pairs are still open, or were never told.
        (None, "{pairs}", "", "confirmed"),
        ("lost", "{pairs}", "1 second", "confirmed"),
        # A fresh answer proved the state, or nothing had been missed.
        ("healed", "{}", "1 second", "confirmed"),
        ("explained", "{}", "1 second", "confirmed"),
        # The hub would not tell: no better than open, until a later snapshot (here 10 s old) says so.
        ("lost", "{balances,pairs}", "1 second", "in_gap"),
        ("lost", "{balances}", "1 second", "in_gap"),
        ("lost", "{balances}", "20 seconds", "confirmed"),
    ],
)
def test_a_balance_is_only_as_sure_as_its_gaps_allow(
    ending: str | None, awaiting: str, ended: str, said: str, sql: Query
) -> None:
    account(sql)
    stream(sql)
    gap(sql, ending, awaiting, ended=ended or "0")

    assert certainty(sql) == said


@pytest.mark.parametrize("ending", [None, "lost"])
def test_a_gap_of_somebody_else_casts_no_doubt(ending: str | None, sql: Query) -> None:
    account(sql)
    account(sql, "other")
    stream(sql)
    stream(sql, "second user")
    gap(sql, ending, "{balances}", name="other")
    gap(sql, ending, "{balances}", user="second user")

    assert (certainty(sql), certainty(sql, "second user")) == ("confirmed", "in_gap")


def test_after_a_loss_the_daemon_confirms_only_what_it_has_heard_since(database: str, sql: Query) -> None:
    """The whole way: the hub answers GetPairs and refuses GetBalances for good after a reconnect."""
    with SimulatedHub(HubConfig(seed=3, changes_per_second=0)) as hub:
        settings = Settings(
            account="main",
            hub=Hub(environment=Environment.CUSTOM, url=hub.url, backoff_cap_seconds=1),
            snapshots=Snapshots(
                balances_interval_seconds=60, reply_deadline_seconds=2, attempts=1, overdue_factor=100
            ),
        )
        ingestor = Ingestor(settings, database, lambda: hub.config.api_key)
        ingestor.start(threading.Event(), lambda _: None)
        try:
            sure = "SELECT 1 FROM report.balance_current HAVING every(certainty = %s)"
            eventually(lambda: ingestor.picture().answered >= 2 and sql(sure, "confirmed"))
            hub.inject(Fault.COMMAND_SUBJECT_ERROR, target="GetBalances", count=None)
            hub.inject(Fault.RST)
            eventually(lambda: sql("SELECT 1 FROM ingest.gap WHERE ending = 'lost'"), within=20)
            assert sql(sure, "in_gap")

            hub.clear_faults()
            ingestor._schedule._scheduler.modify_job("GetBalances", next_run_time=ingestor._clock.now())
            eventually(lambda: sql(sure, "confirmed"), within=20)
        finally:
            ingestor.stop(5.0)
