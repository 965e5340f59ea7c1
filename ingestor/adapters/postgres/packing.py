"""How values become bytes for Postgres.

psycopg turns numbers, text and bytes into bytes in C, but times and ids in Python. The rows of one event
carry the same times and the same session again and again, as the very same objects, so what they came to is
kept for a while.

Rows for COPY can be packed without a connection, and so while the connection is busy with other rows.
An int above its column's four bytes would be cut without a word, so whatever is counted there has its limit
where it is counted: revisions in the sequencer, bytes at the socket, positions in the decoder.
`format_row_binary` is not part of psycopg's public interface; a contract test pins what we use of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import psycopg
from msgspec import Struct, json
from msgspec.structs import astuple
from psycopg._copy_base import format_row_binary
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import Format
from psycopg.types.datetime import DatetimeBinaryDumper
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import BytesBinaryDumper
from psycopg.types.uuid import UUIDBinaryDumper
from typing_extensions import override

from ingestor.adapters.postgres.statements import ROWS

_KEPT = 10_000
"""Values; a batch of a thousand events has a few thousand different times."""


_encode = json.Encoder(decimal_format="string").encode

_COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TAIL = b"\xff\xff"

_OIDS = {
    name: psycopg.adapters.types.get_oid(name)
    for name in {each for way in ROWS.values() for each in way.types}
}


class _TimeDumper(DatetimeBinaryDumper):
    # Shared, because each COPY makes a dumper of its own; called by psycopg without a line of Python.
    dump = staticmethod(lru_cache(_KEPT)(DatetimeBinaryDumper(datetime).dump))


class _IdDumper(UUIDBinaryDumper):
    _last: UUID | None = None
    _bytes: Buffer | None = None

    @override
    def dump(self, obj: UUID) -> Buffer | None:
        if obj is not self._last:
            self._last, self._bytes = obj, super().dump(obj)
        return self._bytes


def prepare(context: AdaptContext) -> None:
    """Make what is sent in this context go our way."""
    # One integer width, so that a statement has one plan whatever the size of its numbers.
    context.adapters.register_dumper(int, Int8BinaryDumper)
    context.adapters.register_dumper(datetime, _TimeDumper)
    context.adapters.register_dumper(UUID, _IdDumper)
    # psycopg's last word for `bytea` would be the DB-API's Binary, in Python.
    context.adapters.register_dumper(bytes, BytesBinaryDumper)


@dataclass(frozen=True, slots=True)
class Packed:
    """All rows of one table: the data of one COPY, header and trailer included."""

    statement: bytes
    data: bytes


class Packer:
    """Packs rows for the server. One thread at a time."""

    connection = None

    def __init__(self, account: str) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        prepare(self)
        self._head = (account,)

    def table(self, rows: Sequence[Struct]) -> Packed:
        """Rows of one type, that of the first, for COPY.

        Raises:
            psycopg.Error, OverflowError, UnicodeError: a value that no column of that type holds.
        """
        way = ROWS[type(rows[0])]
        transformer = Transformer(self)
        transformer.set_dumper_types([_OIDS["text"], *(_OIDS[each] for each in way.types)], Format.BINARY)
        packed = bytearray(_COPY_HEAD)
        for row in rows:
            format_row_binary(self._head + astuple(row), transformer, packed)
        packed += _COPY_TAIL
        return Packed(way.copy, bytes(packed))


def as_json(rows: Sequence[Struct]) -> str:
    """Rows as one JSON array, decimals as strings with every digit, bytes as base64."""
    return _encode(rows).decode()
