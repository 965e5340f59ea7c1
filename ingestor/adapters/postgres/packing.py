"""Rows for COPY, packed without a connection, and so while the connection is busy with the batch before.

The thread that sends comes back from each wait for Postgres to a busy writer; what it does not have to do by
itself is worth a fifth of the throughput (decision 0008). `format_row_binary` is not part of psycopg's public
interface; a contract test pins what is used of it.
"""

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

import psycopg
from msgspec.structs import astuple
from psycopg._copy_base import format_row_binary
from psycopg.abc import Buffer
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import Format
from psycopg.types.datetime import DatetimeBinaryDumper
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import BytesBinaryDumper
from psycopg.types.uuid import UUIDBinaryDumper
from typing_extensions import override

from ingestor.adapters.postgres import statements

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_PIECE_BYTES = 64 * 1024
"""What grows to megabytes is copied again and again, which cost a tenth of the throughput at fifty assets."""
_REMEMBERED = 10_000
"""Values; a batch of a thousand events has a few thousand different times, each many times over."""


class _TimeDumper(DatetimeBinaryDumper):
    # Shared, because each table has a dumper of its own; called by psycopg without a line of Python.
    dump = staticmethod(lru_cache(_REMEMBERED)(DatetimeBinaryDumper(datetime).dump))


class _IdDumper(UUIDBinaryDumper):
    _last: UUID | None = None
    _bytes: Buffer | None = None

    @override
    def dump(self, obj: UUID) -> Buffer | None:
        if obj is not self._last:
            self._last, self._bytes = obj, super().dump(obj)
        return self._bytes


class Packer:
    """Packs rows of an account. One thread at a time."""

    connection = None

    def __init__(self, account: str) -> None:
        self.adapters = AdaptersMap(psycopg.adapters)
        self.adapters.register_dumper(int, Int8BinaryDumper)
        self.adapters.register_dumper(datetime, _TimeDumper)
        self.adapters.register_dumper(UUID, _IdDumper)
        self.adapters.register_dumper(bytes, BytesBinaryDumper)
        self._account = (account,)

    def pack(self, into: statements.Copy, rows: Sequence[Any]) -> list[bytearray]:
        """The data of one COPY in pieces, header and trailer included.

        Raises:
            psycopg.Error, OverflowError, UnicodeError: a value that no column of that type holds.
        """
        transformer = Transformer(self)
        oids = [psycopg.adapters.types.get_oid(each) for each in into.types]
        transformer.set_dumper_types(oids, Format.BINARY)
        packed = bytearray(_HEADER)
        pieces = [packed]
        for row in rows:
            if len(packed) > _PIECE_BYTES:
                packed = bytearray()
                pieces.append(packed)
            format_row_binary(self._account + astuple(row), transformer, packed)
        packed += _TRAILER
        return pieces
