"""What the views say, on rows of every kind: the contract that analysts rely on."""

import threading

import pytest

from ingestor.app import Ingestor
from ingestor.config import Environment, Hub, Settings, Snapshots
from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.support.rows import Query, account, gap, stream
from tests.support.waiting import eventually


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


def test_freshness_expects_nothing_of_a_former_user(sql: Query) -> None:
    """The key was changed for another user's: nobody will ever confirm the one before."""
    account(sql)
    stream(sql, "now")
    stream(sql, "before", age="1 hour")
    stream(sql, "", kind="pairs", age="1 hour")

    assert sql("SELECT kind, user_id, is_fresh FROM report.freshness ORDER BY 1, 2") == [
        ("balances", "before", None),
        ("balances", "now", True),
        ("pairs", "", False),
    ]


def test_freshness_of_users_who_are_all_old_is_false(sql: Query) -> None:
    """A daemon that is away makes no former users of those it had."""
    account(sql)
    stream(sql, "one", age="1 hour")
    stream(sql, "two", age="1 hour 30 seconds")

    assert sql("SELECT DISTINCT is_fresh FROM report.freshness WHERE kind = 'balances'") == [(False,)]


def test_freshness_tells_a_retired_account_from_a_dead_one(sql: Query) -> None:
    account(sql, "retired")
    account(sql, "died")
    account(sql, "alive")
    sql("UPDATE ingest.heartbeat SET beat_at = now() - interval '1 day' WHERE account <> 'alive'")
    sql("UPDATE ingest.heartbeat SET stopped_at = beat_at WHERE account = 'retired'")
    sql("INSERT INTO ingest.account VALUES ('never ran', 'custom', now())")

    assert sql(
        "SELECT account, is_alive, is_fresh, stopped_at IS NOT NULL FROM report.freshness "
        "WHERE kind = 'balances' ORDER BY 1"
    ) == [
        ("alive", True, False, False),
        ("died", False, False, False),
        ("never ran", False, False, False),
        ("retired", False, False, True),
    ]


def test_freshness_counts_the_open_gaps_of_each_stream(sql: Query) -> None:
    account(sql)
    stream(sql)
    stream(sql, "", kind="pairs")
    gap(sql, None, "{balances}")
    gap(sql, None, "{balances,pairs}")
    gap(sql, "lost", "{pairs}")

    assert sql("SELECT kind, open_gaps FROM report.freshness ORDER BY 1") == [("balances", 2), ("pairs", 1)]
