"""COPY, the lower bound: exactly the rows that the daemon wrote, into the same tables, by the fastest way."""

import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from tests.benchmarks.peers import Pipe
from tests.benchmarks.server import tables_of

SCHEMA = "ingest"
LEFT_OUT = {"alembic_version"}
"""Comes with the schema, in the other database too."""
FIRST = ("account", "session", "epoch")
"""What others refer to."""


@dataclass(frozen=True, slots=True)
class CopyFrom:
    """Read all rows of the daemon's database, split as its batches were."""

    dsn: str
    events_per_batch: int


@dataclass(frozen=True, slots=True)
class CopyInto:
    """Write what was read; the answer is `Copied`."""

    dsn: str


class Copied(NamedTuple):
    seconds: float
    rows: dict[str, int]


class _Table(NamedTuple):
    name: str
    columns: list[str]
    types: list[int]
    """OIDs."""
    batches: dict[int, list[tuple[Any, ...]]]


def copier(pipe: Pipe) -> None:
    """Main of the process."""
    held: list[_Table] = []
    while True:
        match pipe.receive():
            case CopyFrom(dsn, size):
                held = _read(dsn, size)
                pipe.send(sum(len(rows) for table in held for rows in table.batches.values()))
            case CopyInto(dsn):
                pipe.send(_write(dsn, held))
            case other:
                raise TypeError(other)


def _read(dsn: str, size: int) -> list[_Table]:
    names = [name for name in tables_of(dsn, SCHEMA) if name not in LEFT_OUT]
    names.sort(key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
    with psycopg.connect(dsn) as connection:
        return [_table(connection, name, size) for name in names]


def _table(connection: psycopg.Connection, name: str, size: int) -> _Table:
    with connection.cursor(binary=True) as cursor:
        cursor.execute(
            sql.SQL("SELECT {}, t.* FROM {} t ORDER BY 1").format(
                sql.SQL(_BATCH.get(name, _BATCH_OF_SMALL)).format(size=sql.Literal(size)),
                sql.Identifier(SCHEMA, name),
            )
        )
        assert cursor.description is not None
        columns = [each.name for each in cursor.description[1:]]
        types = [each.type_code for each in cursor.description[1:]]
        batches: dict[int, list[tuple[Any, ...]]] = {}
        for number, *row in cursor:
            batches.setdefault(number, []).append(tuple(row))
    return _Table(name, columns, types, batches)


_BATCH_OF_SMALL = "0"
_BY_RECORD = "(t.ordinal / {size})::integer"
_BATCH = {
    "raw_event": _BY_RECORD,
    "outcome": _BY_RECORD,
    "exposure": _BY_RECORD,
    "exposure_total": _BY_RECORD,
    "balance": "(t.sequence / {size})::integer",
}


def _write(dsn: str, tables: list[_Table]) -> Copied:
    numbers = sorted({number for table in tables for number in table.batches})
    with psycopg.connect(dsn) as connection, connection.cursor() as cursor:
        start = time.monotonic()
        for number in numbers:
            for table in tables:
                if number in table.batches:
                    _copy(cursor, table, table.batches[number])
            connection.commit()
        seconds = time.monotonic() - start
    return Copied(seconds, {each.name: sum(map(len, each.batches.values())) for each in tables})


def _copy(cursor: psycopg.Cursor[Any], table: _Table, rows: list[tuple[Any, ...]]) -> None:
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT binary)").format(
        sql.Identifier(SCHEMA, table.name), sql.SQL(", ").join(map(sql.Identifier, table.columns))
    )
    with cursor.copy(statement) as copy:
        copy.set_types(table.types)
        for row in rows:
            copy.write_row(row)
