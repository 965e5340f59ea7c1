"""Loading, at start, the state that the writer goes on from: nothing true lives in memory only (I9)."""

from collections import defaultdict
from datetime import timedelta
from uuid import UUID

from sqlalchemy import Connection, Table, TextClause, func, select, text
from sqlalchemy.engine import Row

from ingestor.adapters.postgres import tables as t
from ingestor.domain.content import Content
from ingestor.domain.events import Pair
from ingestor.domain.gaps import Confirmed, Gap, GapKind
from ingestor.domain.records import SessionClosed, SessionEnd, SessionOpened
from ingestor.domain.streams import EventKey, Kind, StreamKey, StreamState, VersionNumber, Watermark
from ingestor.pipeline.state import (
    REMEMBERED_SESSIONS,
    EndedSession,
    Exposure,
    ExposureTotal,
    Holding,
    OpenSession,
    State,
    Stream,
)

_EPOCHS_OF = timedelta(hours=1)


def load_state(connection: Connection, account: str) -> tuple[State, str]:
    """The ingest state of an account, and its environment."""
    row = connection.execute(select(t.account).where(t.account.c.account == account)).one()
    sessions, ended = _open_sessions(connection, account), _ended_sessions(connection, account)
    state = State(
        streams=load_streams(connection, account),
        gaps=_open_gaps(connection, account),
        sessions=sessions,
        ended=ended,
        account_since=row.created_at,
        ever_connected=bool(sessions or ended),
    )
    return state, row.environment


def load_streams(connection: Connection, account: str) -> dict[StreamKey, Stream]:
    """Where each stream stands, and the content of its newest version."""
    epochs = defaultdict(list)
    for row in connection.execute(
        select(t.epoch).where(t.epoch.c.account == account, t.epoch.c.epoch > 1).order_by(t.epoch.c.epoch)
    ):
        epochs[row.kind, row.user_id].append(row.opened_at)
    w = t.watermark.c
    # A stamp later than now, of a clock that was ahead, is no evidence of anything.
    confirmed_until = func.least(w.confirmed_until, func.clock_timestamp()).label("confirmed_until")
    others = [column for column in w if column is not w.confirmed_until]
    streams = {}
    for row in connection.execute(select(*others, confirmed_until).where(w.account == account)):
        key = StreamKey(Kind(row.kind), row.user_id)
        recent = [at for at in epochs[row.kind, row.user_id] if row.confirmed_until - at < _EPOCHS_OF]
        state = StreamState(watermark=_watermark(row), epochs=tuple(recent))
        if key.kind is Kind.PAIRS:
            streams[key] = Stream(state, pairs=_pairs(connection, account))
        else:
            streams[key] = Stream(
                state,
                holdings=_holdings(connection, account, key.user_id),
                exposures=_exposures(connection, account, key.user_id),
                exposure_total=_exposure_total(connection, account, key.user_id),
            )
    return streams


def _watermark(row: Row[tuple[object, ...]]) -> Watermark:
    return Watermark(
        number=VersionNumber(row.epoch, row.sequence, row.revision),
        content=Content.stored(bytes(row.content)),
        event=EventKey(row.session_id, row.ordinal, row.position),
        valid_from=row.valid_from,
        confirmed_until=row.confirmed_until,
        deleted=row.deleted,
        arrival=0,
    )


def _newest(table: Table, name: str, key: dict[str, str], order: tuple[str, ...]) -> TextClause:
    """The newest row of each asset or pair, however long the history is: two index probes for each name.

    A loose index scan steps from one name to the next along the primary key; DISTINCT ON would read all rows.
    """
    mine = " AND ".join(f"t.{column} = :{column}" for column in key)
    newest = ", ".join(f"t.{column} DESC" for column in order)
    return text(f"""
        WITH RECURSIVE known (name) AS (
            (SELECT t.{name} FROM {table.fullname} AS t WHERE {mine} ORDER BY t.{name} LIMIT 1)
            UNION ALL
            SELECT (
                SELECT t.{name} FROM {table.fullname} AS t
                WHERE {mine} AND t.{name} > known.name ORDER BY t.{name} LIMIT 1
            )
            FROM known WHERE known.name IS NOT NULL
        )
        SELECT newest.* FROM known
        CROSS JOIN LATERAL (
            SELECT t.* FROM {table.fullname} AS t
            WHERE {mine} AND t.{name} = known.name ORDER BY {newest} LIMIT 1
        ) AS newest
        WHERE known.name IS NOT NULL
    """).bindparams(**key)  # noqa: S608 - names from our own tables


