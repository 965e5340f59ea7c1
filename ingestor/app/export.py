"""Views of schema `report` as files for other tools, with a manifest that says what they are, and proves it.

All files and the manifest come from one read-only snapshot of the database. Nothing that a tool could round
is written as a number: amounts are text with all their digits, in CSV and in Parquet.
"""

import csv
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import psycopg
from psycopg import sql
from psycopg.types.string import TextLoader
from typing_extensions import override

from ingestor.app.database import database_beside, looking_at, snapshot
from ingestor.config import Settings
from ingestor.domain.errors import BadConfiguration

ROWS_AT_ONCE = 2_000

TIMES = {
    "balance_history": "valid_from",
    "exposure_history": "observed_at",
    "pair_history": "valid_from",
    "pair_change": "changed_at",
    "gap": "missed_from",
    "session": "opened_at",
    "request": "requested_at",
    "epoch": "opened_at",
    "confirmation": "raised_at",
    "dead_letter": "received_at",
    "clock_step": "noticed_at",
}
"""The views that can be exported, and the column by which a range selects their rows."""


class Format(StrEnum):
    """What is written."""

    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported: rows of one account whose time lies in `since <= t < until`."""

    account: str
    views: Sequence[str]
    since: datetime
    until: datetime
    form: Format
    directory: Path


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file, as the manifest has it. Times are ISO 8601 in UTC; None where there are no rows."""

    name: str
    view: str
    time_column: str
    rows: int
    first: str | None
    last: str | None
    bytes: int
    sha256: str
    columns: dict[str, str]
    """Their types in the database."""


Progress = Callable[[str, int, int], None]
"""Called with a view, its rows written so far, and how many there are."""


class _Writer(Protocol):
    def rows(self, rows: Sequence[tuple[Any, ...]]) -> None: ...
    def finish(self) -> None: ...


def export(settings: Settings, wanted: Wanted, progress: Progress = lambda *_: None) -> list[ExportedFile]:
    """Write a file for each view, and `manifest.json` last: where that is there, the export is complete.

    Raises:
        BadConfiguration: the directory holds an export already, or cannot be written.
        Transient: the database cannot be reached.
    """
    _make(wanted.directory)
    with database_beside(settings) as url, looking_at(url) as connection, snapshot(connection):
        # As text: what is pending lasts to infinity, and Python has no such time.
        connection.adapters.register_loader("tstzrange", TextLoader)
        files = [_write(connection, wanted, view, progress) for view in wanted.views]
        manifest = _manifest(connection, wanted, files)
    (wanted.directory / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    return files


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        occupied = any(directory.iterdir())
    except OSError as error:
        raise BadConfiguration(
            f"{directory} cannot be written\nwhy: {error.strerror}\nfix: name another directory"
        ) from error
    if occupied:
        raise BadConfiguration(
            f"{directory} is not empty\nwhy: an export is alone in its directory\nfix: name a new directory"
        )


def _write(connection: psycopg.Connection, wanted: Wanted, view: str, progress: Progress) -> ExportedFile:
    where = sql.SQL("FROM report.{} WHERE account = %s AND {} >= %s AND {} < %s").format(
        sql.Identifier(view), *[sql.Identifier(TIMES[view])] * 2
    )
    selected = (wanted.account, wanted.since, wanted.until)
    row = connection.execute(
        sql.SQL("SELECT count(*), min({0}), max({0}) ").format(sql.Identifier(TIMES[view])) + where, selected
    ).fetchone()
    assert row is not None  # noqa: S101 - an aggregate has one row
    total, first, last = row
    name = f"{view}.{wanted.form.value}"
    path = wanted.directory / name
    with connection.cursor(f"export_{view}") as cursor, path.open("xb") as file:
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(
            sql.SQL("SELECT * ") + where + sql.SQL(" ORDER BY {}").format(sql.Identifier(TIMES[view])),
            selected,
        )
        columns = _columns(connection, view)
        hashing = _Hashing(file)
        writer: _Writer = (_Csv if wanted.form is Format.CSV else _Parquet)(hashing, columns)
        done = 0
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            writer.rows(rows)
            done += len(rows)
            progress(view, done, total)
        writer.finish()
    return ExportedFile(
        name,
        view,
        TIMES[view],
        done,
        _text(first),
        _text(last),
        hashing.size,
        hashing.sha256.hexdigest(),
        columns,
    )


def _columns(connection: psycopg.Connection, view: str) -> dict[str, str]:
    rows = connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute "
        "WHERE attrelid = format('report.%%I', %s::text)::regclass AND attnum > 0 AND NOT attisdropped "
        "ORDER BY attnum",
        (view,),
    )
    return dict(rows.fetchall())


