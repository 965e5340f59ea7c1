"""The whole daemon against a SignalR server that nobody here wrote, through a restart of that server.

Invariants I1, I11, I14.
"""

from contextlib import AbstractContextManager, ExitStack
from decimal import Decimal
from typing import Any, Protocol

import pytest

from tests.acceptance.conftest import Query
from tests.support.daemon import Daemon, environment
from tests.support.third_party_hub import BALANCES, Account, Pings, Running, on_aiohttp, on_uvicorn
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


class Serve(Protocol):
    def __call__(self, account: Account, port: int = 0) -> AbstractContextManager[Running]: ...


def snapshot(sequence: int, bitcoin: str) -> str:
    """The sample with another sequence and amount."""
    return BALANCES.replace('"sequence":123', f'"sequence":{sequence}').replace("0.5", bitcoin)


def stored(sql: Query) -> list[tuple[Any, ...]]:
    return sql("SELECT asset, available, allocated, sequence FROM report.balance_current ORDER BY asset")


def requested(sql: Query) -> list[tuple[Any, ...]]:
    """What was requested after each link-up, session by session."""
    return sql(
        "SELECT command, outcome FROM ingest.request AS c JOIN ingest.session USING (account, session_id) "
        "WHERE c.cause = 'link_up' ORDER BY opened_at, command"
    )


ANSWERED = [("GetBalances", "answered"), ("GetPairs", "answered")]


@pytest.mark.parametrize(
    ("serve", "causes"), [(on_aiohttp, {"eof", "reset"}), (on_uvicorn, {"closed_by_hub"})]
)
def test_a_restart_of_a_hub_that_is_not_ours_costs_one_gap_and_nothing_else(
    serve: Serve, causes: set[str], database: str, sql: Query
) -> None:
    account = Account()
    pongs = Pings.answered
    with ExitStack() as first, ExitStack() as rest:
        hub = first.enter_context(serve(account))
        daemon = rest.enter_context(Daemon(environment(hub.url, database, "any-key")))
        eventually(lambda: requested(sql) == ANSWERED, within=20)
        assert stored(sql) == [("BTC", Decimal("0.5"), 0, 123), ("ETH", 5, 0, 123), ("USDT", 1000, 250, 123)]
        assert sql("SELECT name, min_size, max_quote_size FROM report.pair_current ORDER BY name") == [
            ("BTCUSDT", Decimal("0.0001"), 1_000_000),
            ("ETHUSDT", Decimal("0.001"), 1_000_000),
        ]
        hub.push(snapshot(124, "0.75"))
        eventually(lambda: stored(sql)[0] == ("BTC", Decimal("0.75"), 0, 124))
        if serve is on_uvicorn:
            eventually(lambda: Pings.answered >= pongs + 3)
        assert sql("SELECT count(*) FROM ingest.session") == [(1,)]

        first.close()
        eventually(lambda: daemon.events("link_attempt_failed"))
        account.balances = snapshot(126, "0.25")
        again = rest.enter_context(serve(account, hub.port))
        eventually(lambda: requested(sql) == ANSWERED * 2, within=20)
        again.push(snapshot(127, "0.125"))
        eventually(lambda: stored(sql)[0] == ("BTC", Decimal("0.125"), 0, 127))
        assert daemon.terminate() == 0, daemon.log()

    ((cause, connection_errors, ended),) = sql(
        "SELECT cause, connection_errors, ended_at IS NOT NULL FROM ingest.gap "
        "WHERE kind = 'disconnected' AND cause <> 'stopped' AND ordinal > 0"
    )
    assert cause in causes
    assert (connection_errors, ended) == (["refused"], True)
    assert sql("SELECT ending, cause FROM ingest.session ORDER BY opened_at") == [
        ("link_lost", cause),
        ("clean", "stopped"),
    ]
    assert sql("SELECT outcome, count(*) FROM ingest.event_outcome GROUP BY outcome ORDER BY 2") == [
        ("duplicate", 1),
        ("applied", 5),
    ]
    assert sql("SELECT * FROM report.unaccounted") == []
    assert [command for command, _ in account.commands] == ["GetBalances", "GetPairs"] * 2
