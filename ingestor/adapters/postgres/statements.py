"""The statements of the hot path, as named values.

Few rows travel as one binary array per column (`%b`), many as binary COPY; decision 0008 has the figures.

The column lists come from the row types in `pipeline.batch`, the array types from the tables, so that neither
can drift from the schema unnoticed.
"""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Boolean, DateTime, Integer, LargeBinary, Numeric, Table, Text
from sqlalchemy.dialects import postgresql
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

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]


def _array(table: Table, column: str) -> str:
    return f"%b::{table.c[column].type.compile(dialect=_DIALECT)}[]"


def _insert(table: Table, row: type[Any], conflict: str = "") -> str:
    """INSERT of many rows: parameters are the account, then one list per field of the row type."""
    names = row.__struct_fields__
    columns = ", ".join(names)
    arrays = ", ".join(_array(table, name) for name in names)
    return (
        f"INSERT INTO {table.fullname} (account, {columns}) "  # noqa: S608 - names from our own row types
        f"SELECT %b::text, * FROM unnest({arrays}) AS given({columns}) {conflict}"
    ).rstrip()


@dataclass(frozen=True, slots=True)
class CopyIn:
    """COPY of many rows into one table; each is preceded by the account."""

    statement: str
    types: tuple[str, ...]


def _copy(table: Table, row: type[Any]) -> CopyIn:
    names = ("account", *row.__struct_fields__)
    return CopyIn(
        f"COPY {table.fullname} ({', '.join(names)}) FROM STDIN (FORMAT BINARY)",
        tuple(_TYPES[type(table.c[name].type)] for name in names),
    )


def _complete(key: str, *columns: str) -> str:
    """A row that is written when something begins and again when it ends."""
    return f"ON CONFLICT ({key}) DO UPDATE SET " + ", ".join(f"{each} = excluded.{each}" for each in columns)


