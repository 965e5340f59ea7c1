"""The private schema `ingest` as SQLAlchemy Core tables: names, types and keys, for queries.

`migrations/versions/0001_the_private_schema.sql` makes them and says what each column means; a test holds
the two
equal. Rules that keep the schema ready to be distributed or partitioned: every key begins with the account;
the keys
of tables that grow hold a time that is fixed before the first attempt to write, so that a repetition meets
the same
key; there are no triggers, and no foreign keys into the tables that grow.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Double,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import ARRAY, UUID
from sqlalchemy.types import TypeEngine

SCHEMA = "ingest"

metadata = MetaData(schema=SCHEMA)

TYPES: dict[str, TypeEngine[Any]] = {
    "text": Text(),
    "text[]": ARRAY(Text),
    "uuid": UUID(),
    "int8": BigInteger(),
    "int4": Integer(),
    "float8": Double(),
    "timestamptz": DateTime(timezone=True),
    "interval": Interval(),
    "bytea": LargeBinary(),
    "numeric": Numeric(),
    "bool": Boolean(),
}

_STREAM = "kind text, user_id text"
_NUMBER = "epoch int4, sequence int8, revision int4"
_EVENT = "session_id uuid, ordinal int8, position int4"


def _table(name: str, key: str, columns: str) -> Table:
    """A table whose key begins with the account. `null` follows the type of a column that may be null."""
    keys = {"account", *key.split(", ")}
    made = []
    for column in f"account text, {columns}".split(", "):
        title, kind, *null = column.split()
        made.append(
            Column(
                title,
                TYPES[kind],
                nullable=bool(null),
                primary_key=title in keys,
                autoincrement=False,
                info={"type": kind},
            )
        )
    return Table(name, metadata, *made)


account = _table("account", "account", "environment text, created_at timestamptz")

session = _table(
    "session",
    "session_id, opened_at",
    "session_id uuid, opened_at timestamptz, url text, attempts int4, connection_errors text[], "
    "software_version text, clock_offset_seconds float8 null, closed_at timestamptz null, "
    "last_heard_at timestamptz null, received int8 null, ending text null, cause text null, "
    "detail text null, committed_ordinal int8, committed_records int8, dropped_records int8, "
    "last_received_at timestamptz null",
)

raw_event = _table(
    "raw_event",
    "session_id, ordinal, received_at",
    "session_id uuid, ordinal int8, received_at timestamptz, size int4, sha256 bytea null, raw bytea",
)

outcome = _table(
    "outcome",
    "session_id, ordinal, position, received_at",
    f"{_EVENT}, received_at timestamptz, outcome text, reason text null, subject text null, "
    "request_id text null, kind text null, user_id text null, epoch int4 null, sequence int8 null, "
    "revision int4 null",
)

version = _table(
    "version",
    "kind, user_id, valid_from, epoch, sequence, revision",
    f"{_STREAM}, valid_from timestamptz, {_NUMBER}, {_EVENT}, received_at timestamptz, deleted bool, "
    "origin text, passed_over int8, previous_confirmed_until timestamptz null, recorded_at timestamptz",
)

balance = _table(
    "balance",
    "user_id, asset, valid_from, epoch, sequence, revision",
    f"user_id text, asset text, valid_from timestamptz, {_NUMBER}, available numeric, allocated numeric, "
    "reported bool",
)

exposure = _table(
    "exposure",
    "user_id, asset, observed_at, session_id, ordinal, position",
    f"user_id text, asset text, observed_at timestamptz, {_EVENT}, current_exposure numeric null, "
    "max_exposure numeric null, recorded_at timestamptz",
)

exposure_total = _table(
    "exposure_total",
    "user_id, observed_at, session_id, ordinal, position",
    f"user_id text, observed_at timestamptz, {_EVENT}, base_currency text null, "
    "total_current_exposure numeric null, total_max_exposure numeric null, "
    "recorded_at timestamptz",
)

pair = _table(
    "pair",
    "name, valid_from, epoch, sequence, revision",
    f"name text, valid_from timestamptz, {_NUMBER}, asset text, currency text, min_size numeric null, "
    "max_size numeric null, min_quote_size numeric null, max_quote_size numeric null, listed bool",
)

epoch = _table(
    "epoch",
    "kind, user_id, epoch",
    f"{_STREAM}, epoch int4, opened_at timestamptz, cause text, first_sequence int8, "
    "previous_sequence int8 null, evidence int4, first_evidence_session_id uuid, "
    "first_evidence_ordinal int8, last_evidence_session_id uuid, last_evidence_ordinal int8, "
    "passed_over int8, passed_over_from timestamptz null",
)

watermark = _table(
    "watermark",
    "kind, user_id",
    f"{_STREAM}, {_NUMBER}, content bytea, {_EVENT}, valid_from timestamptz, confirmed_until timestamptz, "
    "deleted bool",
)

gap = _table(
    "gap",
    "session_id, ordinal, position, kind, opened_at",
    f"{_EVENT}, kind text, opened_at timestamptz, cause text, missed_from timestamptz, "
    "missed_until timestamptz null, connection_errors text[], touches text[], user_id text null, "
    "first_missing int8 null, last_missing int8 null, occurrences int8, last_occurred_at timestamptz, "
    "balances_confirmed_at timestamptz null, balances_confirmed_by_session_id uuid null, "
    "balances_confirmed_by_ordinal int8 null, pairs_confirmed_at timestamptz null, "
    "pairs_confirmed_by_session_id uuid null, pairs_confirmed_by_ordinal int8 null, "
    "ended_at timestamptz null, recorded_at timestamptz",
)

confirmation = _table(
    "confirmation",
    "session_id, ordinal, position, reason, raised_at",
    f"{_EVENT}, reason text, raised_at timestamptz, {_STREAM}, sequence int8, resolution text null, "
    "resolved_at timestamptz null, resolved_by_session_id uuid null, resolved_by_ordinal int8 null",
)

request = _table(
    "request",
    "request_id, requested_at",
    "request_id text, requested_at timestamptz, command text, cause text, attempt int4, "
    "argument_form text, session_id uuid, outcome text null, ended_at timestamptz null, "
    "answer_ordinal int8 null, error text null, recorded_at timestamptz",
)

dead_letter = _table(
    "dead_letter",
    "session_id, ordinal, position, received_at",
    f"{_EVENT}, received_at timestamptz, stage text, reason text, detail text, subject text null, "
    "software_version text, occurrences int4, last_received_at timestamptz",
)

heartbeat = _table(
    "heartbeat",
    "account",
    "process_id uuid, pid int4, host text, software_version text, started_at timestamptz, "
    "heartbeat_at timestamptz, clock_offset_seconds float8 null, link_state text, "
    "connection_error text null, connection_error_detail text null, key_refused bool, "
    "next_attempt_at timestamptz null, last_heard_at timestamptz null, inbox_records int8, inbox_bytes int8, "
    "dropped_records int8, balances_interval interval, pairs_interval interval, stopped_at timestamptz null",
)

clock_step = _table(
    "clock_step", "noticed_at, clock", "noticed_at timestamptz, clock text, step_seconds float8"
)
