"""What the hub sent, to whom, and under which fault, written before it was sent.

One JSON object a line. An oracle compares it with what the client stored, so a record's line must be on disk
before its bytes can be on the wire; whether the socket took them (`handed`) is a later line, and the reader
joins the two. Access keys are not written, but for an error text that a test lets echo one.
"""

import json
import os
from collections import Counter, defaultdict
from dataclasses import dataclass, field, fields, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """A record that carries an event or an answer, with what the journal says about it: see `SentRecord`."""

    raw: bytes
    """Without the terminator."""
    n: int = 0
    target: str | None = None
    subject: str | None = None
    sequence: int | None = None
    client_id: str | None = None
    fault: str | None = None
    argument: object = None
    """The envelope, or a list of one, that is the event's only argument."""


@dataclass(frozen=True, slots=True)
class SentRecord:
    """A channel record (not a ping, not a Completion without a result) meant for one connection."""

    connection: str
    n: int
    """1, 2, 3 … within the connection, in the intended order; faults can make the wire differ."""
    time: str
    """UTC, ISO 8601."""
    target: str | None
    """The hub event, `executionEvents`; None for Completions and for bytes sent by hand."""
    subject: str | None
    sequence: int | None
    """Of a balance snapshot."""
    client_id: str | None
    """The envelope's `clientId`."""
    sha256: str
    """Of the record's bytes as meant for the wire, without the terminator."""
    size: int
    """Bytes, without the terminator."""
    fault: str | None
    """What was done to it: a value of `Fault`, `silence` or `raw`."""
    body: str
    """The record's text, undecodable bytes as backslash escapes."""
    handed: int | None = None
    """Its place (1, 2, 3 …) among all records handed to this connection's socket; None: it never was."""


@dataclass(slots=True)
class Journal:
    """A journal as read back."""

    records: list[SentRecord] = field(default_factory=list)
    lines: defaultdict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    """The other lines by their kind, in order, each with its `time`:

    * `started`: seed, url, switches (what differs from the default configuration)
    * `opened` and `closed`: connection, whose handshake was answered; cause of its end, such as `client`,
      `rst`, `close`, `timeout`, `violation`, `went_away`
    * `command`: connection, target as the client wrote it, client_id, invocation_id
    * `fault`, other than of a record: fault, parameters that were set
    """


class JournalWriter:
    """Appends lines. Not thread-safe: it belongs to the hub's event loop. Does nothing without a path."""

    def __init__(self, path: Path | None, *, fsync: bool) -> None:
        self._file = None if path is None else path.open("ab")
        self._fsync = fsync

    def close(self) -> None:
        """The lines of what happens from now on are not written."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self, kind: str, **values: object) -> None:
        """One line, on disk on return."""
        self._write([{"kind": kind, "time": _now(), **values}])

    def records(self, connection: str, records: list[ChannelRecord]) -> None:
        """Records that are about to be sent; on return they are on disk."""
        if self._file is not None and records:
            head = {"kind": "record", "connection": connection, "time": _now()}
            self._write([head | _facts(record) for record in records])

    def handed(self, connection: str, numbers: list[int]) -> None:
        """Records that the socket took, in that order. Without fsync: the next line brings it along."""
        if numbers:
            self._write([{"kind": "handed", "connection": connection, "n": numbers}], durable=False)

    def _write(self, lines: list[dict[str, Any]], *, durable: bool = True) -> None:
        if self._file is None:
            return
        self._file.write(b"".join(json.dumps(line, default=str).encode() + b"\n" for line in lines))
        self._file.flush()
        if durable and self._fsync:
            os.fsync(self._file.fileno())


def _facts(record: ChannelRecord) -> dict[str, Any]:
    names = ("n", "target", "subject", "sequence", "client_id", "fault")
    return {name: getattr(record, name) for name in names} | {
        "sha256": sha256(record.raw).hexdigest(),
        "size": len(record.raw),
        "body": record.raw.decode("utf-8", "backslashreplace"),
    }


def read_journal(path: Path) -> Journal:
    """The journal so far, also while the hub still writes. A torn last line, left by a kill, is left out."""
    journal = Journal()
    place: dict[tuple[str, int], int] = {}
    handed: Counter[str] = Counter()
    for text in path.read_bytes().split(b"\n")[:-1]:
        line = json.loads(text)
        match line.pop("kind"):
            case "record":
                place[line["connection"], line["n"]] = len(journal.records)
                journal.records.append(SentRecord(**line))
            case "handed":
                name = line["connection"]
                for n in line["n"]:
                    handed[name] += 1
                    index = place[name, n]
                    journal.records[index] = replace(journal.records[index], handed=handed[name])
            case kind:
                journal.lines[kind].append(line)
    return journal


def changed(value: Any, usual: Any, *hidden: str) -> dict[str, Any]:
    """The fields in which two dataclasses of one type differ, as `value` has them; `hidden` ones left out."""
    names = (one.name for one in fields(value) if one.name not in hidden)
    return {name: getattr(value, name) for name in names if getattr(value, name) != getattr(usual, name)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
