"""Writes a batch to Postgres, in one transaction."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Any
from uuid import UUID

import psycopg
from msgspec import Struct, defstruct, json

from ingestor.adapters.postgres import statements
from ingestor.adapters.postgres.packing import Packer
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.rows import RawEventRow, SessionProgressRow, SessionRow

_COPY_FROM_ROWS = 500
"""From this many rows on, COPY is cheaper in spite of its round trips (decision 0008)."""
_COPY_FROM_BYTES = 256 * 1024
"""Bytes as received; in JSON they would be encoded in base64."""

_STORED_SESSIONS = (
    b"SELECT session_id, committed_ordinal, closed_at IS NOT NULL FROM ingest.session "
    b"WHERE account = $1 AND session_id = ANY($2::uuid[])"
)

_encode = json.Encoder(decimal_format="string").encode

Rows = Mapping[type[Any], Sequence[Any]]


def write(connection: psycopg.Connection, account: str, batch: Batch) -> None:
    """Few rows are sent in one statement, which is a transaction by itself. With many rows, those of the
    large tables are sent by COPY, and the others, with all guards, in one statement before that.

    Raises:
        psycopg.Error, OverflowError, UnicodeError: nothing was written, unless the connection is lost.
    """
    rows: Rows = {row: batch.rows[row] for row in statements.CHANGES if batch.rows.get(row)}
    copied = {row: some for row, some in rows.items() if row in statements.COPIES}
    with psycopg.RawCursor(connection) as cursor:
        if not _are_many(copied):
            _at_once(cursor, account, rows)
            return
        with connection.transaction():
            _at_once(cursor, account, {row: some for row, some in rows.items() if row not in copied})
            for row, pieces in batch.prepared or _packed(Packer(account), copied):
                _copy(cursor, statements.COPIES[row], pieces)


def prepare(packer: Packer, batch: Batch) -> None:
    """Encode the rows for COPY, which needs no connection. If a value cannot be encoded, `write` will
    fail."""
    copied = {row: batch.rows[row] for row in statements.COPIES if batch.rows.get(row)}
    if _are_many(copied):
        with suppress(psycopg.Error, UnicodeError, OverflowError):
            batch.prepared = _packed(packer, copied)


def _packed(packer: Packer, copied: Rows) -> list[tuple[type[Any], list[bytearray]]]:
    return [(row, packer.pack(statements.COPIES[row], some)) for row, some in copied.items()]


Positions = Mapping[UUID, tuple[int, bool]]
"""For each session that a batch changes: its last ordinal, and whether it has ended."""


def positions(batch: Batch) -> Positions:
    """The positions of the sessions once this batch is committed."""
    rows: list[SessionRow | SessionProgressRow] = [*batch.all(SessionRow), *batch.all(SessionProgressRow)]
    return {row.session_id: (row.committed_ordinal, row.closed_at is not None) for row in rows}


def have_reached(connection: psycopg.Connection, account: str, positions: Positions) -> bool:
    """Whether all these sessions have these positions, or later ones."""
    with psycopg.RawCursor(connection) as cursor:
        cursor.execute(_STORED_SESSIONS, (account, list(positions)))
        stored = {session: (ordinal, closed) for session, ordinal, closed in cursor}
    return all(stored.get(session, (-1, False)) >= position for session, position in positions.items())


def _are_many(copied: Rows) -> bool:
    records = copied.get(RawEventRow, ())
    if len(records) == 1:
        # If Citus rejects rows of a COPY, the SQLSTATE is only XX000 and the batch is halved. The one record
        # that remains must be sent without COPY, so that its SQLSTATE shows whether it is at fault.
        return False
    return (
        sum(map(len, copied.values())) >= _COPY_FROM_ROWS
        or sum(len(row.raw) for row in records) >= _COPY_FROM_BYTES
    )


def _at_once(cursor: psycopg.Cursor[Any], account: str, rows: Rows) -> None:
    if not rows:
        return
    forms = tuple((row, _each(row, some)) for row, some in rows.items())
    parameters: list[Any] = [account]
    for (row, each), some in zip(forms, rows.values(), strict=True):
        names = row.__struct_fields__
        parameters += [getattr(some[0], name) for name in names if name not in each]
        if each:  # decimals as strings with every digit, bytes as base64
            given = some if each == names else [*map(_HALVES[row][1], some)]
            parameters.append(_encode(given).decode())
    cursor.execute(statements.at_once(forms), parameters)


def _each(row: type[Any], some: Sequence[Any]) -> tuple[str, ...]:
    """The columns that differ between these rows; the others are sent once."""
    names: tuple[str, ...] = row.__struct_fields__
    each = statements.CHANGES[row].each
    if each is not None and len(some) == 1:
        return ()
    if not each:
        return names
    found = [*map(_HALVES[row][0], some)]
    return each if found.count(found[0]) == len(found) else names


def _halves(row: type[Any], each: tuple[str, ...]) -> tuple[Callable[[Any], object], Callable[[Any], Struct]]:
    others = attrgetter(*(name for name in row.__struct_fields__ if name not in each))
    own, rest = attrgetter(*each), defstruct("Rest", each)
    return others, lambda one: rest(*own(one))


_HALVES = {row: _halves(row, change.each) for row, change in statements.CHANGES.items() if change.each}
"""For each type of row: a function that gets the columns that rows may share, and one that creates the
rest."""


def _copy(cursor: psycopg.Cursor[Any], into: statements.Copy, pieces: Sequence[bytearray]) -> None:
    # An int that exceeds the four bytes of its column would be truncated silently, so these numbers are
    # limited where they arise: revisions in the sequencer, bytes at the socket, positions in the decoder.
    with cursor.copy(into.statement) as copy:
        for piece in pieces:
            copy.write(piece)
