"""The hub's own diary: what it sent to whom, written before it was sent.

One JSON object a line. An oracle compares it with what the client stored; so a line must be on disk before
the bytes it speaks of can be on the wire, and what became of them (`handed`) is a later line. The reader
folds the two. Access keys never get here.
"""

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import IO, Any


@dataclass(frozen=True, slots=True)
class SentRecord:
    """One channel record (no pings, no Completions) that the hub meant for one connection."""

    connection: str
    n: int
    """1, 2, 3 … within the connection, in the order of meaning; faults can make the wire differ."""
    time: str
    """UTC, ISO 8601."""
    target: str | None
    """The hub event, `executionEvents`; None for bytes sent by hand."""
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
    body: str | None
    """The record's text (undecodable bytes as backslash escapes), if bodies are kept."""
    handed: int | None = None
    """Its place (1, 2, 3 …) among all records handed to this connection's socket; None: it never was."""


@dataclass(frozen=True, slots=True)
class ConnectionLine:
    """A connection whose handshake was answered."""

    connection: str
    opened: str
    closed: str | None = None
    cause: str | None = None
    """How it ended: `client`, `rst`, `fin`, `close`, `timeout`, `violation`, `went_away` …"""


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command received."""

    connection: str
    time: str
    target: str
    """As the client wrote it."""
    client_id: str | None
    invocation_id: str | None


@dataclass(frozen=True, slots=True)
class FaultLine:
    """A fault that was injected, or bit at the door."""

    time: str
    fault: str
    particulars: Mapping[str, Any]


@dataclass(slots=True)
class Journal:
    """A journal as read back."""

    seeds: list[int] = field(default_factory=list)
    records: list[SentRecord] = field(default_factory=list)
    connections: dict[str, ConnectionLine] = field(default_factory=dict)
    commands: list[CommandLine] = field(default_factory=list)
    faults: list[FaultLine] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a connection knows of a record that it is about to send."""

    n: int
    raw: bytes
    target: str | None
    subject: str | None
    sequence: int | None
    client_id: str | None
    fault: str | None


class JournalWriter:
    """Appends lines. Not thread-safe: it belongs to the hub's event loop. It does nothing before
    `open()`, after `close()`, and without a path."""

    def __init__(self, path: Path | None, *, fsync: bool, bodies: bool) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._fsync = fsync
        self._bodies = bodies

    def open(self) -> None:
        if self._path is not None:
            self._file = self._path.open("ab")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def started(self, seed: int, url: str) -> None:
        self._write([{"kind": "started", "time": utc_now(), "seed": seed, "url": url}])

    def opened(self, connection: str) -> None:
        self._write([{"kind": "opened", "time": utc_now(), "connection": connection}])

    def closed(self, connection: str, cause: str) -> None:
        self._write([{"kind": "closed", "time": utc_now(), "connection": connection, "cause": cause}])

    def command(self, line: CommandLine) -> None:
        self._write(
            [
                {
                    "kind": "command",
                    "time": line.time,
                    "connection": line.connection,
                    "target": line.target,
                    "client_id": line.client_id,
                    "invocation_id": line.invocation_id,
                }
            ]
        )

    def fault(self, fault: str, particulars: Mapping[str, Any]) -> None:
        self._write([{"kind": "fault", "time": utc_now(), "fault": fault, "particulars": dict(particulars)}])

    def meant(self, connection: str, entries: Iterable[Entry]) -> None:
        """Records that are about to be sent; on return they are on disk."""
        if self._file is not None:
            now = utc_now()
            self._write([self._record(connection, now, entry) for entry in entries])

    def handed(self, connection: str, numbers: list[int]) -> None:
        """Records that the socket took, in that order. Without fsync: the next line brings it along."""
        if self._file is not None and numbers:
            self._write([{"kind": "handed", "connection": connection, "n": numbers}], durable=False)

    def _record(self, connection: str, now: str, entry: Entry) -> dict[str, Any]:
        return {
            "kind": "record",
            "time": now,
            "connection": connection,
            "n": entry.n,
            "target": entry.target,
            "subject": entry.subject,
            "sequence": entry.sequence,
            "client_id": entry.client_id,
            "sha256": sha256(entry.raw).hexdigest(),
            "size": len(entry.raw),
            "fault": entry.fault,
            "body": entry.raw.decode("utf-8", "backslashreplace") if self._bodies else None,
        }

    def _write(self, lines: list[dict[str, Any]], *, durable: bool = True) -> None:
        if self._file is None:
            return
        self._file.write(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
        self._file.flush()
        if durable and self._fsync:
            os.fsync(self._file.fileno())


def read_journal(path: Path) -> Journal:
    """The journal so far, also while the hub still writes. A torn last line, left by a kill, is left out."""
    journal = Journal()
    place: dict[tuple[str, int], int] = {}
    handed_so_far: dict[str, int] = {}
    for text in path.read_bytes().split(b"\n")[:-1]:
        line = json.loads(text)
        match line.pop("kind"):
            case "started":
                journal.seeds.append(line["seed"])
            case "record":
                place[line["connection"], line["n"]] = len(journal.records)
                journal.records.append(SentRecord(**line))
            case "handed":
                name = line["connection"]
                for n in line["n"]:
                    handed_so_far[name] = handed_so_far.get(name, 0) + 1
                    index = place[name, n]
                    journal.records[index] = replace(journal.records[index], handed=handed_so_far[name])
            case "opened":
                name = line["connection"]
                journal.connections[name] = ConnectionLine(name, line["time"])
            case "closed":
                opened = journal.connections[line["connection"]]
                journal.connections[opened.connection] = replace(
                    opened, closed=line["time"], cause=line["cause"]
                )
            case "command":
                journal.commands.append(CommandLine(**line))
            case "fault":
                journal.faults.append(FaultLine(**line))
            case kind:
                raise ValueError(f"not a line of a hub's journal: {kind}")
    return journal


def utc_now() -> str:
    """The time as the journal writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
