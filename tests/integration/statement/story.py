"""A month of one account, with everything that a statement can show, and how its page is read."""

import re
from datetime import date, datetime, timedelta
from decimal import Decimal
from html import unescape
from zoneinfo import ZoneInfo

from ingestor.statement.figures import (
    Balance,
    Day,
    Figures,
    GapShown,
    LatencyDay,
    LimitChange,
    Movement,
    Point,
    Proof,
    Series,
)

ROME = ZoneInfo("Europe/Rome")
SINCE, UNTIL = datetime(2026, 3, 1, tzinfo=ROME), datetime(2026, 4, 1, tzinfo=ROME)
HOUR = timedelta(hours=1)


def figures(asset: str = "BTC") -> Figures:
    """March 2026 in Rome: its 29th has 23 hours."""
    return Figures(
        account="main",
        environment="sandbox",
        since=SINCE,
        until=UNTIL,
        zone=ROME,
        known_at=UNTIL + timedelta(days=1),
        software_version="0.1.0",
        contract_version="1",
        balances=[
            _balance("hub-user", asset, "12.50000000", "1234567.123456789012345678", is_former=False),
            _balance("hub-user", "ETH", None, "0.10", is_former=False),
            _balance("left-user", "BTC", "1", "1", is_former=True),
        ],
        series=[
            Series("hub-user", asset, [Point(SINCE + n * 6 * HOUR, Decimal(n) / 7) for n in range(120)]),
            Series("hub-user", "ETH", []),
        ],
        gaps=[
            GapShown("disconnected", "silent", SINCE + 76 * HOUR, SINCE + 81 * HOUR, ["balances", "pairs"]),
            GapShown("unanswered", "timed_out", UNTIL - 1.5 * HOUR, None, ["balances"]),
            GapShown("disconnected", "eof", SINCE - 2 * HOUR, SINCE + 3 * HOUR, ["pairs"]),
        ],
        days=[_day(SINCE.date() + timedelta(days=n)) for n in range(31)],
        movements=[Movement(SINCE + 5 * HOUR, asset, Decimal("-3.25"), Decimal("9.25"), "confirmed")],
        limit_changes=[LimitChange(SINCE + 9 * HOUR, "BTCUSDT", "min_size", "0.0001", "0.001")],
        latency=[
            LatencyDay(SINCE.date(), "GetBalances", 1440, 3, 41.2, 220.0),
            LatencyDay(SINCE.date() + timedelta(days=1), "GetBalances", 1000, 2, 61.2, 90.0),
            LatencyDay(SINCE.date(), "GetPairs", 288, 288, None, None),
        ],
        proof=Proof(44640, "a/1", "b/88", 1234, "ab" * 32),
    )


def cells(html: str) -> list[list[str]]:
    """The texts of all tables, row by row."""
    tag = re.compile(r"<[^>]+>")
    return [
        [
            " ".join(unescape(tag.sub("", cell)).split())
            for cell in re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row, re.DOTALL)
        ]
        for row in re.findall(r"<tr>(.*?)</tr>", html, re.DOTALL)
    ]


def _balance(user: str, asset: str, opening: str | None, closing: str, *, is_former: bool) -> Balance:
    return Balance(
        user,
        asset,
        None if opening is None else Decimal(opening),
        "confirmed" if opening else "before_first",
        Decimal(closing),
        Decimal(closing),
        Decimal(0),
        "in_gap",
        UNTIL - 2 * HOUR,
        is_former,
        None if opening is None else Decimal(closing) - Decimal(opening),
    )


def _day(day: date) -> Day:
    length = (23 if day.day == 29 else 24) * HOUR
    lost = {4: ("disconnected", 5 * HOUR), 31: ("unanswered", 1.5 * HOUR)}.get(day.day)
    parts = {"known": length} if lost is None else {"known": length - lost[1], lost[0]: lost[1]}
    return Day(day, length, parts)