def _manifest(
    connection: psycopg.Connection, wanted: Wanted, files: Sequence[ExportedFile]
) -> dict[str, object]:
    coverage = connection.execute(
        "SELECT * FROM report.coverage(%s, %s) WHERE account = %s",
        (wanted.since, wanted.until, wanted.account),
    )
    names = [each.name for each in coverage.description or ()]
    now = connection.execute("SELECT now(), version()").fetchone()
    assert now is not None  # noqa: S101 - a SELECT without FROM has one row
    return {
        "account": wanted.account,
        "since": _text(wanted.since),
        "until": _text(wanted.until),
        "taken_at": _text(now[0]),
        "software_version": version("hercle-ingestor"),
        "database": now[1].split(",")[0],
        "coverage": [dict(zip(names, map(_text, row), strict=True)) for row in coverage],
        "files": [asdict(each) for each in files],
    }


class _Hashing(io.RawIOBase):
    """A file that is hashed and measured while it is written."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.sha256 = hashlib.sha256()
        self.size = 0

    @override
    def writable(self) -> bool:
        return True

    @override
    def write(self, data: Any) -> int:
        self.sha256.update(data)
        self.size += len(data)
        self._file.write(data)
        return len(data)


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet take a text for a formula."""
_NUMBERS = ("numeric", "integer", "bigint", "smallint", "double precision")


class _Csv:
    """RFC 4180 in UTF-8, with a header."""

    def __init__(self, file: _Hashing, columns: dict[str, str]) -> None:
        self._text = io.TextIOWrapper(io.BufferedWriter(file), encoding="utf-8", newline="")
        self._csv = csv.writer(self._text)
        self._is_number = [each in _NUMBERS for each in columns.values()]
        self._csv.writerow(columns)

    def rows(self, rows: Sequence[tuple[Any, ...]]) -> None:
        self._csv.writerows(
            [_field(value, is_number) for value, is_number in zip(row, self._is_number, strict=True)]
            for row in rows
        )

    def finish(self) -> None:
        self._text.flush()


def _field(value: object, is_number: bool) -> str | None:
    """A text that a spreadsheet would run gets an apostrophe, by which it shows it as text."""
    text = _text(value)
    return f"'{text}" if text is not None and not is_number and text.startswith(_FORMULA) else text


class _Parquet:
    """Texts for all that a reader could round; times as microseconds in UTC."""

    def __init__(self, file: _Hashing, columns: dict[str, str]) -> None:
        try:
            import pyarrow  # noqa: PLC0415 - forty megabytes that only this needs
            import pyarrow.parquet  # noqa: PLC0415 - the same
        except ImportError as error:
            raise BadConfiguration(
                f"no Parquet file can be written\nwhy: it needs {error.name}\n"
                "fix: pip install 'hercle-ingestor[files]', or write --format csv"
            ) from error

        native = {
            "boolean": pyarrow.bool_(),
            "integer": pyarrow.int32(),
            "bigint": pyarrow.int64(),
            "double precision": pyarrow.float64(),
            "timestamp with time zone": pyarrow.timestamp("us", tz="UTC"),
        }
        self._native = [each in native for each in columns.values()]
        self._schema = pyarrow.schema(
            [(name, native.get(each, pyarrow.string())) for name, each in columns.items()]
        )
        self._batch = pyarrow.RecordBatch.from_arrays
        self._array = pyarrow.array
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")

    def rows(self, rows: Sequence[tuple[Any, ...]]) -> None:
        arrays = [
            self._array([value if native else _text(value) for value in values], field.type)
            for values, native, field in zip(zip(*rows, strict=True), self._native, self._schema, strict=True)
        ]
        self._writer.write_batch(self._batch(arrays, schema=self._schema))

    def finish(self) -> None:
        self._writer.close()


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, list | dict):
        return json.dumps(value, default=_text)
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
