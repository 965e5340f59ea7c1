"""What holds now, and the histories as they are known now, compared with the oracle over random histories."""

from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random

import pytest

from tests.integration.reports.test_oracle import SEEDS, Rows, differing, less, tell, total
from tests.support.report_oracle import Oracle, tick
from tests.support.rows import Query
from tests.support.told import Told

FOREVER = datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize("seed", SEEDS)
def test_what_holds_now_is_what_the_oracle_says(seed: int, sql: Query, database: str) -> None:
    random = Random(seed)
    differ: list[object] = []
    for told in tell(sql, database, seed):
        oracle = Oracle(told, datetime.now(UTC))
        differ += compare_streams(sql, oracle)
        differ += compare_balances_and_pairs(sql, oracle)
        differ += compare_versions(sql, told)
        differ += compare_history(sql, oracle, random)
        differ += compare_blind(sql, oracle)
    assert not differ, f"{len(differ)}: {differ[:5]}"


def certainty_now(oracle: Oracle, kind: str, user: str) -> str:
    """The last confirmation is older than two intervals in any case."""
    open_gap = any(
        kind in gap.affects
        and gap.user_id in {None, user}
        and (gap.balances_confirmed_at if kind == "balances" else gap.pairs_confirmed_at) is None
        for gap in oracle.gaps
    )
    return "in_gap" if open_gap else "last_known"


def standing(oracle: Oracle, kind: str, user: str) -> tuple[object, ...]:
    """Of the newest version: valid_from, confirmed_until, certainty, pending confirmations, is_former."""
    newest = oracle.told.streams[kind, user][-1]
    pending = [row for row in oracle.confirmations if row.resolution is None]
    return (
        newest.valid_from,
        oracle.stream(kind, user, oracle.limit).confirmed_until,
        certainty_now(oracle, kind, user),
        sum((row.kind, row.user_id) == (kind, user) for row in pending),
        oracle.is_former(kind, user),
    )


STANDING = "confirmed_until, certainty, pending_confirmations"


def compare_streams(sql: Query, oracle: Oracle) -> list[object]:
    told = oracle.told
    streams: Rows = {
        row[:2]: row[2:]
        for row in sql(
            f"SELECT kind, user_id, valid_from, {STANDING}, is_former FROM report.stream WHERE account = %s",
            told.account,
        )
    }
    fresh: Rows = {
        row[:2]: row[2:]
        for row in sql(
            "SELECT kind, user_id, valid_from, confirmed_until, pending_confirmations, is_fresh, is_alive, "
            "stopped_at FROM report.freshness WHERE account = %s AND valid_from IS NOT NULL",
            told.account,
        )
    }
    expected: Rows = {}
    expected_fresh: Rows = {}
    for key in told.streams:
        expected[key] = stands = standing(oracle, *key)
        since, until, _, pending, former = stands
        expected_fresh[key] = (
            *(since, until, pending, None if former else False, False),
            None if told.died else told.end,
        )
    return [
        *differing(expected, streams, "streams", told.account),
        *differing(expected_fresh, fresh, "freshness", told.account),
    ]


def compare_balances_and_pairs(sql: Query, oracle: Oracle) -> list[object]:
    found: Rows = {
        row[:2]: row[2:]
        for row in sql(
            f"SELECT user_id, asset, total, reported, valid_from, observed_at, {STANDING}, is_former "
            "FROM report.balance_current WHERE account = %s",
            oracle.told.account,
        )
    }
    found |= {
        ("", *row[:1]): row[1:]
        for row in sql(
            f"SELECT name, min_size, max_size, valid_from, observed_at, {STANDING} "
            "FROM report.pair_current WHERE account = %s",
            oracle.told.account,
        )
    }
    expected: Rows = {}
    for user, asset in oracle.assets():
        held = oracle.held(oracle.stream("balances", user, oracle.limit), asset)
        expected[user, asset] = (total(held), held.is_named, held.since, *standing(oracle, "balances", user))
    for newest in oracle.told.streams.get(("pairs", ""), [])[-1:]:
        answer = oracle.stream("pairs", "", oracle.limit)
        for name in newest.sent.contents:
            held = oracle.held(answer, name)
            stands = standing(oracle, "pairs", "")[:4]
            expected["", name] = (held.first, held.second, held.since, *stands)
    return differing(expected, found, "balances and pairs", oracle.told.account)


