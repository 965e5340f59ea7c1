"""Reading back, at start, what the writer must know: nothing true lives in memory only (I9)."""

from collections import defaultdict
from datetime import timedelta

from sqlalchemy import Connection, Table, TextClause, select, text
from sqlalchemy.engine import Row

from ingestor.adapters.postgres import tables as t
from ingestor.adapters.postgres.migrate import REVISION, schema_state_of
from ingestor.domain.content import Content
from ingestor.domain.errors import SchemaMismatch
from ingestor.domain.events import Pair
from ingestor.domain.gaps import Gap, GapKind
from ingestor.domain.streams import EventKey, Kind, Mark, StreamKey, StreamState, Watermark
from ingestor.pipeline.books import Books, Exposure, ExposureTotal, Holding, LeftOpen, Stream

_EPOCHS_OF = timedelta(hours=1)


def require_schema(connection: Connection) -> None:
    """Refuse to write to a schema we were not built for (I19).

    Raises:
        SchemaMismatch: with the command that mends it.
    """
    state = schema_state_of(connection)
    if state.fits:
        return
    if state.found is None:
        what, fix = "this database has no ingestor schema", "run `ingestor db upgrade`"
    elif state.newer:
        what = f"the schema is at revision {state.found}, newer than this software's {REVISION}"
        fix = "install the newer software"
    else:
        what = f"the schema is at revision {state.found}, this software needs {REVISION}"
        fix = "run `ingestor db upgrade`"
    raise SchemaMismatch(f"{what}: {fix}")


def load_books(connection: Connection, account: str) -> tuple[Books, str]:
    """The books of an account, and its environment."""
    row = connection.execute(select(t.account).where(t.account.c.account == account)).one()
    sessions = connection.execute(
        select(t.session.c.session_id).where(t.session.c.account == account).limit(1)
    )
    books = Books(
        streams=load_streams(connection, account),
        open_gaps=_open_gaps(connection, account),
        account_since=row.created_at,
        left_open=_left_open(connection, account),
        ever_connected=sessions.first() is not None,
    )
    return books, row.environment


def load_streams(connection: Connection, account: str) -> dict[StreamKey, Stream]:
    """Where each stream stands, and the content of its newest version."""
    epochs = defaultdict(list)
    for row in connection.execute(
        select(t.epoch).where(t.epoch.c.account == account, t.epoch.c.epoch > 1).order_by(t.epoch.c.epoch)
    ):
        epochs[row.kind, row.user_id].append(row.opened_at)
    streams = {}
    for row in connection.execute(select(t.watermark).where(t.watermark.c.account == account)):
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
        mark=Mark(row.epoch, row.sequence, row.revision),
        content=Content.stored(bytes(row.content)),
        event=EventKey(row.session_id, row.ordinal, row.position),
        valid_from=row.valid_from,
        confirmed_until=row.confirmed_until,
        deleted=row.deleted,
        line=0,
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


def _open_gaps(connection: Connection, account: str) -> list[Gap]:
    g = t.gap.c
    rows = connection.execute(
        select(t.gap).where(g.account == account, g.ending.is_(None)).order_by(g.opened_at)
    )
    return [
        Gap(
            kind=GapKind(row.kind),
            session=row.session_id,
            ordinal=row.ordinal,
            position=row.position,
            missed_from=row.missed_from,
            missed_until=row.missed_until,
            opened_at=row.opened_at,
            cause=row.cause,
            obstacles=tuple(row.obstacles),
            stream=None if row.stream is None else Kind(row.stream),
            user_id=row.user_id,
            first_missing=row.first_missing,
            last_missing=row.last_missing,
            awaiting=frozenset(Kind(each) for each in row.awaiting),
        )
        for row in rows
    ]


def _left_open(connection: Connection, account: str) -> tuple[LeftOpen, ...]:
    s = t.session.c
    rows = connection.execute(
        select(s.session_id, s.committed_ordinal, s.last_received_at, s.opened_at)
        .where(s.account == account, s.closed_at.is_(None))
        .order_by(s.opened_at)
    )
    return tuple(
        LeftOpen(row.session_id, row.committed_ordinal, row.last_received_at or row.opened_at) for row in rows
    )