# In the order of writing: what is referred to comes first.
INSERTS: dict[type[Any], str] = {
    RawEventRow: _insert(tables.raw_event, RawEventRow),
    OutcomeRow: _insert(tables.outcome, OutcomeRow),
    VersionRow: _insert(tables.version, VersionRow),
    BalanceRow: _insert(tables.balance, BalanceRow),
    ExposureRow: _insert(tables.exposure, ExposureRow),
    ExposureTotalRow: _insert(tables.exposure_total, ExposureTotalRow),
    PairRow: _insert(tables.pair, PairRow),
    EpochRow: _insert(tables.epoch, EpochRow),
    DeadLetterRow: _insert(tables.dead_letter, DeadLetterRow),
    DoubtRow: _insert(
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
    CommandRow: _insert(
        tables.command,
        CommandRow,
        _complete("account, command_id", "outcome", "settled_at", "answer_ordinal", "error"),
    ),
}

# What is written with every event; for these the way depends on how many there are.
COPIES: dict[type[Any], CopyIn] = {
    RawEventRow: _copy(tables.raw_event, RawEventRow),
    OutcomeRow: _copy(tables.outcome, OutcomeRow),
    VersionRow: _copy(tables.version, VersionRow),
    BalanceRow: _copy(tables.balance, BalanceRow),
    ExposureRow: _copy(tables.exposure, ExposureRow),
    ExposureTotalRow: _copy(tables.exposure_total, ExposureTotalRow),
    PairRow: _copy(tables.pair, PairRow),
}

OPEN_SESSION = """
    INSERT INTO ingest.session (account, session_id, opened_at, url, attempts, obstacles, software_version)
    VALUES (%b, %b, %b, %b, %b, %b::text[], %b)
    ON CONFLICT (account, session_id) DO NOTHING
"""

CLOSE_SESSION = """
    UPDATE ingest.session
    SET closed_at = %b, last_heard_at = %b, received = %b, ending = %b, cause = %b, detail = %b
    WHERE account = %b AND session_id = %b AND closed_at IS NULL
"""

ADVANCE_SESSIONS = """
    WITH advanced AS (
        UPDATE ingest.session AS s
        SET committed_ordinal = given.last_ordinal,
            committed_records = s.committed_records + given.records,
            shed_records = s.shed_records + given.shed,
            last_received_at = greatest(s.last_received_at, given.last_received_at)
        FROM unnest(%b::uuid[], %b::bigint[], %b::bigint[], %b::bigint[], %b::bigint[], %b::timestamptz[])
            AS given(session_id, first_ordinal, last_ordinal, records, shed, last_received_at)
        WHERE s.account = %b AND s.session_id = given.session_id
          AND s.committed_ordinal < given.first_ordinal
        RETURNING 1
    )
    SELECT ingest.require(count(*) = %b, 'a session stands elsewhere') FROM advanced
"""
"""Refuses a batch that is stored already, and one whose session is unknown."""

MOVE_WATERMARKS = """
    WITH moved AS (
        UPDATE ingest.watermark AS w
        SET epoch = given.epoch, sequence = given.sequence, revision = given.revision,
            content = given.content, session_id = given.session_id, ordinal = given.ordinal,
            position = given.position, valid_from = given.valid_from,
            confirmed_until = given.confirmed_until, deleted = given.deleted
        FROM unnest(
                %b::text[], %b::text[], %b::integer[], %b::bigint[], %b::integer[],
                %b::integer[], %b::bigint[], %b::integer[], %b::bytea[], %b::uuid[], %b::bigint[],
                %b::integer[], %b::timestamptz[], %b::timestamptz[], %b::boolean[])
            AS given(kind, user_id, old_epoch, old_sequence, old_revision,
                     epoch, sequence, revision, content, session_id, ordinal,
                     position, valid_from, confirmed_until, deleted)
        WHERE w.account = %b AND w.kind = given.kind AND w.user_id = given.user_id
          AND (w.epoch, w.sequence, w.revision)
              = (given.old_epoch, given.old_sequence, given.old_revision)
          AND (given.epoch, given.sequence, given.revision) >= (w.epoch, w.sequence, w.revision)
        RETURNING 1
    )
    SELECT ingest.require(count(*) = %b, 'a stream stands elsewhere') FROM moved
"""
"""The guard against going backwards, and against a second writer: it stands in the SQL (I4, I16)."""

BEGIN_WATERMARKS = """
    WITH begun AS (
        INSERT INTO ingest.watermark (
            account, kind, user_id, epoch, sequence, revision, content, session_id, ordinal,
            position, valid_from, confirmed_until, deleted)
        SELECT %b::text, * FROM unnest(
                %b::text[], %b::text[], %b::integer[], %b::bigint[], %b::integer[], %b::bytea[], %b::uuid[],
                %b::bigint[], %b::integer[], %b::timestamptz[], %b::timestamptz[], %b::boolean[])
        ON CONFLICT (account, kind, user_id) DO NOTHING
        RETURNING 1
    )
    SELECT ingest.require(count(*) = %b, 'a stream exists already') FROM begun
"""

WRITE_GAP = """
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
"""

BEAT = """
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
"""

COMMITTED = (
    "SELECT session_id, committed_ordinal FROM ingest.session WHERE account = %b AND session_id = ANY(%b)"
)

ABANDON_DOUBTS = """
    UPDATE ingest.doubt SET resolution = 'abandoned', resolved_at = %b
    WHERE account = %b AND resolution IS NULL
"""

SETTLE_LEFT_COMMANDS = """
    UPDATE ingest.command SET outcome = 'link_lost', settled_at = %b
    WHERE account = %b AND outcome IS NULL
"""

REGISTER_ACCOUNT = """
    INSERT INTO ingest.account (account, environment, created_at) VALUES (%b, %b, %b)
    ON CONFLICT (account) DO NOTHING
"""
