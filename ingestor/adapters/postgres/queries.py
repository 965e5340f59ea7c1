"""Reads for `ingestor status`, `check` and `demo`: a few rows each, none of which disturbs the writer."""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Select, func, select, text

from ingestor.adapters.postgres import tables as t


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """The newest heartbeat of the account's process."""

    pid: int
    host: str
    software_version: str
    started_at: datetime
    beat_at: datetime
    seconds_since_beat: float
    link_state: str
    link_obstacle: str | None
    last_heard_at: datetime | None
    inbox_records: int
    stopped_at: datetime | None
    seconds_since_start: float


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """Where one stream stands; before the first answer there is one without a user for each kind."""

    kind: str
    user_id: str | None
    epoch: int | None
    sequence: int | None
    valid_from: datetime | None
    confirmed_until: datetime | None
    seconds_since_confirmed: float | None
    expected_every_seconds: float | None
    is_fresh: bool | None
    """As `report.freshness` has it: None for a former user."""
    doubts: list[str]
    """Those without a resolution: what the hub has may be a state that we do not follow."""


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """All that `ingestor status` tells of an account."""

    account: str
    process: ProcessStatus | None
    streams: tuple[StreamStatus, ...]
    open_gaps: int
    lost_gaps: int
    """Those of the last 24 hours."""
    dead_letters: int
    last_session_opened_at: datetime | None


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """Whole-table counts, for the demo's closing document."""

    received: int
    committed: int
    shed: int
    outcomes: dict[str, int]
    sessions: int
    commands_answered: int
    gaps: dict[str, dict[str, int]]
    """kind, then ending (`open` where there is none yet), then count"""
    balance_rows: int
    pair_rows: int
    events_without_outcome: int


def account_status(engine: Engine, account: str) -> AccountStatus:
    """Raises sqlalchemy's errors as they come; the caller knows what it wanted to say."""
    with engine.connect() as connection:
        return AccountStatus(
            account=account,
            process=_process(connection, account),
            streams=_streams(connection, account),
            open_gaps=connection.scalar(_OPEN_GAPS, {"account": account}) or 0,
            lost_gaps=_count(
                connection,
                select(t.gap).where(
                    t.gap.c.account == account,
                    t.gap.c.ending == "lost",
                    t.gap.c.ended_at > func.clock_timestamp() - timedelta(hours=24),
                ),
            ),
            dead_letters=_count(connection, select(t.dead_letter).where(t.dead_letter.c.account == account)),
            last_session_opened_at=connection.scalar(
                select(func.max(t.session.c.opened_at)).where(t.session.c.account == account)
            ),
        )


_OPEN_GAPS = text("""
    SELECT count(*)
    FROM ingest.gap AS g
    WHERE g.account = :account AND g.ending IS NULL AND NOT EXISTS (
        -- Of a former user (whose freshness is null): nobody will ever end it.
        SELECT FROM report.freshness AS f
        WHERE f.account = g.account AND f.user_id = g.user_id AND f.kind = g.stream AND f.is_fresh IS NULL
    )
""")


def account_totals(engine: Engine, account: str) -> AccountTotals:
    """Counts everything of one account. Scans; not for a big database."""
    with engine.connect() as connection:
        s = t.session.c
        sessions = connection.execute(
            select(
                func.count(),
                func.coalesce(func.sum(func.coalesce(s.received, s.committed_ordinal)), 0),
                func.coalesce(func.sum(s.shed_records), 0),
            ).where(s.account == account)
        ).one()
        outcomes = connection.execute(
            select(t.outcome.c.outcome, func.count())
            .where(t.outcome.c.account == account)
            .group_by("outcome")
        )
        g = t.gap.c
        gaps: dict[str, dict[str, int]] = {}
        for kind, ending, count in connection.execute(
            select(g.kind, func.coalesce(g.ending, "open"), func.count())
            .where(g.account == account)
            .group_by(g.kind, g.ending)
            .order_by(g.kind, g.ending)
        ):
            gaps.setdefault(kind, {})[ending] = count
        r, o = t.raw_event.c, t.outcome.c
        judged = select(o.ordinal).where(
            o.account == r.account, o.session_id == r.session_id, o.ordinal == r.ordinal
        )
        return AccountTotals(
            received=int(sessions[1]),
            committed=_count(connection, select(t.raw_event).where(r.account == account)),
            shed=int(sessions[2]),
            outcomes=dict(sorted(Counter({row[0]: row[1] for row in outcomes}).items())),
            sessions=sessions[0],
            commands_answered=_count(
                connection,
                select(t.command).where(t.command.c.account == account, t.command.c.outcome == "answered"),
            ),
            gaps=gaps,
            balance_rows=_count(connection, select(t.balance).where(t.balance.c.account == account)),
            pair_rows=_count(connection, select(t.pair).where(t.pair.c.account == account)),
            events_without_outcome=_count(
                connection, select(t.raw_event).where(r.account == account, ~judged.exists())
            ),
        )


def _process(connection: Connection, account: str) -> ProcessStatus | None:
    h = t.heartbeat.c
    row = connection.execute(
        select(
            t.heartbeat,
            func.extract("epoch", func.clock_timestamp() - h.beat_at).label("silence"),
            func.extract("epoch", func.clock_timestamp() - h.started_at).label("uptime"),
        ).where(h.account == account)
    ).one_or_none()
    if row is None:
        return None
    return ProcessStatus(
        pid=row.pid,
        host=row.host,
        software_version=row.software_version,
        started_at=row.started_at,
        beat_at=row.beat_at,
        seconds_since_beat=float(row.silence),
        link_state=row.link_state,
        link_obstacle=row.link_obstacle,
        last_heard_at=row.last_heard_at,
        inbox_records=row.inbox_records,
        stopped_at=row.stopped_at,
        seconds_since_start=float(row.uptime),
    )


_STREAMS = text("""
    SELECT f.kind, f.user_id, w.epoch, w.sequence, f.valid_from, f.confirmed_until,
           extract(epoch FROM f.age)::float8, extract(epoch FROM f.expected_every)::float8, f.is_fresh,
           array(
               SELECT d.doubt FROM ingest.doubt AS d
               WHERE d.account = f.account AND d.kind = f.kind AND d.user_id = f.user_id
                 AND d.resolution IS NULL
               ORDER BY d.doubt
           )
    FROM report.freshness AS f
    LEFT JOIN ingest.watermark AS w USING (account, kind, user_id)
    WHERE f.account = :account
    ORDER BY f.kind, f.user_id
""")


def _streams(connection: Connection, account: str) -> tuple[StreamStatus, ...]:
    return tuple(StreamStatus(*row) for row in connection.execute(_STREAMS, {"account": account}))


def _count(connection: Connection, rows: Select[Any]) -> int:
    return connection.scalar(select(func.count()).select_from(rows.subquery())) or 0
