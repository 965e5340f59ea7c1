"""The statements of the hot path, as named values; a parameter where `%b` stands.

Few rows travel as one JSON array per table, in one statement for all tables; many travel as COPY (decision
0008 has the figures).

The column lists come from the row types in `pipeline.batch`, the array types from the tables, so that neither
can drift from the schema unnoticed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Integer, LargeBinary, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import UUID

from ingestor.adapters.postgres import tables
from ingestor.pipeline.batch import (
    BalanceRow,
    CommandRow,
    DeadLetterRow,
    DoubtRow,
    EpochRow,
    ExposureRow,
    ExposureTotalRow,
    OutcomeRow,
    PairRow,
    RawEventRow,
    VersionRow,
)

_TYPES = {
    Text: "text",
    UUID: "uuid",
    BigInteger: "int8",
    Integer: "int4",
    DateTime: "timestamptz",
    LargeBinary: "bytea",
    Numeric: "numeric",
    Boolean: "bool",
}


def _numbered(statement: str, first: int = 1) -> bytes:
    """With `$1`, `$2`, ... for each `%b`: what the server reads, so that the driver need not read it too."""
    begin, *rest = statement.split("%b")
    return (begin + "".join(f"${number}{part}" for number, part in enumerate(rest, first))).encode()


def _given(columns: Mapping[str, str]) -> str:
    """Rows as a table, from one JSON array of objects."""
    shape = ", ".join(f"{name} {'text' if each == 'bytea' else each}" for name, each in columns.items())
    return f"json_to_recordset(%b::json) AS given({shape})"


def _value(name: str, column: str) -> str:
    """JSON has no bytes: they come as base64."""
    return f"decode(given.{name}, 'base64')" if column == "bytea" else f"given.{name}"


@dataclass(frozen=True, slots=True)
class Rows:
    """How rows of one type reach their table. The account, which all have in common, comes first."""

    insert: str
    """A part of `at_once`."""
    copy: bytes
    types: tuple[str, ...]
    """Of the row type's fields; of the columns without the account."""


def _rows(table: Table, row: type[Any], conflict: str = "") -> Rows:
    columns = {name: _TYPES[type(table.c[name].type)] for name in row.__struct_fields__}
    names = ", ".join(columns)
    values = ", ".join(_value(*column) for column in columns.items())
    return Rows(
        f"INSERT INTO {table.fullname} (account, {names}) "  # noqa: S608 - names from our own row types
        f"SELECT $1::text, {values} FROM {_given(columns)} {conflict}".rstrip(),
        f"COPY {table.fullname} (account, {names}) FROM STDIN (FORMAT BINARY)".encode(),
        tuple(columns.values()),
    )


def _complete(key: str, *columns: str) -> str:
    """A row that is written when something begins and again when it ends."""
    return f"ON CONFLICT ({key}) DO UPDATE SET " + ", ".join(f"{each} = excluded.{each}" for each in columns)


# In the order of writing.
EVENT_ROWS: dict[type[Any], Rows] = {
    RawEventRow: _rows(tables.raw_event, RawEventRow),
    OutcomeRow: _rows(tables.outcome, OutcomeRow),
    VersionRow: _rows(tables.version, VersionRow),
    BalanceRow: _rows(tables.balance, BalanceRow),
    ExposureRow: _rows(tables.exposure, ExposureRow),
    ExposureTotalRow: _rows(tables.exposure_total, ExposureTotalRow),
    PairRow: _rows(tables.pair, PairRow),
}
"""What events add to; for these the way depends on how many there are."""

RARE_ROWS: dict[type[Any], Rows] = {
    EpochRow: _rows(tables.epoch, EpochRow),
    DeadLetterRow: _rows(tables.dead_letter, DeadLetterRow),
    DoubtRow: _rows(
        tables.doubt,
        DoubtRow,
        _complete(
            "account, session_id, ordinal, position, doubt",
            "resolution",
            "resolved_at",
            "resolved_by_session_id",
            "resolved_by_ordinal",
        ),
    ),
    CommandRow: _rows(
        tables.command,
        CommandRow,
        _complete("account, command_id", "outcome", "settled_at", "answer_ordinal", "error"),
    ),
}

ROWS = EVENT_ROWS | RARE_ROWS


@dataclass(frozen=True, slots=True)
class Guarded:
    """A change that must take place for each of its rows, or the whole batch is refused."""

    name: str
    change: str
    """A part of `at_once`."""
    refusal: str


_PROGRESS = {
    "session_id": "uuid",
    "first_ordinal": "int8",
    "last_ordinal": "int8",
    "records": "int8",
    "shed": "int8",
    "last_received_at": "timestamptz",
}

ADVANCE_SESSIONS = Guarded(
    "advanced",
    f"""
        UPDATE ingest.session AS s
        SET committed_ordinal = given.last_ordinal,
            committed_records = s.committed_records + given.records,
            shed_records = s.shed_records + given.shed,
            last_received_at = greatest(s.last_received_at, given.last_received_at)
        FROM {_given(_PROGRESS)}
        WHERE s.account = $1::text AND s.session_id = given.session_id
          AND s.committed_ordinal < given.first_ordinal
        RETURNING 1
    """,  # noqa: S608 - names from above
    "a session stands elsewhere",
)
"""Refuses a batch that is stored already, and one whose session is unknown."""

