"""What the hub sent, to whom, and under which fault, written before it was sent.

One JSON object a line, of a `kind`, and all but `handed` with their `time` (UTC, ISO 8601):

* `started`: seed, url, switches (what differs from the default configuration)
* `opened` and `closed`: connection, whose handshake was answered; cause of its end, such as `client`, `rst`,
  `close`, `timeout`, `violation`, `went_away`
* `command`: connection, target as the client wrote it, client_id, invocation_id
* `fault`, other than of a record: fault, parameters that were set
* `record`: connection, and the fields of `ChannelRecord` with sha256, size and body (its text, undecodable
  bytes as backslash escapes) in place of the bytes
* `handed`: connection, and the numbers of the records that its socket took, in that order

An oracle compares it with what the client stored, so a record's line must be on disk before its bytes can be
on the wire; whether the socket took them is a later line. Access keys are not written, but for an error text
that a test lets echo one.
"""

import json
import os
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class ChannelRecord:
    """A record that carries an event or an answer (not a ping, not a Completion without a result)."""

    raw: bytes
    """As meant for the wire, without the terminator."""
    n: int = 0
    """1, 2, 3 … within the connection, in the intended order; faults can make the wire differ."""
    target: str | None = None
    """The hub event, `executionEvents`; None for Completions and for bytes sent by hand."""
    subject: str | None = None
    sequence: int | None = None
    """Of a balance snapshot."""
    client_id: str | None = None
    """The envelope's `clientId`."""
    fault: str | None = None
    """What was done to it: a value of `Fault`, `silence` or `raw`."""
    argument: object = None
    """The envelope, or a list of one, that is the event's only argument."""


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


def changed(value: Any, usual: Any, *hidden: str) -> dict[str, Any]:
    """The fields in which two dataclasses of one type differ, as `value` has them; `hidden` ones left out."""
    names = (one.name for one in fields(value) if one.name not in hidden)
    return {name: getattr(value, name) for name in names if getattr(value, name) != getattr(usual, name)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
