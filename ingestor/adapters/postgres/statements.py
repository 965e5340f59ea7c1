"""The statements that store a batch. Parameters are `$1`, `$2`, ...: what the server reads, so that the
driver need not.

The rows of a batch travel in one statement for all tables: what the rows of a table share is said once, the
rest is one JSON array. Many rows of the tables that events add to travel as COPY (decision 0008 has the
figures). The columns and their types come from the row types; a test holds them against the schema.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cache
from types import MappingProxyType, NoneType
from typing import Annotated, Any, get_args, get_origin, get_type_hints
from uuid import UUID

from ingestor.domain.streams import Kind
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


@dataclass(frozen=True, slots=True)
class Change:
    """What rows of one type do to their table, as parts of one statement. `{given}` is replaced by the
    rows."""

    parts: tuple[str, ...]
    rejection: str | None = None
    """Why the batch is rejected unless each row has its effect in exactly one of the parts."""
    each: tuple[str, ...] | None = None
    """The columns that differ from row to row in the usual batch, where the rest can be said once."""


@dataclass(frozen=True, slots=True)
class Copy:
    """How rows of one type are copied into their table. The account, common to all, comes first."""

    statement: bytes
    types: tuple[str, ...]


_TYPES = {
    UUID: "uuid",
    bytes: "bytea",
    bool: "bool",
    int: "int8",
    float: "float8",
    Decimal: "numeric",
    datetime: "timestamptz",
    tuple[str, ...]: "text[]",
}


def columns(row: type[Any]) -> dict[str, str]:
    """The columns of a row type, with their types in Postgres."""
    hints = get_type_hints(row, include_extras=True)
    return {name: _type(hints[name]) for name in row.__struct_fields__}


def _type(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return str(get_args(hint)[1])
    not_none = [each for each in get_args(hint) if each is not NoneType]
    if NoneType in get_args(hint):
        return _type(not_none[0])
    return _TYPES.get(hint) or "text"


def given(row: type[Any], each: tuple[str, ...], number: int) -> str:
    """Rows as a table: the columns `each` from one JSON array of objects, the others said once for all rows.

    Args:
        number: of the first parameter: the others' values come first, in order, and then the array.
    """
    shape = columns(row)
    once = [name for name in shape if name not in each]
    selected = [f"${at}::{shape[name]} AS {name}" for at, name in enumerate(once, number)]
    if not each:
        return f"(SELECT {', '.join(selected)}) AS given"
    listed = []
    for name in each:
        is_bytes = shape[name] == "bytea"  # JSON has none: they come as base64
        selected.append(f"decode(r.{name}, 'base64') AS {name}" if is_bytes else f"r.{name}")
        listed.append(f"{name} {'text' if is_bytes else shape[name]}")
    rows = f"json_to_recordset(${number + len(once)}::json) AS r({', '.join(listed)})"
    return f"(SELECT {', '.join(selected)} FROM {rows}) AS given"  # noqa: S608 - names from our own row types


def _insert(table: str, names: Iterable[str], more: str = "") -> str:
    listed = [*names]
    return (
        f"INSERT INTO ingest.{table} (account, {', '.join(listed)}) "  # noqa: S608 - names from our own row types
        f"SELECT $1::text, {', '.join(f'given.{name}' for name in listed)} FROM {{given}} {more}"
    )


def _added(table: str, row: type[Any], each: tuple[str, ...] | None) -> Change:
    # RETURNING, though nobody reads it: else Citus sends the rows by COPY, and what is rejected then comes
    # without its SQLSTATE.
    return Change((_insert(table, columns(row), "RETURNING 1"),), each=each)


def _completed(
    table: str,
    row: type[Any],
    only: str = "true",
    each: tuple[str, ...] | None = None,
    stamps: Mapping[str, str] = MappingProxyType({}),
) -> Change:
    """Rows that are written when something begins, and again when it ends.

    Args:
        stamps: for a column, the one that says when it was stored as it is; its default is the time.
    """
    changes = [f"{name} = excluded.{name}" for name in columns(row) if name not in row.key]
    changes += [
        f"{stamp} = CASE WHEN {table}.{name} IS NOT DISTINCT FROM excluded.{name} "
        f"THEN {table}.{stamp} ELSE excluded.{stamp} END"
        for name, stamp in stamps.items()
    ]
    on_conflict = (
        f"ON CONFLICT (account, {', '.join(row.key)}) DO UPDATE SET {', '.join(changes)} WHERE {only}"
    )
    return Change((_insert(table, columns(row), on_conflict),), each=each)


def _begun(table: str, row: type[Any], rejection: str) -> Change:
    """Rows whose key must not exist."""
    return Change((_insert(table, columns(row), "ON CONFLICT DO NOTHING RETURNING 1"),), rejection)


def _session_progress() -> Change:
    closing = ("closed_at", "last_message_at", "received", "ending", "cause", "detail")
    update = f"""
        UPDATE ingest.session AS s
        SET committed_ordinal = given.committed_ordinal,
            committed_records = s.committed_records + given.committed_records,
            dropped_records = s.dropped_records + given.dropped_records,
            last_received_at = coalesce(given.last_received_at, s.last_received_at),
            {", ".join(f"{name} = given.{name}" for name in closing)}
        FROM {{given}}
        WHERE s.account = $1::text AND s.session_id = given.session_id AND s.opened_at = given.opened_at
          AND s.committed_ordinal = given.first_ordinal - 1 AND s.closed_at IS NULL
        RETURNING 1
    """  # noqa: S608 - names from our own row types
    # Exactly: not above, where the batch is stored already, and not below, where the server has lost commits.
    return Change((update,), "the stored position of a session is not the expected one", each=())


def _watermarks() -> Change:
    new = [name for name in columns(WatermarkRow) if not name.startswith("old_")]
    more = "WHERE given.old_epoch IS NULL ON CONFLICT DO NOTHING RETURNING 1"
    begun = _insert("watermark", new, more)
    moved = f"""
        UPDATE ingest.watermark AS w
        SET {", ".join(f"{name} = given.{name}" for name in new)}
        FROM {{given}}
        WHERE w.account = $1::text AND w.kind = given.kind AND w.user_id = given.user_id
          AND (w.epoch, w.sequence, w.revision)
              = (given.old_epoch, given.old_sequence, given.old_revision)
          AND (given.epoch, given.sequence, given.revision) >= (w.epoch, w.sequence, w.revision)
        RETURNING 1
    """  # noqa: S608 - names from our own row types
    # The SQL itself checks that state does not go back, and that no second writer wrote (I4, I16).
    return Change((moved, begun), "the stored version of a stream is not the expected one", each=())


_EACH: dict[type[Any], tuple[str, ...]] = {
    RawEventRow: ("ordinal", "received_at", "size", "raw"),
    OutcomeRow: (
        "ordinal",
        "received_at",
        "sequence",
        "valid_from",
        "passed_over",
        "previous_confirmed_until",
    ),
    BalanceRow: ("asset", "valid_from", "sequence", "available", "allocated"),
}

_COPIED: dict[type[Any], str] = {
    RawEventRow: "raw_event",
    OutcomeRow: "outcome",
    BalanceRow: "balance",
    ExposureRow: "exposure",
    ExposureTotalRow: "exposure_total",
    PairRow: "pair",
}

CHANGES: dict[type[Any], Change] = {
    SessionRow: _begun("session", SessionRow, "a session exists already"),
    SessionProgressRow: _session_progress(),
    # Before the watermark, which refers to it.
    EpochRow: _begun("epoch", EpochRow, "an epoch exists already"),
    WatermarkRow: _watermarks(),
    **{row: _added(table, row, _EACH.get(row)) for row, table in _COPIED.items()},
    DeadLetterRow: _completed("dead_letter", DeadLetterRow),
    GapRow: _completed(
        "gap",
        GapRow,
        "gap.ended_at IS NULL",
        stamps={f"{kind}_confirmed_at": f"{kind}_confirmation_recorded_at" for kind in Kind},
    ),
    RequestRow: _completed("request", RequestRow, each=(), stamps={"ended_at": "end_recorded_at"}),
    ConfirmationRow: _completed(
        "confirmation", ConfirmationRow, stamps={"resolved_at": "resolution_recorded_at"}
    ),
}
"""In the order of writing. Every row type of a batch is one of these."""

COPIES: dict[type[Any], Copy] = {
    row: Copy(
        (f"COPY ingest.{table} (account, {', '.join(columns(row))}) FROM STDIN (FORMAT BINARY)").encode(),
        ("text", *columns(row).values()),
    )
    for row, table in _COPIED.items()
}
"""What every event adds to; for these the way depends on how many rows there are."""


Form = tuple[type[Any], tuple[str, ...]]
"""Rows of a type, and those of their columns that are given for each row; the others are said once."""


@cache
def at_once(forms: tuple[Form, ...]) -> bytes:
    """One statement for rows of all these types: one message to the server, one plan, one snapshot.

    Parameters are the account and then, for each type, what `given` takes. Nothing is inserted where a guard
    does not hold, and epochs come before watermarks: Postgres carries out first what is read from, in the
    order of reading, and Citus one part after the other as they are written. In whatever order it went,
    nothing of the batch would stay.
    """
    guarded: list[str] = []
    others: list[str] = []
    checks = []
    number = 2
    for row, each in forms:
        change, source = CHANGES[row], given(row, each, number)
        number += len(columns(row)) - len(each) + bool(each)
        names = [f"part_{number}_{index}" for index in range(len(change.parts))]
        (guarded if change.rejection else others).extend(
            f"{name} AS ({part.replace('{given}', source)})"
            for name, part in zip(names, change.parts, strict=True)
        )
        if change.rejection:
            done = " + ".join(f"(SELECT count(*) FROM {name})" for name in names)  # noqa: S608 - our names
            rows = f"json_array_length(${number - 1}::json)" if each else "1"
            checks.append(f"ingest.require({done} = {rows}, '{change.rejection}')::text")
    checked = f"checked AS MATERIALIZED (SELECT {', '.join(checks) or '1'})"
    parts = ", ".join([*guarded, checked, *others])
    return f"WITH {parts} SELECT * FROM checked".encode()  # noqa: S608 - our own parts
