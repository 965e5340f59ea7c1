"""A batch into Postgres: one transaction, all or nothing."""

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
"""As received; JSON would carry them as base64."""

_STORED_SESSIONS = (
    b"SELECT session_id, committed_ordinal, closed_at IS NOT NULL FROM ingest.session "
    b"WHERE account = $1 AND session_id = ANY($2::uuid[])"
)

_encode = json.Encoder(decimal_format="string").encode

Rows = Mapping[type[Any], Sequence[Any]]


def write(connection: psycopg.Connection, account: str, batch: Batch) -> None:
    """Few rows go in one statement, which is a transaction by itself. Of many rows, those that events add to
    go by COPY and the rest, with all the guards, in one statement before them.

    Raises:
        psycopg.Error, OverflowError, UnicodeError: nothing was written, unless the connection is gone.
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
    """Do what needs no connection. A value that cannot be packed is left for `write` to meet."""
    copied = {row: batch.rows[row] for row in statements.COPIES if batch.rows.get(row)}
    if _are_many(copied):
        with suppress(psycopg.Error, UnicodeError, OverflowError):
            batch.prepared = _packed(packer, copied)


def _packed(packer: Packer, copied: Rows) -> list[tuple[type[Any], list[bytearray]]]:
    return [(row, packer.pack(statements.COPIES[row], some)) for row, some in copied.items()]


Positions = Mapping[UUID, tuple[int, bool]]
"""Of each session that a batch touches: its last ordinal, and whether it has ended."""


def positions(batch: Batch) -> Positions:
    """Where the sessions stand once this batch is committed."""
    rows: list[SessionRow | SessionProgressRow] = [*batch.all(SessionRow), *batch.all(SessionProgressRow)]
    return {row.session_id: (row.committed_ordinal, row.closed_at is not None) for row in rows}


def have_reached(connection: psycopg.Connection, account: str, positions: Positions) -> bool:
    """Whether all these sessions stand there, or further."""
    with psycopg.RawCursor(connection) as cursor:
        cursor.execute(_STORED_SESSIONS, (account, list(positions)))
        stored = {session: (ordinal, closed) for session, ordinal, closed in cursor}
    return all(stored.get(session, (-1, False)) >= position for session, position in positions.items())


def _are_many(copied: Rows) -> bool:
    records = copied.get(RawEventRow, ())
    if len(records) == 1:
        # What Citus rejects of a COPY comes without its SQLSTATE, as XX000: the batch is halved, and the one
        # record that is left must go where the SQLSTATE says that it is to blame.
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
    """The columns that have to be given for each of these rows; the others are the same in all of them."""
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
"""Of a row: what gets the columns that all may share, and what makes the rest."""


def _copy(cursor: psycopg.Cursor[Any], into: statements.Copy, pieces: Sequence[bytearray]) -> None:
    # An int above its column's four bytes would be cut without a word, so whatever is counted there has its
    # limit where it is counted: revisions in the sequencer, bytes at the socket, positions in the decoder.
    with cursor.copy(into.statement) as copy:
        for piece in pieces:
            copy.write(piece)
