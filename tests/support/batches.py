"""Rows of a batch, with sensible defaults, one line per row; and a store for them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from msgspec import Struct

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.domain.decision import Origin, Outcome
from ingestor.domain.streams import Kind
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.rows import (
    BalanceRow,
    ConfirmationRow,
    EpochRow,
    GapRow,
    OutcomeRow,
    RawEventRow,
    RequestRow,
    SessionProgressRow,
    SessionRow,
    WatermarkRow,
)

SESSION = UUID("00000000-0000-7000-8000-000000000001")
START = datetime(2026, 1, 1, tzinfo=UTC)
USER = "user-1"

_END: dict[str, Any] = dict.fromkeys(
    ("closed_at", "last_message_at", "received", "ending", "cause", "detail")
)


def make_store(url: str, clock: DatabaseClock | None = None) -> PostgresStore:
    """The store of account `main`, not open yet."""
    clock = clock or DatabaseClock()
    return PostgresStore(DatabaseSession(url, DatabaseTiming(), clock), "main", "custom", "0", clock)


def at(ordinal: int) -> datetime:
    """Receipt of the record with this ordinal."""
    return START + timedelta(seconds=ordinal)


def ended(ordinal: int) -> dict[str, Any]:
    """The end of a session after this record."""
    return {
        "closed_at": at(ordinal + 1),
        "last_message_at": at(ordinal),
        "received": ordinal,
        "ending": "clean",
        "cause": "stopped",
        "detail": "why",
    }


def opened(last: int = 0, session: UUID = SESSION, **more: Any) -> SessionRow:
    """A session that begins in this batch, with its records up to `last`."""
    values: dict[str, Any] = {
        "session_id": session,
        "opened_at": START,
        "url": "ws://127.0.0.1/hub",
        "attempts": 3,
        "connection_errors": ("dns", "refused"),
        "software_version": "1.2.3",
        "clock_offset_seconds": -0.25,
        "committed_ordinal": last,
        "committed_records": last,
        "dropped_records": 0,
        "last_received_at": at(last) if last else None,
        **_END,
    }
    return SessionRow(**values | more)


def advanced(first: int, last: int, session: UUID = SESSION, **more: Any) -> SessionProgressRow:
    """The records from `first` to `last` of a session that is stored."""
    count = last - first + 1
    values: dict[str, Any] = {
        "session_id": session,
        "opened_at": START,
        "first_ordinal": first,
        "committed_ordinal": last,
        "committed_records": count,
        "dropped_records": 0,
        "last_received_at": at(last) if count else None,
        **_END,
    }
    return SessionProgressRow(**values | more)


def events(first: int, last: int) -> list[Struct]:
    """A balance snapshot in each record; its sequence is the ordinal."""
    rows: list[Struct] = []
    for n in range(first, last + 1):
        number = (at(n), 1, n, 0)
        rows += [
            RawEventRow(SESSION, n, at(n), 2, None, b"{}"),
            OutcomeRow(
                *(SESSION, n, 0, at(n), Outcome.APPLIED, None, "account.balances.snapshot", None),
                *(Kind.BALANCES, USER, 1, n, 0),
                *(at(n), False, Origin.PUSHED, 0, at(n - 1)),
            ),
            BalanceRow(USER, "BTC", *number, Decimal(n), Decimal("0.10"), True),
        ]
    return rows


def moved(sequence: int, old: int | None, **more: Any) -> WatermarkRow:
    """The stream stands at `sequence`, and stood at `old` before."""
    values: dict[str, Any] = {
        "kind": Kind.BALANCES,
        "user_id": USER,
        "epoch": 1,
        "sequence": sequence,
        "revision": 0,
        "content": b"\x00\xff",
        "session_id": SESSION,
        "ordinal": sequence,
        "position": 0,
        "valid_from": at(sequence),
        "confirmed_until": at(sequence),
        "deleted": False,
        "old_epoch": None if old is None else 1,
        "old_sequence": old,
        "old_revision": None if old is None else 0,
    }
    return WatermarkRow(**values | more)


def epoch(number: int = 1) -> EpochRow:
    """The counter begins."""
    return EpochRow(Kind.BALANCES, USER, number, START, "first_seen", 1, None, 1, *(SESSION, 1) * 2, 0, None)


def gap(**more: Any) -> GapRow:
    """A gap that opened before the session."""
    values: dict[str, Any] = dict.fromkeys(GapRow.__struct_fields__) | {
        "session_id": SESSION,
        "ordinal": 0,
        "position": 0,
        "kind": "disconnected",
        "opened_at": START,
        "cause": "reset",
        "missed_from": START,
        "connection_errors": ("dns", 'with "quotes", {braces} and \\'),
        "affects": ("balances", "pairs"),
        "occurrences": 1,
        "last_occurred_at": START,
    }
    return GapRow(**values | more)


def request(**more: Any) -> RequestRow:
    """A request that has been sent."""
    values: dict[str, Any] = dict.fromkeys(RequestRow.__struct_fields__) | {
        "request_id": "00000000-0000-4000-8000-000000000001",
        "requested_at": START,
        "command": "GetBalances",
        "cause": "schedule",
        "attempt": 1,
        "argument_form": "positional",
        "session_id": SESSION,
    }
    return RequestRow(**values | more)


def confirmation(**more: Any) -> ConfirmationRow:
    """A snapshot that waits for confirmation."""
    values: dict[str, Any] = dict.fromkeys(ConfirmationRow.__struct_fields__) | {
        "session_id": SESSION,
        "ordinal": 1,
        "position": 0,
        "reason": "conflict",
        "raised_at": START,
        "kind": Kind.BALANCES,
        "user_id": USER,
        "sequence": 1,
    }
    return ConfirmationRow(**values | more)


def batch(*rows: Struct | list[Struct]) -> Batch:
    """A batch of these."""
    return Batch([row for some in rows for row in (some if isinstance(some, list) else [some])])  # type: ignore[misc]


def first(last: int = 1) -> Batch:
    """The session opens, and the stream begins."""
    return batch(opened(last), events(1, last), epoch(), moved(last, None))


def following(first_ordinal: int, last: int, *more: Struct) -> Batch:
    """The records from `first_ordinal` to `last` come, after those before them."""
    return batch(
        advanced(first_ordinal, last),
        events(first_ordinal, last),
        moved(last, first_ordinal - 1),
        *more,
    )
