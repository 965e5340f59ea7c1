"""Writes views of schema `report` as files for other tools, with a manifest that describes them.

All files and the manifest come from one read-only snapshot of the database. Amounts are text with all their
digits, in CSV and in Parquet, because tools may round numbers.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.string import TextLoader

from ingestor.adapters.postgres.reading import rows
from ingestor.app.database import connect, require_account, snapshot
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


@dataclass(frozen=True, slots=True)
class ExportSelection:
    """The rows to export: those of one account with a time in `since <= t < until`."""

    account: str
    views: Sequence[str]
    since: datetime
    until: datetime
    form: str
    """A key of `FORMATS`."""
    directory: Path


@dataclass(frozen=True, slots=True)
class ExportedFile:
    """One file, as in the manifest. Times are ISO 8601 in UTC; None if there are no rows."""

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
"""Called with a view, the number of its rows, and the number written so far."""
_Rows = Sequence[tuple[Any, ...]]


def export(
    settings: Settings, selection: ExportSelection, progress: Progress = lambda *_: None
) -> list[ExportedFile]:
    """Write a file for each view, and `manifest.json` last: if it exists, the export is complete.

    Raises:
        BadConfiguration: there is no such account, or the directory is not empty or cannot be written.
        Transient: the database cannot be reached.
    """
    with connect(settings) as connection, snapshot(connection):
        require_account(connection, selection.account, "report")
        _make(selection.directory)
        # As text: what is pending lasts to infinity, and Python has no such time.
        connection.adapters.register_loader("tstzrange", TextLoader)
        files = [_write(connection, selection, view, progress) for view in selection.views]
        manifest = _manifest(connection, selection, files)
    unfinished = selection.directory / ".manifest.json.new"  # killed, or on a full disk, it gets no further
    unfinished.write_text(json.dumps(manifest, indent=2) + "\n")
    unfinished.replace(selection.directory / "manifest.json")
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
            f"{directory} is not empty\nwhy: an export needs its own directory\nfix: name a new directory"
        )


def _write(
    connection: psycopg.Connection, selection: ExportSelection, view: str, progress: Progress
) -> ExportedFile:
    time, selected = TIMES[view], (selection.account, selection.since, selection.until)
    where = f"FROM report.{view} WHERE account = $1 AND {time} >= $2 AND {time} < $3"
    ((total, first, last),) = rows(
        connection, f"SELECT count(*), min({time}), max({time}) {where}", *selected
    )
    columns = _columns(connection, view)
    path = selection.directory / f"{view}.{selection.form}"
    with (
        psycopg.RawServerCursor(connection, f"export_{view}") as cursor,
        FORMATS[selection.form](path, columns) as write,
    ):
        cursor.itersize = ROWS_AT_ONCE
        cursor.execute(f"SELECT * {where} ORDER BY {time}".encode(), selected)
        done = 0
        while found := cursor.fetchmany(ROWS_AT_ONCE):
            write(found)
            done += len(found)
            progress(view, total, done)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size = path.stat().st_size
    return ExportedFile(path.name, view, time, done, _text(first), _text(last), size, sha256, columns)


def _columns(connection: psycopg.Connection, view: str) -> dict[str, str]:
    return dict(rows(connection, _COLUMNS, view))


_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
    WHERE attrelid = format('report.%I', $1::text)::regclass AND attnum > 0 AND NOT attisdropped
    ORDER BY attnum
"""


def _manifest(
    connection: psycopg.Connection, selection: ExportSelection, files: Sequence[ExportedFile]
) -> dict[str, object]:
    query = "SELECT * FROM report.coverage($1, $2) WHERE account = $3"
    coverage = rows(connection, query, selection.since, selection.until, selection.account)
    ((now, server),) = rows(connection, "SELECT now(), version()")
    return {
        "account": selection.account,
        "since": _text(selection.since),
        "until": _text(selection.until),
        "taken_at": _text(now),
        "software_version": version("hercle-ingestor"),
        "database": server.split(",")[0],
        "coverage": [{name: _text(value) for name, value in row._asdict().items()} for row in coverage],
        "files": [asdict(each) for each in files],
    }


_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters by which a spreadsheet takes a text for a formula."""
_NUMBERS = ("numeric", "integer", "bigint", "smallint", "double precision")


@contextmanager
def _csv(path: Path, columns: dict[str, str]) -> Iterator[Callable[[_Rows], object]]:
    """RFC 4180 in UTF-8, with a header."""
    is_number = [each in _NUMBERS for each in columns.values()]
    with path.open("x", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        yield lambda found: writer.writerows(map(_field, row, is_number) for row in found)


def _field(value: object, is_number: bool) -> str | None:
    """A text that a spreadsheet would take for a formula gets an apostrophe, so that it is shown as text."""
    text = _text(value)
    return f"'{text}" if text is not None and not is_number and text.startswith(_FORMULA) else text


@contextmanager
def _parquet(path: Path, columns: dict[str, str]) -> Iterator[Callable[[_Rows], object]]:
    """Amounts are text, because readers may round numbers; times are microseconds in UTC."""
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
    schema = pyarrow.schema([(name, native.get(each, pyarrow.string())) for name, each in columns.items()])
    is_native = [each in native for each in columns.values()]

    def write(found: _Rows) -> None:
        arrays = [
            pyarrow.array([value if as_it_is else _text(value) for value in values], field.type)
            for values, as_it_is, field in zip(zip(*found, strict=True), is_native, schema, strict=True)
        ]
        writer.write_batch(pyarrow.RecordBatch.from_arrays(arrays, schema=schema))

    with (
        path.open("xb") as file,
        pyarrow.parquet.ParquetWriter(file, schema, compression="zstd") as writer,
    ):
        yield write


FORMATS = {"csv": _csv, "parquet": _parquet}


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
