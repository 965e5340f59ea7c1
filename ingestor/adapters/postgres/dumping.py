"""How values become bytes for Postgres, where psycopg's own way costs more than it must.

psycopg turns numbers, text and bytes into bytes in C, but times and ids in Python. The rows of one event carry
the same times and the same session again and again, as the very same objects, so what they came to is kept
for a while.
"""

from datetime import datetime
from uuid import UUID

from psycopg import Connection
from psycopg.abc import Buffer
from psycopg.types.datetime import DatetimeBinaryDumper
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import BytesBinaryDumper
from psycopg.types.uuid import UUIDBinaryDumper
from typing_extensions import override

_KEPT = 10_000
"""Values; a batch of a thousand events has a few thousand different times."""


class _TimeDumper(DatetimeBinaryDumper):
    _known: dict[datetime, Buffer | None] = {}  # noqa: RUF012 - shared on purpose: each COPY makes a dumper of its own

    @override
    def dump(self, obj: datetime) -> Buffer | None:
        known = self._known.get(obj)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[obj] = super().dump(obj)
        return known


class _IdDumper(UUIDBinaryDumper):
    _last: UUID | None = None
    _bytes: Buffer | None = None

    @override
    def dump(self, obj: UUID) -> Buffer | None:
        if obj is not self._last:
            self._last, self._bytes = obj, super().dump(obj)
        return self._bytes


def prepare(connection: Connection) -> None:
    """Make what this connection sends go our way."""
    # One integer width, so that a statement has one plan whatever the size of its numbers.
    connection.adapters.register_dumper(int, Int8BinaryDumper)
    connection.adapters.register_dumper(datetime, _TimeDumper)
    connection.adapters.register_dumper(UUID, _IdDumper)
    # psycopg's last word for `bytea` would be the DB-API's Binary, in Python.
    connection.adapters.register_dumper(bytes, BytesBinaryDumper)
