"""What the views say, on rows of every kind: the contract that analysts rely on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

import pytest

from ingestor.app.wiring import Ingestor
from ingestor.config import Environment, Hub, Settings, Snapshots
from ingestor.domain.streams import ConfirmationReason
from ingestor.simulator import Fault, HubConfig, SimulatedHub
from tests.support.rows import Query, account, epoch, gap, pending, stream, version
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


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
    ("affects", "confirmed", "said"),
    [
        # Until a fresh snapshot has come, nobody knows.
        ("{balances,pairs}", {}, "in_gap"),
        ("{balances}", {}, "in_gap"),
        ("{balances,pairs}", {"pairs": "5 seconds"}, "in_gap"),
        # The balances have been confirmed, or were never touched; late pairs do not make them uncertain.
        ("{balances,pairs}", {"balances": "5 seconds"}, "confirmed"),
        ("{pairs}", {}, "confirmed"),
        ("{balances,pairs}", {"balances": "5 seconds", "pairs": "1 second", "ended": True}, "confirmed"),
    ],
)
def test_a_balance_is_only_as_certain_as_its_gaps_allow(
    affects: str, confirmed: dict[str, Any], said: str, sql: Query
) -> None:
    account(sql)
    stream(sql)
    gap(sql, affects, **confirmed)

    assert certainty(sql) == said


def test_a_gap_or_a_contradiction_of_somebody_else_changes_nothing(sql: Query) -> None:
    account(sql)
    account(sql, "other")
    stream(sql)
    stream(sql, "second user")
    stream(sql, "third user")
    gap(sql, "{balances}", name="other")
    gap(sql, "{balances}", user="second user")
    pending(sql, user="third user")
    pending(sql, name="other")
    pending(sql, "mass_delete", "", kind="pairs")

    assert (certainty(sql), certainty(sql, "second user"), certainty(sql, "third user")) == (
        "confirmed",
        "in_gap",
        "last_known",
    )


@pytest.mark.parametrize("reason", ConfirmationReason)
def test_a_pending_contradiction_makes_a_stream_uncertain_at_once_in_every_view(
    reason: ConfirmationReason, sql: Query
) -> None:
    """H6: what the hub has may be a state that is not applied yet."""
    account(sql)
    stream(sql)
    stream(sql, "", kind="pairs")
    pending(sql, reason.value)
    pending(sql, reason.value, "", kind="pairs")
    current = "SELECT certainty, pending_confirmations FROM report.balance_current"
    fresh = "SELECT kind, is_fresh, pending_confirmations FROM report.freshness ORDER BY 1"
    sql("INSERT INTO ingest.pair VALUES ('main', 'BTCUSDT', now(), 1, 1, 0, 'BTC', 'USDT', 1, 1, 1, 1, true)")
    pair = "SELECT certainty, pending_confirmations FROM report.pair_current"
    assert sql(current) == sql(pair) == [("last_known", 1)]
    assert sql(fresh) == [("balances", False, 1), ("pairs", False, 1)]
    assert sql("SELECT DISTINCT reason, is_pending FROM report.confirmation") == [(reason.value, True)]

    sql("UPDATE ingest.confirmation SET resolution = 'refuted', resolved_at = now()")
    assert sql(current) == sql(pair) == [("confirmed", 0)]
    assert sql(fresh) == [("balances", True, 0), ("pairs", True, 0)]


def test_a_stamp_later_than_now_is_no_evidence(sql: Query) -> None:
    """C2: a clock that was an hour ahead for nine seconds."""
    account(sql)
    stream(sql, age="-1 hour")
    assert certainty(sql) == "last_known"
    assert sql("SELECT is_fresh FROM report.freshness WHERE kind = 'balances'") == [(False,)]

    sql(
        "UPDATE ingest.watermark SET confirmed_until = now() + interval '1 second'"
    )  # a clock may differ a little
    assert certainty(sql) == "confirmed"
    assert sql("SELECT is_fresh FROM report.freshness WHERE kind = 'balances'") == [(True,)]


def test_history_tells_how_each_version_came(sql: Query) -> None:
    """A skip is a fact of the version that came after it."""
    account(sql)
    stream(sql)
    version(sql, 5, passed_over=3, origin="answered")
    sql(
        "INSERT INTO ingest.balance SELECT 'main', 'u', 'BTC', valid_from, 1, 5, 0, 7, 0, true "
        "FROM ingest.version"
    )
    history = (
        "SELECT sequence, total, valid_to IS NULL, origin, passed_over, recorded_at <= clock_timestamp() "
        "FROM report.balance_history ORDER BY epoch, sequence, revision"
    )
    assert sql(history) == [
        (1, 1, False, None, None, None),
        (5, 7, True, "answered", 3, True),
    ]


def test_the_steps_of_the_counter_are_counted_by_origin(sql: Query) -> None:
    account(sql)
    stream(sql)
    epoch(sql, 2, 1)
    for sequence, passed_over in ((1, 0), (2, 0), (3, 0), (10, 6)):
        version(sql, sequence, passed_over=passed_over)
    version(sql, 11, origin="answered")
    version(sql, 11, revision=1)  # another content under one number
    version(sql, 1, epoch=2)  # a counter that begins
    version(sql, 3, epoch=2, passed_over=1)
    version(sql, 4, user="another")

    assert sql("SELECT origin, step, versions, share FROM report.sequence_steps ORDER BY 1, 2") == [
        ("answered", 1, 1, Decimal("1.0000")),
        ("pushed", 1, 2, Decimal("0.5000")),
        ("pushed", 2, 1, Decimal("0.2500")),
        ("pushed", 7, 1, Decimal("0.2500")),
    ]


def test_the_steps_are_those_of_the_newest_versions(sql: Query) -> None:
    account(sql)
    stream(sql)
    sql(
        "INSERT INTO ingest.outcome (account, kind, user_id, valid_from, epoch, sequence, revision, "
        "session_id, ordinal, position, received_at, outcome, deleted, origin, passed_over) "
        "SELECT 'main', 'balances', 'u', timestamptz '2026-01-01' + n * interval '1 s', 1, n, 0, "
        "gen_random_uuid(), n, 0, now(), 'applied', false, 'pushed', CASE WHEN n <= 20 THEN 4 ELSE 0 END "
        "FROM generate_series(2, 10020) AS n"
    )
    assert sql("SELECT step, versions FROM report.sequence_steps") == [(1, 10_000)]


def test_a_gap_names_what_it_still_awaits_and_when_each_kind_was_confirmed(sql: Query) -> None:
    account(sql)
    gap(sql, "{balances,pairs}", balances="30 seconds")

    assert sql(
        "SELECT is_open, affects, unconfirmed, extract(epoch FROM duration)::int, "
        "extract(epoch FROM balances_unknown_for)::int, extract(epoch FROM pairs_unknown_for)::int "
        "FROM report.gap"
    ) == [(True, ["balances", "pairs"], ["pairs"], 10, 30, 60)]

    sql("UPDATE ingest.gap SET pairs_confirmed_at = now(), ended_at = now()")
    assert sql("SELECT is_open, unconfirmed FROM report.gap") == [(False, [])]


@pytest.mark.parametrize("affects", ["{balances}", "{pairs}"])
def test_what_a_gap_does_not_affect_was_never_unknown(affects: str, sql: Query) -> None:
    account(sql)
    gap(sql, affects)
    assert sql(
        "SELECT unconfirmed = affects, balances_unknown_for IS NULL, pairs_unknown_for IS NULL "
        "FROM report.gap"
    ) == [(True, affects == "{pairs}", affects == "{balances}")]


@contextmanager
def ingesting(hub: SimulatedHub, database: str) -> Iterator[None]:
    """The whole daemon, on a hub that has answered both requests."""
    settings = Settings(
        account="main",
        hub=Hub(environment=Environment.CUSTOM, url=hub.url, backoff_cap_seconds=1),
        snapshots=Snapshots(balances_interval_seconds=3, reply_deadline_seconds=1, retry_cap_seconds=1),
    )
    ingestor = Ingestor(settings, database, lambda: hub.config.api_key)
    ingestor.start(threading.Event(), lambda _: None)
    try:
        yield
    finally:
        ingestor.stop(5.0)


@pytest.mark.parametrize(
    ("fault", "cut", "kind"),
    [
        (Fault.COMMAND_SUBJECT_ERROR, True, "disconnected"),
        (Fault.COMMAND_SILENCE, True, "disconnected"),
        (Fault.COMMAND_SILENCE, False, "unanswered"),  # on a live link, with nothing pushed
    ],
)
def test_balances_that_the_hub_does_not_tell_are_uncertain_until_it_does(
    fault: Fault, cut: bool, kind: str, database: str, sql: Query
) -> None:
    certain = "SELECT 1 FROM report.balance_current HAVING count(*) > 0 AND every(certainty = %s)"
    with SimulatedHub(HubConfig(seed=3, changes_per_second=0)) as hub, ingesting(hub, database):
        eventually(lambda: sql(certain, "confirmed"), within=20)
        hub.inject(fault, target="GetBalances", count=None)
        if cut:
            hub.inject(Fault.RST)
        half_confirmed = "SELECT 1 FROM report.gap WHERE kind = %s AND unconfirmed = '{balances}'"
        eventually(lambda: sql(half_confirmed, kind), within=20)
        assert sql(certain, "in_gap")
        assert sql("SELECT open_gaps FROM report.freshness ORDER BY kind") == [(1,), (0,)]

        hub.clear_faults()
        eventually(lambda: sql(certain, "confirmed"), within=20)

    assert sql(
        "SELECT count(*) FROM report.gap WHERE kind = %s AND balances_confirmed_at IS NOT NULL "
        "AND balances_unknown_for >= duration",
        kind,
    ) != [(0,)]


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
    sql("UPDATE ingest.heartbeat SET heartbeat_at = now() - interval '1 day' WHERE account <> 'alive'")
    sql("UPDATE ingest.heartbeat SET stopped_at = heartbeat_at WHERE account = 'retired'")
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
    gap(sql, "{balances}")
    gap(sql, "{balances,pairs}")
    gap(sql, "{balances,pairs}", balances="1 second")
    gap(sql, "{pairs}", pairs="1 second", ended=True)

    assert sql("SELECT kind, open_gaps FROM report.freshness ORDER BY 1") == [("balances", 2), ("pairs", 2)]


def test_a_former_user_is_named_so_that_sums_can_leave_it_out(sql: Query) -> None:
    """R3: otherwise `sum(total)` doubles when the key was changed for another user's."""
    account(sql)
    stream(sql, "now")
    stream(sql, "beside it", age="1 minute")
    stream(sql, "before", age="1 hour")
    account(sql, "other")
    stream(sql, "before", name="other")
    former = "SELECT account, user_id FROM report.balance_current WHERE is_former"

    assert sql(former) == [("main", "before")]
    assert sql("SELECT account, user_id FROM report.freshness WHERE is_fresh IS NULL") == sql(former)
    assert sql("SELECT sum(total) FROM report.balance_current WHERE account = 'main' AND NOT is_former") == [
        (2,)
    ]


def test_users_who_are_all_old_are_not_former(sql: Query) -> None:
    account(sql)
    stream(sql, "one", age="1 hour")
    stream(sql, "two", age="1 hour 30 seconds")
    sql("INSERT INTO ingest.account VALUES ('never ran', 'custom', now())")
    stream(sql, name="never ran")

    assert sql("SELECT DISTINCT is_former FROM report.balance_current") == [(False,)]
