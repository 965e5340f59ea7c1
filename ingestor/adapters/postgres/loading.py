"""Loads the state from which the writer resumes; all that it needs is in the database (I9)."""

from collections import defaultdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from msgspec import convert
from msgspec.structs import replace

from ingestor.adapters.postgres.reading import read, rows
from ingestor.domain.content import Content
from ingestor.domain.events import Pair
from ingestor.domain.gaps import Confirmed, Gap
from ingestor.domain.records import SessionClosed, SessionOpened
from ingestor.domain.streams import EventKey, Kind, StreamKey, StreamState, VersionNumber, Watermark
from ingestor.pipeline.state import (
    EARLIEST,
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


def load_state(connection: psycopg.Connection, account: str) -> tuple[State, str]:
    """The ingest state of an account, and its environment."""
    (row,) = rows(
        connection, "SELECT environment, created_at FROM ingest.account WHERE account = $1", account
    )
    sessions, ended = _open_sessions(connection, account), _ended_sessions(connection, account)
    state = State(
        streams=_streams(connection, account),
        gaps=_open_gaps(connection, account),
        sessions=sessions,
        ended=ended,
        account_since=row.created_at,
        ever_connected=bool(sessions or ended),
    )
    return state, row.environment


def _streams(connection: psycopg.Connection, account: str) -> dict[StreamKey, Stream]:
    """The watermark of each stream, and the content of its newest version."""
    epochs = defaultdict(list)
    for row in rows(connection, _EPOCHS, account):
        epochs[row.kind, row.user_id].append(row.opened_at)
    streams = {}
    for row in rows(connection, _WATERMARKS, account):
        recent = [at for at in epochs[row.kind, row.user_id] if row.confirmed_until - at < _EPOCHS_OF]
        state = StreamState(watermark=_watermark(row), epochs=tuple(recent))
        key = StreamKey(Kind(row.kind), row.user_id)
        content = _pairs if key.kind is Kind.PAIRS else _balances
        streams[key] = content(connection, state, account, key.user_id)
    return streams


_EPOCHS = """
    SELECT kind, user_id, opened_at FROM ingest.epoch WHERE account = $1 AND epoch > 1 ORDER BY epoch
"""

# A stamp later than now is from a clock that was ahead, and does not confirm anything.
_WATERMARKS = """
    SELECT kind, user_id, epoch, sequence, revision, content, session_id, ordinal, position, valid_from,
        least(confirmed_until, clock_timestamp()) AS confirmed_until, deleted
    FROM ingest.watermark WHERE account = $1
"""


def _watermark(row: Any) -> Watermark:
    return Watermark(
        number=VersionNumber(row.epoch, row.sequence, row.revision),
        content=Content.stored(row.content),
        event=EventKey(row.session_id, row.ordinal, row.position),
        valid_from=row.valid_from,
        confirmed_until=row.confirmed_until,
        deleted=row.deleted,
        arrival=0,
    )


def _newest(table: str, name: str, key: str, order: str) -> str:
    """The newest row of each asset or pair, however long the history is: two index probes for each name.

    A loose index scan steps from one name to the next along the primary key; DISTINCT ON would read all rows.
    """
    mine = f"({key}) = ({', '.join(f'${number}' for number, _ in enumerate(key.split(', '), 1))})"
    return f"""
        WITH RECURSIVE known (name) AS (
            (SELECT {name} FROM ingest.{table} WHERE {mine} ORDER BY {name} LIMIT 1)
            UNION ALL
            SELECT (
                SELECT {name} FROM ingest.{table} WHERE {mine} AND {name} > known.name ORDER BY {name} LIMIT 1
            )
            FROM known WHERE known.name IS NOT NULL
        )
        SELECT newest.* FROM known
        CROSS JOIN LATERAL (
            SELECT * FROM ingest.{table} WHERE {mine} AND {name} = known.name ORDER BY {order} LIMIT 1
        ) AS newest
        WHERE known.name IS NOT NULL
    """  # noqa: S608 - our own names


_BY_VERSION = "valid_from DESC, epoch DESC, sequence DESC, revision DESC"
_BY_OBSERVATION = "observed_at DESC, session_id DESC, ordinal DESC, position DESC"

_HOLDINGS = _newest("balance", "asset", "account, user_id", _BY_VERSION)
_EXPOSURES = _newest("exposure", "asset", "account, user_id", _BY_OBSERVATION)
_PAIRS = _newest("pair", "name", "account", _BY_VERSION)
_EXPOSURE_TOTAL = f"""
    SELECT base_currency, total_current_exposure, total_max_exposure, observed_at
    FROM ingest.exposure_total WHERE account = $1 AND user_id = $2 ORDER BY {_BY_OBSERVATION} LIMIT 1
"""  # noqa: S608 - a constant


def _balances(connection: psycopg.Connection, state: StreamState, account: str, user_id: str) -> Stream:
    holdings, exposures, totals = (
        rows(connection, query, account, user_id) for query in (_HOLDINGS, _EXPOSURES, _EXPOSURE_TOTAL)
    )
    return Stream(
        state,
        holdings={row.asset: Holding(row.available, row.allocated, row.reported) for row in holdings},
        exposures={row.asset: Exposure(row.current_exposure, row.max_exposure) for row in exposures},
        exposure_total=ExposureTotal(*totals[0][:3]) if totals else None,
        observed_at=max((row.observed_at for row in [*exposures, *totals]), default=EARLIEST)
        + timedelta.resolution,
    )


def _pairs(connection: psycopg.Connection, state: StreamState, account: str, _: str) -> Stream:
    listed = read(connection, Pair, f"SELECT * FROM ({_PAIRS}) AS newest WHERE listed", account)  # noqa: S608
    return Stream(state, pairs={pair.name: pair for pair in listed})


_OPEN_GAPS = """
    SELECT *, session_id AS session, 0 AS arrival
    FROM ingest.gap WHERE account = $1 AND ended_at IS NULL
    ORDER BY kind <> 'unanswered', opened_at
"""


def _open_gaps(connection: psycopg.Connection, account: str) -> tuple[Gap, ...]:
    return tuple(
        replace(
            convert(row._asdict(), Gap),
            balances=_confirmed(
                row.balances_confirmed_at,
                row.balances_confirmed_by_session_id,
                row.balances_confirmed_by_ordinal,
            ),
            pairs=_confirmed(
                row.pairs_confirmed_at, row.pairs_confirmed_by_session_id, row.pairs_confirmed_by_ordinal
            ),
        )
        for row in rows(connection, _OPEN_GAPS, account)
    )


def _confirmed(at: datetime | None, session: UUID, ordinal: int) -> Confirmed | None:
    return None if at is None else Confirmed(at, EventKey(session, ordinal, 0))


_OPEN_SESSIONS = """
    SELECT *, session_id AS session
    FROM ingest.session WHERE account = $1 AND closed_at IS NULL ORDER BY opened_at
"""

_ENDED_SESSIONS = """
    SELECT *, session_id AS session, ending AS end
    FROM ingest.session WHERE account = $1 AND closed_at IS NOT NULL ORDER BY opened_at DESC LIMIT $2
"""


def _open_sessions(connection: psycopg.Connection, account: str) -> dict[UUID, OpenSession]:
    return {row.session_id: _session(row) for row in rows(connection, _OPEN_SESSIONS, account)}


def _ended_sessions(connection: psycopg.Connection, account: str) -> tuple[EndedSession, ...]:
    newest_first = rows(connection, _ENDED_SESSIONS, account, REMEMBERED_SESSIONS)
    return tuple(
        EndedSession(_session(row), convert(row._asdict(), SessionClosed)) for row in reversed(newest_first)
    )


def _session(row: Any) -> OpenSession:
    return OpenSession(convert(row._asdict(), SessionOpened), row.committed_ordinal, row.last_received_at)
