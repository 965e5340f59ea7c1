"""A store in memory that obeys the laws of the real one, and fails on demand.

`tests/integration/test_store_laws.py` runs the same laws against Postgres, so that this one stays true.
"""

import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from msgspec import Struct
from msgspec.structs import asdict, replace

from ingestor.domain.content import Content
from ingestor.domain.errors import OutcomeUnknown, RowRejected, TooSlow, Transient, WatermarkConflict
from ingestor.domain.events import Pair
from ingestor.domain.gaps import Confirmed, Gap, GapKind
from ingestor.domain.records import SessionClosed, SessionEnd, SessionOpened
from ingestor.domain.streams import EventKey, Kind, StreamKey, StreamState, VersionNumber, Watermark
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.ports import Heartbeat
from ingestor.pipeline.rows import (
    BalanceRow,
    ConfirmationRow,
    DeadLetterRow,
    EpochRow,
    ExposureRow,
    ExposureTotalRow,
    GapRow,
    OutcomeRow,
    PairRow,
    RawEventRow,
    RequestRow,
    SessionProgressRow,
    SessionRow,
    WatermarkRow,
)
from ingestor.pipeline.state import (
    EARLIEST,
    EndedSession,
    Exposure,
    ExposureTotal,
    Holding,
    OpenSession,
    State,
    Stream,
)
from tests.support.items import EPOCH
from tests.support.repeats import Place, bytes_of, outcomes_of

_EVENT = ("session_id", "ordinal", "position")
_NUMBER = ("epoch", "sequence", "revision")
KEYS: dict[type[Struct], tuple[str, ...]] = {
    SessionRow: ("session_id", "opened_at"),
    RawEventRow: ("session_id", "ordinal", "received_at"),
    OutcomeRow: (*_EVENT, "received_at"),
    BalanceRow: ("user_id", "asset", "valid_from", *_NUMBER),
    ExposureRow: ("user_id", "asset", "observed_at", *_EVENT),
    ExposureTotalRow: ("user_id", "observed_at", *_EVENT),
    PairRow: ("name", "valid_from", *_NUMBER),
    EpochRow: ("kind", "user_id", "epoch"),
    WatermarkRow: ("kind", "user_id"),
    GapRow: (*_EVENT, "kind", "opened_at"),
    ConfirmationRow: (*_EVENT, "reason", "raised_at"),
    RequestRow: ("request_id", "requested_at"),
    DeadLetterRow: (*_EVENT, "received_at"),
}
"""The primary keys, without the account."""

Tables = dict[type[Struct], dict[tuple[Any, ...], Any]]
Key = tuple[Any, ...]


def key_of(row: Struct) -> Key:
    """Its primary key."""
    return tuple(getattr(row, name) for name in KEYS[type(row)])