_BY_VERSION = ("valid_from", "epoch", "sequence", "revision")
_BY_OBSERVATION = ("observed_at", "session_id", "ordinal", "position")


def _holdings(connection: Connection, account: str, user_id: str) -> dict[str, Holding]:
    key = {"account": account, "user_id": user_id}
    return {
        row.asset: Holding(row.available, row.allocated, row.reported)
        for row in connection.execute(_newest(t.balance, "asset", key, _BY_VERSION))
    }


def _exposures(connection: Connection, account: str, user_id: str) -> dict[str, Exposure]:
    key = {"account": account, "user_id": user_id}
    return {
        row.asset: Exposure(row.current_exposure, row.max_exposure)
        for row in connection.execute(_newest(t.exposure, "asset", key, _BY_OBSERVATION))
    }


def _exposure_total(connection: Connection, account: str, user_id: str) -> ExposureTotal | None:
    e = t.exposure_total.c
    newest = (
        select(e.base_currency, e.total_current_exposure, e.total_max_exposure)
        .where(e.account == account, e.user_id == user_id)
        .order_by(e.observed_at.desc(), e.session_id.desc(), e.ordinal.desc(), e.position.desc())
        .limit(1)
    )
    row = connection.execute(newest).one_or_none()
    return None if row is None else ExposureTotal(*row)


def _pairs(connection: Connection, account: str) -> dict[str, Pair]:
    newest = _newest(t.pair, "name", {"account": account}, _BY_VERSION)
    return {
        row.name: Pair(
            row.name,
            row.asset,
            row.currency,
            row.min_size,
            row.max_size,
            row.min_quote_size,
            row.max_quote_size,
        )
        for row in connection.execute(newest)
        if row.listed
    }


def _open_gaps(connection: Connection, account: str) -> tuple[Gap, ...]:
    g = t.gap.c
    rows = connection.execute(
        select(t.gap)
        .where(g.account == account, g.ended_at.is_(None))
        .order_by(g.kind != GapKind.UNANSWERED.value, g.opened_at)
    )
    return tuple(
        Gap(
            kind=GapKind(row.kind),
            session=row.session_id,
            ordinal=row.ordinal,
            position=row.position,
            opened_at=row.opened_at,
            missed_from=row.missed_from,
            missed_until=row.missed_until,
            cause=row.cause,
            touches=frozenset(Kind(each) for each in row.touches),
            arrival=0,
            connection_errors=tuple(row.connection_errors),
            user_id=row.user_id,
            first_missing=row.first_missing,
            last_missing=row.last_missing,
            occurrences=row.occurrences,
            last_occurred_at=row.last_occurred_at,
            balances=_confirmed(row, Kind.BALANCES),
            pairs=_confirmed(row, Kind.PAIRS),
        )
        for row in rows
    )


def _confirmed(row: Row[tuple[object, ...]], kind: Kind) -> Confirmed | None:
    columns = row._mapping  # noqa: SLF001 - public in spite of its name
    at = columns[f"{kind}_confirmed_at"]
    if at is None:
        return None
    session, ordinal = columns[f"{kind}_confirmed_by_session_id"], columns[f"{kind}_confirmed_by_ordinal"]
    return Confirmed(at, EventKey(session, ordinal, 0))


def _open_sessions(connection: Connection, account: str) -> dict[UUID, OpenSession]:
    s = t.session.c
    rows = connection.execute(
        select(t.session).where(s.account == account, s.closed_at.is_(None)).order_by(s.opened_at)
    )
    return {row.session_id: _session(row) for row in rows}


def _ended_sessions(connection: Connection, account: str) -> tuple[EndedSession, ...]:
    s = t.session.c
    rows = connection.execute(
        select(t.session)
        .where(s.account == account, s.closed_at.is_not(None))
        .order_by(s.opened_at.desc())
        .limit(REMEMBERED_SESSIONS)
    )
    return tuple(EndedSession(_session(row), _closed(row)) for row in reversed(rows.all()))


def _session(row: Row[tuple[object, ...]]) -> OpenSession:
    opened = SessionOpened(
        session=row.session_id,
        opened_at=row.opened_at,
        url=row.url,
        attempts=row.attempts,
        connection_errors=tuple(row.connection_errors),
        clock_offset_seconds=row.clock_offset_seconds,
    )
    return OpenSession(opened, row.committed_ordinal, row.last_received_at)


def _closed(row: Row[tuple[object, ...]]) -> SessionClosed:
    return SessionClosed(
        session=row.session_id,
        closed_at=row.closed_at,
        last_heard_at=row.last_heard_at,
        received=row.received,
        end=SessionEnd(row.ending),
        cause=row.cause,
        detail=row.detail,
    )
