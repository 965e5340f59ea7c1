"""The account changes by its seed, in exact amounts."""

import json
from decimal import Decimal

from ingestor.simulator import HubConfig
from ingestor.simulator.account import Account, Snapshot
from ingestor.simulator.protocol import to_json


def test_the_same_seed_gives_the_same_changes() -> None:
    one, two, other = (Account(HubConfig(seed=seed)) for seed in (4, 4, 5))
    for _ in range(200):
        assert one.change() == two.change()
    other_end = [other.change() for _ in range(200)][-1]
    assert other_end != one.read()


def test_each_change_is_one_step_of_the_sequence_and_never_an_overdraft() -> None:
    account = Account(HubConfig(first_sequence=7, sequence_step=3))
    for step in range(1, 1001):
        snapshot = account.change()
        assert snapshot.sequence == 7 + 3 * step
        assert all(one.available >= 0 and one.allocated >= 0 for one in snapshot.holdings.values())


def test_placing_and_releasing_orders_moves_nothing_in_or_out() -> None:
    """available + allocated of an asset changes only by trades, deposits and withdrawals."""
    account = Account(HubConfig(seed=2))
    before = account.read().holdings
    released = 0
    for _ in range(500):
        after = account.change().holdings
        for name, now in after.items():
            if now.allocated != before[name].allocated:
                assert now.total == before[name].total
                released += 1
        before = after
    assert released > 20


def test_the_payload_has_the_documented_fields_and_the_exact_digits() -> None:
    account = Account(HubConfig())
    text = to_json(account.balances(account.read()))
    assert b'"available":340.123456789012345678,"allocated":0.000000000000000000' in text
    payload = json.loads(text, parse_float=Decimal)
    assert list(payload) == [
        "userId",
        "sequence",
        "assets",
        "baseCurrency",
        "totalCurrentExposure",
        "totalMaxExposure",
        "deleted",
    ]
    assert sum(row["currentExposure"] for row in payload["assets"]) == payload["totalCurrentExposure"]


def test_an_emptied_account_is_full_again_at_a_higher_sequence() -> None:
    account = Account(HubConfig())
    before = account.read()
    emptied = account.empty_balances(1)
    assert emptied == Snapshot(before.sequence + 1, {})
    assert account.read() == Snapshot(before.sequence + 2, before.holdings)


def test_pairs_change_their_limits_and_come_and_go() -> None:
    account = Account(HubConfig())
    seen = set()
    lists = set()
    for _ in range(60):
        account.change_pairs()
        pairs = account.pairs()
        assert isinstance(pairs, list)
        lists.add(to_json(pairs))
        seen.add(len(pairs))
    assert len(lists) > 30
    assert len(seen) > 1
