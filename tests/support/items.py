"""Builders for what travels from the link to the writer; sensible defaults, one line per item."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from ingestor.domain.records import Record, SessionOpened

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SESSION = UUID("00000000-0000-7000-8000-000000000001")


def at(seconds: float) -> datetime:
    """A moment of the test's day."""
    return EPOCH + timedelta(seconds=seconds)


def record(
    ordinal: int, raw: bytes = b"{}", *, session: UUID = SESSION, seconds: float | None = None
) -> Record:
    """A record as it left the socket."""
    moment = at(float(ordinal) if seconds is None else seconds)
    return Record(session, ordinal, moment, raw, len(raw))


def opened(session: UUID = SESSION, seconds: float = 0.0) -> SessionOpened:
    """A session that has just begun."""
    return SessionOpened(session, at(seconds), "ws://127.0.0.1/hub", 1)


def envelope(subject: str, data: object, client_id: str | None = None) -> dict[str, Any]:
    """The vendor's six fields, with `data` as the JSON string that its pages show."""
    return {
        "channel": "executionEvents",
        "topic": "Account",
        "subject": subject,
        "type": "message",
        "clientId": client_id,
        "data": data if isinstance(data, str) else json.dumps(data),
    }


def invocation(*envelopes: Mapping[str, Any], target: str = "executionEvents") -> bytes:
    """One hub record."""
    return json.dumps({"type": 1, "target": target, "arguments": list(envelopes)}).encode()


def balances(
    sequence: int,
    assets: Mapping[str, float | str] | None = None,
    *,
    client_id: str | None = None,
    user_id: str = "user-1",
    deleted: bool = False,
) -> bytes:
    """A balance snapshot; an asset's value is what is available of it."""
    held = {"BTC": 0.5, "USDT": 1000 + sequence} if assets is None else assets
    data = {
        "userId": user_id,
        "sequence": sequence,
        "assets": [{"name": name, "available": free, "allocated": 0} for name, free in held.items()],
        "deleted": deleted,
    }
    return invocation(envelope("account.balances.snapshot", data, client_id))


def pairs(names: Sequence[str], *, client_id: str | None = None, max_size: float = 5) -> bytes:
    """A pair list; the names end in a four-letter quote currency."""
    data = [
        {"name": name, "asset": name[:-4], "currency": name[-4:], "minSize": 0.1, "maxSize": max_size}
        for name in names
    ]
    return invocation(envelope("execution.pairs", data, client_id))