class FakeStore:
    """`ports.Store`. Faults are set as attributes; each says how long it lasts."""

    def __init__(self, account_since: datetime = EPOCH) -> None:
        self.account_since = account_since
        self.heartbeats: list[Heartbeat] = []
        self.tried: list[tuple[int, int, str]] = []
        """First and last ordinal of each batch that was offered, and how that ended."""
        self.is_paused = False
        self.away: str | None = None
        """Everything fails with this text; where it begins with `slow`, with `TooSlow`."""
        self.unknown: list[bool] = []
        """The next attempts to commit get no answer; those that are True were committed all the same."""
        self.in_flight = False
        """What was committed without an answer is seen only after a call of `holds`."""
        self.rejects: Callable[[Struct], bool] = lambda row: False
        """A row that the database rejects."""
        self.too_slow_from = 1_000_000
        """From this many rows on a batch takes too long."""
        self.before_write: Callable[[Batch], None] = lambda batch: None
        """Called at each attempt; may block, change the faults, or raise."""
        self._tables: Tables = {kind: {} for kind in KEYS}
        self._before: list[Tables] = []
        self._landing: Tables | None = None
        self._has_left = False
        """Whether what was pending when it was opened is still to be abandoned, by the next commit."""
        self._lock = threading.Lock()

    # --- the port ---

    def open(self) -> State:
        """What must be known to go on."""
        with self._lock:
            self._reach()
            state = State(
                streams=self._streams(),
                gaps=self._gaps(),
                sessions={
                    row.session_id: _session(row) for row in self._session_rows() if row.closed_at is None
                },
                ended=tuple(_ended(row) for row in self._session_rows() if row.closed_at is not None),
                account_since=self.account_since,
                ever_connected=bool(self._tables[SessionRow]),
            )
            self._end_left_requests()
            self._has_left = True
            return state

    def prepare(self, batch: Batch) -> None:
        """Nothing can be done in advance."""

    def write(self, batch: Batch) -> None:
        """All or nothing."""
        self.before_write(batch)
        with self._lock:
            ordinals = [row.ordinal for row in batch.all(RawEventRow)] or [0]
            end = "committed"
            try:
                self._write(batch)
            except Exception as error:
                end = type(error).__name__
                raise
            finally:
                self.tried.append((ordinals[0], ordinals[-1], end))

    def holds(self, batch: Batch) -> bool:
        """Whether the sessions of this batch stand where it leads to, or further."""
        with self._lock:
            self._reach()
            wanted: list[SessionRow | SessionProgressRow] = [
                *batch.all(SessionRow),
                *batch.all(SessionProgressRow),
            ]
            stored = {row.session_id: row for row in self._tables[SessionRow].values()}
            held = bool(wanted) and all(
                row.session_id in stored and _place(stored[row.session_id]) >= _place(row) for row in wanted
            )
            self._land()
            return held

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Record a turn."""
        with self._lock:
            self._reach()
            self.heartbeats.append(heartbeat)

    def paused(self) -> bool:
        """As the test has set it."""
        with self._lock:
            self._reach()
            return self.is_paused

    # --- what the world does to it ---

    def lose_commits(self, count: int) -> None:
        """The last ones are gone, as after an asynchronous failover."""
        with self._lock:
            for _ in range(count):
                self._tables = self._before.pop()

    def move(self, stream: StreamKey, sequence: int) -> None:
        """Another writer moves a stream."""
        with self._lock:
            table = self._tables[WatermarkRow]
            key = (stream.kind, stream.user_id)
            table[key] = replace(table[key], sequence=sequence, content=b"another writer's")

    def rows(self, kind: type[Any]) -> list[Any]:
        """The rows of a table, in the order of their keys."""
        with self._lock:
            return [row for _, row in sorted(self._tables[kind].items(), key=lambda item: repr(item[0]))]

    def records(self) -> dict[Place, bytes]:
        """The bytes of every record, by session and ordinal."""
        return bytes_of(self.rows(RawEventRow))

    def outcomes(self) -> list[OutcomeRow]:
        """The outcome of every event, also of those that have no row for it."""
        return outcomes_of(self.rows(RawEventRow), self.rows(OutcomeRow))

    @property
    def commits(self) -> int:
        """How many batches are stored."""
        return len(self._before)

    # --- writing ---

    def _reach(self) -> None:
        if self.away is not None:
            raise (TooSlow if self.away.startswith("slow") else Transient)(self.away)

    def _land(self) -> None:
        if self._landing is not None:
            self._before.append(self._tables)
            self._tables, self._landing, self._has_left = self._landing, None, False

    def _write(self, batch: Batch) -> None:
        self._reach()
        self._land()
        if sum(map(len, batch.rows.values())) >= self.too_slow_from:
            raise TooSlow("canceling statement due to statement timeout")
        after = self._after(batch)
        if self.unknown and not self.unknown[0]:
            del self.unknown[0]
            raise OutcomeUnknown("the connection was lost")
        if self.unknown and self.in_flight:
            del self.unknown[0]
            self._landing = after
            raise OutcomeUnknown("the connection was lost")
        self._before.append(self._tables)
        self._tables, self._has_left = after, False
        if self.unknown:
            del self.unknown[0]
            raise OutcomeUnknown("the connection was lost")

    def _after(self, batch: Batch) -> Tables:
        tables = {kind: dict(rows) for kind, rows in self._tables.items()}
        if self._has_left:
            for key, left in tables[ConfirmationRow].items():
                if left.resolution is None:
                    tables[ConfirmationRow][key] = replace(left, resolution="abandoned")
        # The guards come first: where one does not hold, nothing else is looked at.
        for row in batch.all(SessionRow):
            _begin(tables, row, "a session exists already")
        for progress in batch.all(SessionProgressRow):
            _advance(tables, progress)
        for opened in batch.all(EpochRow):
            _begin(tables, opened, "an epoch exists already")
        for watermark in batch.all(WatermarkRow):
            _compare_and_set(tables, watermark)
        for kind, rows in batch.rows.items():
            if kind is not SessionProgressRow and any(map(self.rejects, rows)):
                raise RowRejected("a check fails")
            if kind in {SessionRow, SessionProgressRow, EpochRow, WatermarkRow}:
                continue
            for each in rows:
                _put(tables, each)
        return tables

    # --- loading ---

    def _streams(self) -> dict[StreamKey, Stream]:
        streams = {}
        for row in self._tables[WatermarkRow].values():
            key = StreamKey(row.kind, row.user_id)
            opened = {
                each.epoch: each.opened_at
                for each in self._tables[EpochRow].values()
                if (each.kind, each.user_id) == key_of(row) and each.epoch > 1
            }
            epochs = tuple(
                at for _, at in sorted(opened.items()) if row.confirmed_until - at < timedelta(hours=1)
            )
            state = StreamState(watermark=_watermark(row), epochs=epochs)
            if row.kind is Kind.PAIRS:
                listed = _newest(self._tables[PairRow].values(), "name", "valid_from", *_NUMBER)
                pairs = {name: _pair(each) for name, each in listed.items() if each.listed}
                streams[key] = Stream(state, pairs=pairs)
            else:
                streams[key] = self._balances(state, row.user_id)
        return streams

    def _balances(self, state: StreamState, user: str) -> Stream:
        def newest(kind: type[Any], name: str, *order: str) -> dict[str, Any]:
            rows = [row for row in self._tables[kind].values() if row.user_id == user]
            return _newest(rows, name, *order)

        balances = newest(BalanceRow, "asset", "valid_from", *_NUMBER)
        exposures = newest(ExposureRow, "asset", "observed_at", *_EVENT)
        totals = newest(ExposureTotalRow, "user_id", "observed_at", *_EVENT)
        total = totals.get(user)
        return Stream(
            state,
            {name: Holding(row.available, row.allocated, row.reported) for name, row in balances.items()},
            {name: Exposure(row.current_exposure, row.max_exposure) for name, row in exposures.items()},
            None
            if total is None
            else ExposureTotal(total.base_currency, total.total_current_exposure, total.total_max_exposure),
            observed_at=max(
                (row.observed_at for row in [*exposures.values(), *totals.values()]), default=EARLIEST
            )
            + timedelta.resolution,
        )

    def _gaps(self) -> tuple[Gap, ...]:
        rows = [row for row in self._tables[GapRow].values() if row.ended_at is None]
        rows.sort(key=lambda row: (row.kind != GapKind.UNANSWERED, row.opened_at))
        return tuple(map(_gap, rows))

    def _session_rows(self) -> list[Any]:
        return sorted(self._tables[SessionRow].values(), key=lambda row: row.opened_at)

    def _end_left_requests(self) -> None:
        tables = self._tables = {kind: dict(rows) for kind, rows in self._tables.items()}
        for key, row in tables[RequestRow].items():
            if row.outcome is None:
                tables[RequestRow][key] = replace(row, outcome="link_lost")


def _session(row: SessionRow) -> OpenSession:
    opened = SessionOpened(
        row.session_id,
        row.opened_at,
        row.url,
        row.attempts,
        row.connection_errors,
        row.clock_offset_seconds,
    )
    return OpenSession(opened, row.committed_ordinal, row.last_received_at)


def _ended(row: Any) -> EndedSession:
    end = SessionEnd(row.ending)
    return EndedSession(
        _session(row),
        SessionClosed(
            row.session_id, row.closed_at, row.last_message_at, row.received, end, row.cause, row.detail
        ),
    )


def _place(row: SessionRow | SessionProgressRow) -> tuple[int, bool]:
    return row.committed_ordinal, row.closed_at is not None


def _begin(tables: Tables, row: Struct, conflict: str) -> None:
    if key_of(row) in tables[type(row)]:
        raise WatermarkConflict(conflict)
    tables[type(row)][key_of(row)] = row


def _advance(tables: Tables, row: SessionProgressRow) -> None:
    key = (row.session_id, row.opened_at)
    stored = tables[SessionRow].get(key)
    if stored is None or stored.closed_at is not None or stored.committed_ordinal != row.first_ordinal - 1:
        raise WatermarkConflict("the stored position of a session is not the expected one")
    given = asdict(row)
    del given["first_ordinal"]
    given["committed_records"] += stored.committed_records
    given["dropped_records"] += stored.dropped_records
    given["last_received_at"] = row.last_received_at or stored.last_received_at
    tables[SessionRow][key] = replace(stored, **given)


def _compare_and_set(tables: Tables, row: WatermarkRow) -> None:
    stored = tables[WatermarkRow].get(key_of(row))
    expected = (row.old_epoch, row.old_sequence, row.old_revision)
    found = (None, None, None) if stored is None else (stored.epoch, stored.sequence, stored.revision)
    if found != expected or (stored is not None and (row.epoch, row.sequence, row.revision) < found):
        raise WatermarkConflict("the stored version of a stream is not the expected one")
    tables[WatermarkRow][key_of(row)] = row


def _put(tables: Tables, row: Struct) -> None:
    table, key = tables[type(row)], key_of(row)
    if isinstance(row, GapRow):
        if key in table and table[key].ended_at is not None:
            return
    elif not isinstance(row, RequestRow | ConfirmationRow | DeadLetterRow) and key in table:
        raise RowRejected(f"duplicate key {key}")
    table[key] = row


def _newest(rows: Iterable[Any], name: str, *order: str) -> dict[str, Any]:
    """The newest row of each name."""
    ordered = sorted(rows, key=lambda row: tuple(getattr(row, column) for column in order))
    return {getattr(row, name): row for row in ordered}


def _watermark(row: WatermarkRow) -> Watermark:
    return Watermark(
        number=VersionNumber(row.epoch, row.sequence, row.revision),
        content=Content.stored(row.content),
        event=EventKey(row.session_id, row.ordinal, row.position),
        valid_from=row.valid_from,
        confirmed_until=row.confirmed_until,
        deleted=row.deleted,
        arrival=0,
    )


def _pair(row: PairRow) -> Pair:
    return Pair(
        row.name,
        row.asset,
        row.currency,
        row.min_size,
        row.max_size,
        row.min_quote_size,
        row.max_quote_size,
    )


def _gap(row: GapRow) -> Gap:
    def confirmed(at: datetime | None, session: UUID | None, ordinal: int | None) -> Confirmed | None:
        if at is None or session is None or ordinal is None:
            return None
        return Confirmed(at, EventKey(session, ordinal, 0))

    return Gap(
        kind=GapKind(row.kind),
        session=row.session_id,
        ordinal=row.ordinal,
        position=row.position,
        opened_at=row.opened_at,
        missed_from=row.missed_from,
        missed_until=row.missed_until,
        cause=row.cause,
        affects=frozenset(Kind(each) for each in row.affects),
        arrival=0,
        connection_errors=row.connection_errors,
        user_id=row.user_id,
        first_missing=row.first_missing,
        last_missing=row.last_missing,
        occurrences=row.occurrences,
        last_occurred_at=row.last_occurred_at,
        balances=confirmed(
            row.balances_confirmed_at,
            row.balances_confirmed_by_session_id,
            row.balances_confirmed_by_ordinal,
        ),
        pairs=confirmed(
            row.pairs_confirmed_at, row.pairs_confirmed_by_session_id, row.pairs_confirmed_by_ordinal
        ),
    )