def compare_versions(sql: Query, told: Told) -> list[object]:
    found: Rows = {
        row[:5]: row[5:]
        for row in sql(
            "SELECT kind, user_id, epoch, sequence, revision, valid_from, recorded_at, origin, passed_over, "
            "deleted, previous_confirmed_until, session_id, ordinal FROM report.version WHERE account = %s",
            told.account,
        )
    }
    expected: Rows = {}
    for key, versions in told.streams.items():
        for before, v in zip([None, *versions], versions, strict=False):
            until = (
                None if before is None else max([before.valid_from, *(again[0] for again in before.again)])
            )
            expected[*key, *v.number] = (
                *(v.valid_from, v.recorded_at, "pushed" if v.sent.pushed else "answered", v.passed_over),
                *(v.deleted, until, v.session, v.ordinal),
            )
    return differing(expected, found, "versions", told.account)


def compare_history(sql: Query, oracle: Oracle, random: Random) -> list[object]:
    """The rows; and that none says that it is known for longer than it is."""
    found: Rows = {}
    differ: list[object] = []
    for row in sql(
        "SELECT user_id, asset, epoch, sequence, revision, valid_from, valid_to, total, total_change, "
        "reported, confirmed_until, certainty FROM report.balance_history WHERE account = %s",
        oracle.told.account,
    ):
        found[row[:5]] = row[5:10]
        (user, asset), (valid_from, valid_to), (known_until, certainty) = row[:2], row[5:7], row[10:]
        if valid_to is not None and (certainty == "confirmed") != (known_until == valid_to):
            differ.append(("certainty", row))
        for _ in range(3):
            at = tick(valid_from) + 1 + int(random.random() * (tick(known_until) - tick(valid_from)))
            known = oracle.stream("balances", user, at).certainty == "confirmed"
            # A contradiction that has been resolved since does not count in the history.
            if at < tick(known_until) and not known and not oracle.is_pending("balances", user, at):
                differ.append(("history", row, at, oracle.cause("balances", user, at)))
    expected: Rows = {}
    for user, asset in oracle.assets():
        changes = oracle.changes(user, asset)
        for number, (version, now, before) in enumerate(changes):
            valid_to = changes[number + 1][0].valid_from if number + 1 < len(changes) else None
            key = (user, asset, *version.number)
            expected[key] = (
                *(version.valid_from, valid_to, total(now), less(total(now), total(before)), now.is_named),
            )
    return [*differ, *differing(expected, found, "history", oracle.told.account)]


def compare_blind(sql: Query, oracle: Oracle) -> list[object]:
    told = oracle.told
    columns = "kind, user_id, blind_from, blind_until FROM report.blind_interval"
    found: Rows = dict.fromkeys(sql(f"SELECT {columns} WHERE account = %s", told.account), ())
    expected: Rows = {}
    for kind, user in told.streams:
        merged: list[tuple[datetime, datetime]] = []
        for since, until in sorted(gaps(oracle, kind, user)):
            if merged and since <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(until, merged[-1][1])
            elif since < until:
                merged.append((since, until))
        for since, until in merged:
            expected[kind, user, since, None if until == FOREVER else until] = ()
    return differing(expected, found, "blind", told.account)


def gaps(oracle: Oracle, kind: str, user: str) -> Iterator[tuple[datetime, datetime]]:
    """Each gap of a stream as it stands now, to its proof."""
    for gap in oracle.gaps:
        if kind in gap.affects and gap.user_id in {None, user}:
            proof = gap.balances_confirmed_at if kind == "balances" else gap.pairs_confirmed_at
            yield gap.missed_from, proof or FOREVER
