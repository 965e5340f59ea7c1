"""Whole-table counts of an account, for the closing document of `ingestor demo`."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, func, select, text

from ingestor.adapters.postgres import tables as t


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """All that is stored of an account, in numbers."""

    received: int
    committed: int
    dropped: int
    outcomes: dict[str, int]
    sessions: int
    requests_answered: int
    gaps: dict[str, dict[str, int]]
    """kind, then `open` or `ended`, then count"""
    balance_rows: int
    pair_rows: int
    events_without_outcome: int


def account_totals(connection: Connection, account: str) -> AccountTotals:
    """Counts everything of one account. Scans; not for a big database."""
    s = t.session.c
    sessions = connection.execute(
        select(
            func.count(),
            func.coalesce(func.sum(func.coalesce(s.received, s.committed_ordinal)), 0),
            func.coalesce(func.sum(s.dropped_records), 0),
        ).where(s.account == account)
    ).one()
    outcomes = connection.execute(
        select(t.outcome.c.outcome, func.count()).where(t.outcome.c.account == account).group_by("outcome")
    )
    g = t.gap.c
    gaps: dict[str, dict[str, int]] = {}
    for kind, is_open, count in connection.execute(
        select(g.kind, g.ended_at.is_(None), func.count())
        .where(g.account == account)
        .group_by(text("1, 2"))
        .order_by(text("1, 2"))
    ):
        gaps.setdefault(kind, {})["open" if is_open else "ended"] = count
    r, o = t.raw_event.c, t.outcome.c
    decided = select(o.ordinal).where(
        o.account == r.account, o.session_id == r.session_id, o.ordinal == r.ordinal
    )
    return AccountTotals(
        received=int(sessions[1]),
        committed=_count(connection, select(t.raw_event).where(r.account == account)),
        dropped=int(sessions[2]),
        outcomes=dict(sorted(Counter({row[0]: row[1] for row in outcomes}).items())),
        sessions=sessions[0],
        requests_answered=_count(
            connection,
            select(t.request).where(t.request.c.account == account, t.request.c.outcome == "answered"),
        ),
        gaps=gaps,
        balance_rows=_count(connection, select(t.balance).where(t.balance.c.account == account)),
        pair_rows=_count(connection, select(t.pair).where(t.pair.c.account == account)),
        events_without_outcome=_count(
            connection, select(t.raw_event).where(r.account == account, ~decided.exists())
        ),
    )


def _count(connection: Connection, rows: Select[Any]) -> int:
    return connection.scalar(select(func.count()).select_from(rows.subquery())) or 0
