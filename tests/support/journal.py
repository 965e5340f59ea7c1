"""Reads the simulated hub's journal; `ingestor.simulator.journal` says what its lines hold."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class SentRecord:
    """A record meant for one connection: a line `record`, and its place in the lines `handed`."""

    connection: str
    n: int
    time: str
    target: str | None
    subject: str | None
    sequence: int | None
    client_id: str | None
    sha256: str
    size: int
    fault: str | None
    body: str
    handed: int | None = None
    """Its place (1, 2, 3 …) among all records handed to this connection's socket; None: it never was."""


@dataclass(slots=True)
class Journal:
    """All its lines."""

    records: list[SentRecord] = field(default_factory=list)
    lines: defaultdict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    """The other lines by their kind, in order."""


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
