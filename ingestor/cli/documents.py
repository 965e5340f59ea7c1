"""The documents that `--json` prints: each has a type, and the type's JSON Schema is published.

`python -m ingestor.cli.documents DIRECTORY` writes the schemas, one file for each command; the package has
them in `deploy/schemas`.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from ingestor.app.activity import Activity
from ingestor.app.control import LiveState
from ingestor.app.evidence import DeadLetterDocument, DeadLettersDocument, GapDocument, GapsDocument
from ingestor.app.signals import Signal
from ingestor.app.status import AccountStatus, DaemonState
from ingestor.app.tail import TailEvent


@dataclass(frozen=True, slots=True)
class SnapshotDocument:
    """`ingestor snapshot --json`."""

    account: str
    planned: list[str]
    """Commands that the daemon sends once its link is up."""


@dataclass(frozen=True, slots=True)
class ReconnectDocument:
    """`ingestor reconnect --json`."""

    account: str
    asked: bool
    """Always true: a daemon that does not answer is an error."""


@dataclass(frozen=True, slots=True)
class SignalDocument:
    """`ingestor pause --json` and `ingestor resume --json`."""

    account: str
    signal: Signal
    heard_within_seconds: int
    """By a daemon that runs and whose database answers; one that starts later reads it at its start."""


@dataclass(frozen=True, slots=True)
class StatusDocument(AccountStatus):
    """`ingestor status --json`."""

    daemon: DaemonState
    problems: list[str]
    """Each reason not to trust the tables; the worst first."""
    live: LiveState | None
    """What the daemon tells over its local socket; null where none answers on this machine."""


@dataclass(frozen=True, slots=True)
class LiveStatusDocument:
    """`ingestor status --json` with the database down and the daemon up."""

    account: str
    live: LiveState
    problems: list[str]


DOCUMENTS: dict[str, type] = {
    "gaps list": GapsDocument,
    "gaps show": GapDocument,
    "dead-letters list": DeadLettersDocument,
    "dead-letters show": DeadLetterDocument,
    "dead-letters export": DeadLetterDocument,
    "snapshot": SnapshotDocument,
    "reconnect": ReconnectDocument,
    "pause": SignalDocument,
    "resume": SignalDocument,
    "status": StatusDocument,
    "status without-database": LiveStatusDocument,
    "top": Activity,
    "tail": TailEvent,
}
"""By command; of `dead-letters export` and `tail` it is the type of each line. With the database down,
`status` prints what is here `status without-database`."""


def say(document: object) -> None:
    """Print one document."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


def schemas() -> dict[str, str]:
    """The text of each schema by the name of its file."""
    return {
        f"{command.replace(' ', '-')}.json": json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": f"ingestor {command}",
                **msgspec.json.schema(document),
            },
            indent=2,
        )
        + "\n"
        for command, document in DOCUMENTS.items()
    }


if __name__ == "__main__":
    for file, text in schemas().items():
        (Path(sys.argv[1]) / file).write_text(text, encoding="utf-8")
