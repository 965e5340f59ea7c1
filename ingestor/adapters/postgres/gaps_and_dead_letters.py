"""Reads for `ingestor gaps` and `ingestor dead-letters`: what was missed, and what could not be applied."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg

from ingestor.adapters.postgres.reading import read, rows


@dataclass(frozen=True, slots=True)
class Gap:
    """An interval in which something may have been missed, as in the view report.gap."""

    id: str
    """Twelve hexadecimal digits of the digest of its key; the same for as long as the row exists."""
    kind: str
    cause: str
    missed_from: datetime
    missed_until: datetime | None
    """When records were received again; None until then."""
    opened_at: datetime
    ended_at: datetime | None
    """When snapshots had confirmed all kinds that it affects; None while it is open."""
    seconds_unknown: float
    """From `missed_from` until it ended, so far."""
    affects: list[str]
    unconfirmed: list[str]
    """Those of `affects` that no snapshot has confirmed yet."""
    connection_errors: list[str]
    user_id: str | None
    first_missing: int | None
    last_missing: int | None
    occurrences: int
    session_id: UUID
    ordinal: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that could not be applied."""

    id: str
    """Twelve hexadecimal digits of the digest of its key; the same for as long as the row exists."""
    received_at: datetime
    stage: str
    reason: str
    detail: str
    subject: str | None
    occurrences: int
    last_received_at: datetime
    software_version: str
    session_id: UUID
    ordinal: int
    position: int
    discarded_at: datetime | None
    """When somebody discarded it; None if nobody has, or its cause has occurred again since."""
    discarded_by: str | None
    discard_reason: str | None


def gaps(
    connection: psycopg.Connection,
    account: str,
    *,
    limit: int,
    only_open: bool = False,
    number: str | None = None,
) -> list[Gap]:
    """The newest ones first; with `number` only the gap with that `id`."""
    return read(connection, Gap, _GAPS, account, only_open, limit, number)


def dead_letters(
    connection: psycopg.Connection,
    account: str,
    limit: int | None,
    numbers: Sequence[str] | None = None,
    *,
    only_open: bool = False,
) -> list[DeadLetter]:
    """Ordered by last occurrence, the newest first.

    Args:
        limit: the most to return.
        numbers: only those with these values of `id`.
        only_open: only those that are not discarded.
    """
    given = None if numbers is None else list(numbers)
    return read(connection, DeadLetter, _DEAD_LETTERS, account, limit, given, only_open)


def discard(connection: psycopg.Connection, account: str, letter: DeadLetter, by: str, reason: str) -> None:
    """Record that nothing more needs to be done about it, unless its cause occurs again."""
    key = (letter.session_id, letter.ordinal, letter.position, letter.received_at, letter.occurrences)
    rows(connection, _DISCARD, account, *key, by, reason)


def stored_record(
    connection: psycopg.Connection, account: str, letter: DeadLetter
) -> tuple[int, str, bytes] | None:
    """The record of a dead letter: its size on the wire, its SHA-256, and its bytes as received, of a record
    above the limit only the beginning. None if it is no longer stored."""
    found = rows(connection, _RECORD, account, letter.session_id, letter.ordinal)
    return found[0] if found else None


_GAPS = """
    WITH gap AS (
        SELECT g.*,
            left(encode(sha256(convert_to(concat_ws(' ', g.session_id, g.ordinal, g.position, g.kind,
                extract(epoch FROM g.opened_at)), 'UTF8')), 'hex'), 12) AS id
        FROM ingest.gap AS g
        WHERE g.account = $1
    )
    SELECT *,
        extract(epoch FROM coalesce(ended_at, clock_timestamp()) - missed_from)::float8 AS seconds_unknown,
        array_remove(ARRAY[
            CASE WHEN 'balances' = ANY (affects) AND balances_confirmed_at IS NULL THEN 'balances' END,
            CASE WHEN 'pairs' = ANY (affects) AND pairs_confirmed_at IS NULL THEN 'pairs' END
        ], NULL) AS unconfirmed
    FROM gap
    WHERE (NOT $2::boolean OR ended_at IS NULL) AND ($4::text IS NULL OR id = $4)
    ORDER BY missed_from DESC, id
    LIMIT $3
"""

_DEAD_LETTERS = """
    WITH letter AS (
        SELECT d.*, x.discarded_at, x.discarded_by, x.reason AS discard_reason,
            left(encode(sha256(convert_to(concat_ws(' ', d.session_id, d.ordinal, d.position,
                extract(epoch FROM d.received_at)), 'UTF8')), 'hex'), 12) AS id
        FROM ingest.dead_letter AS d
        LEFT JOIN ingest.discard AS x
            USING (account, session_id, ordinal, position, received_at, occurrences)
        WHERE account = $1
    )
    SELECT * FROM letter
    WHERE ($3::text[] IS NULL OR id = ANY ($3)) AND (NOT $4::boolean OR discarded_at IS NULL)
    ORDER BY last_received_at DESC, id
    LIMIT $2
"""

_DISCARD = """
    INSERT INTO ingest.discard (account, session_id, ordinal, position, received_at, occurrences,
        discarded_at, discarded_by, reason)
    VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp(), $7, $8)
    ON CONFLICT DO NOTHING
    RETURNING 1
"""

_RECORD = """
    SELECT size, encode(coalesce(sha256, sha256(raw)), 'hex') AS sha256, raw
    FROM ingest.record
    WHERE account = $1 AND session_id = $2 AND ordinal = $3
"""