_STREAM = {"kind": "text", "user_id": "text"}
_OLD_MARK = {"old_epoch": "int4", "old_sequence": "int8", "old_revision": "int4"}
_WATERMARK = {
    "epoch": "int4",
    "sequence": "int8",
    "revision": "int4",
    "content": "bytea",
    "session_id": "uuid",
    "ordinal": "int8",
    "position": "int4",
    "valid_from": "timestamptz",
    "confirmed_until": "timestamptz",
    "deleted": "bool",
}

MOVE_WATERMARKS = Guarded(
    "moved",
    f"""
        UPDATE ingest.watermark AS w
        SET {", ".join(f"{name} = {_value(name, each)}" for name, each in _WATERMARK.items())}
        FROM {_given(_STREAM | _OLD_MARK | _WATERMARK)}
        WHERE w.account = $1::text AND w.kind = given.kind AND w.user_id = given.user_id
          AND (w.epoch, w.sequence, w.revision)
              = (given.old_epoch, given.old_sequence, given.old_revision)
          AND (given.epoch, given.sequence, given.revision) >= (w.epoch, w.sequence, w.revision)
        RETURNING 1
    """,  # noqa: S608 - names from above
    "a stream stands elsewhere",
)
"""The guard against going backwards, and against a second writer: it stands in the SQL (I4, I16)."""

BEGIN_WATERMARKS = Guarded(
    "begun",
    f"""
        INSERT INTO ingest.watermark ({", ".join(_STREAM | _WATERMARK)}, account)
        SELECT {", ".join(_value(*each) for each in (_STREAM | _WATERMARK).items())}, $1::text
        FROM {_given(_STREAM | _WATERMARK)}
        ON CONFLICT (account, kind, user_id) DO NOTHING
        RETURNING 1
    """,  # noqa: S608 - names from above
    "a stream exists already",
)


@cache
def at_once(guarded: tuple[Guarded, ...], rows: tuple[type[Any], ...]) -> bytes:
    """One statement for all of it: one message to the server, one plan, one snapshot.

    Parameters are the account, the rows for each change and then for each insert as JSON, and for each change
    the number of its rows.

    A part that is read from is carried out before one that is not, so nothing is inserted where a guard
    does not hold; in whatever order it did, nothing of the batch would stay.
    """
    parts = [f"{each.name} AS ({each.change})" for each in guarded]
    parts += [f"rows_{number} AS ({ROWS[each].insert})" for number, each in enumerate(rows)]
    checks = [
        f"ingest.require((SELECT count(*) FROM {each.name}) = %b, '{each.refusal}')"  # noqa: S608
        for each in guarded
    ]
    return _numbered(f"WITH {', '.join(parts)} SELECT {', '.join(checks) or '1'}", first=2)


OPEN_SESSION = _numbered("""
    INSERT INTO ingest.session (account, session_id, opened_at, url, attempts, obstacles, software_version)
    VALUES (%b, %b, %b, %b, %b, %b::text[], %b)
    ON CONFLICT (account, session_id) DO NOTHING
""")

CLOSE_SESSION = _numbered("""
    UPDATE ingest.session
    SET closed_at = %b, last_heard_at = %b, received = %b, ending = %b, cause = %b, detail = %b
    WHERE account = %b AND session_id = %b AND closed_at IS NULL
""")

WRITE_GAP = _numbered("""
    INSERT INTO ingest.gap (
        account, session_id, ordinal, position, kind, missed_from, missed_until, opened_at, cause, obstacles,
        stream, user_id, first_missing, last_missing, awaiting, ending, ended_at,
        proof_session_id, proof_ordinal)
    VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b, %b::text[],
            %b, %b, %b, %b, %b::text[], %b, %b, %b, %b)
    ON CONFLICT (account, session_id, ordinal, position, kind) DO UPDATE
    SET missed_until = excluded.missed_until, obstacles = excluded.obstacles, awaiting = excluded.awaiting,
        ending = excluded.ending, ended_at = excluded.ended_at,
        proof_session_id = excluded.proof_session_id, proof_ordinal = excluded.proof_ordinal
    WHERE gap.ending IS NULL
""")

BEAT = _numbered("""
    INSERT INTO ingest.heartbeat AS h (
        account, process_id, pid, host, software_version, started_at, beat_at, link_state, link_obstacle,
        last_heard_at, inbox_records, inbox_bytes, balances_interval, pairs_interval, stopped_at)
    VALUES (%b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b, %b)
    ON CONFLICT (account) DO UPDATE
    SET process_id = excluded.process_id, pid = excluded.pid, host = excluded.host,
        software_version = excluded.software_version, started_at = excluded.started_at,
        beat_at = excluded.beat_at, link_state = excluded.link_state,
        link_obstacle = excluded.link_obstacle, last_heard_at = excluded.last_heard_at,
        inbox_records = excluded.inbox_records, inbox_bytes = excluded.inbox_bytes,
        balances_interval = excluded.balances_interval, pairs_interval = excluded.pairs_interval,
        stopped_at = excluded.stopped_at
""")

COMMITTED = _numbered(
    "SELECT session_id, committed_ordinal FROM ingest.session WHERE account = %b AND session_id = ANY(%b)"
)

ABANDON_DOUBTS = _numbered("""
    UPDATE ingest.doubt SET resolution = 'abandoned', resolved_at = %b
    WHERE account = %b AND resolution IS NULL
""")

SETTLE_LEFT_COMMANDS = _numbered("""
    UPDATE ingest.command SET outcome = 'link_lost', settled_at = %b
    WHERE account = %b AND outcome IS NULL
""")

REGISTER_ACCOUNT = _numbered("""
    INSERT INTO ingest.account (account, environment, created_at) VALUES (%b, %b, %b)
    ON CONFLICT (account) DO NOTHING
""")
