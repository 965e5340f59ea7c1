"""The documents that `--json` prints: each has a type, and the type's JSON Schema is published.

`python -m ingestor.cli.documents DIRECTORY` writes the schemas, one file for each command; the package has
them in `deploy/schemas`.
"""

import json
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from ingestor.app.activity import Activity
from ingestor.app.check.findings import Finding
from ingestor.app.control import LiveState
from ingestor.app.evidence import (
    DeadLetterDocument,
    DeadLettersDocument,
    DiscardDocument,
    GapDocument,
    GapsDocument,
)
from ingestor.app.export import ExportedFile
from ingestor.app.install.installation import Plan
from ingestor.app.partitioning import PartitionDocument
from ingestor.app.retention import TableSize
from ingestor.app.signals import Signal
from ingestor.app.status import AccountStatus, DaemonState
from ingestor.app.support.contents import BundleContents, BundleReport
from ingestor.app.tail import TailEvent
from ingestor.app.upgrade_plan import UpgradePlan
from ingestor.config.rendering import Setting


@dataclass(frozen=True, slots=True)
class CheckDocument:
    """`ingestor check --json`."""

    ok: bool
    """False if a step failed."""
    seconds: float
    """All steps together."""
    findings: list[Finding]
    """One for each step, in the order of the path; for the step `configuration` one for each mistake."""


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
    """A running daemon whose database answers reads the signal within this time; others at their start."""


@dataclass(frozen=True, slots=True)
class StatusDocument(AccountStatus):
    """`ingestor status --json`."""

    daemon: DaemonState
    problems: list[str]
    """Each reason not to trust the tables; the most serious first."""
    live: LiveState | None
    """The daemon's answer on its local socket; null if none answers on this machine."""


@dataclass(frozen=True, slots=True)
class LiveStatusDocument:
    """`ingestor status --json` if the daemon answers, and the database is down or refuses this user."""

    account: str
    live: LiveState
    database: str
    """Why the database was not read."""
    problems: list[str]


@dataclass(frozen=True, slots=True)
class ValidSettingsDocument:
    """`ingestor config validate --json`; wrong settings are a failure."""

    file: str | None
    """The configuration file; null if there is none."""
    hub: str
    """Its address."""
    key_source: str | None
    """The source of the key; null with `--no-environment`, like the database."""
    database: str | None
    """Without its password."""


@dataclass(frozen=True, slots=True)
class UpgradeDocument:
    """`ingestor db upgrade --json`."""

    found: str | None
    """The schema's revision before; null if there was none."""
    done: list[str]
    """The steps of the upgrade, in their order."""


@dataclass(frozen=True, slots=True)
class SchemaDocument:
    """`ingestor db status --json`."""

    found: str | None
    """The schema's revision; null if there is none."""
    wanted: str
    """The revision that this software needs."""
    pending: list[str]
    """Steps of an upgrade, in their order."""
    fits: bool


@dataclass(frozen=True, slots=True)
class PruneDocument:
    """`ingestor db prune --json`."""

    account: str
    dry_run: bool
    """True: nothing was removed."""
    cuts: dict[str, datetime | None]
    """By setting of [retention], the moment before which rows are removed; null: none are."""
    rows: dict[str, int]
    """By table, the number of rows removed, or that would be."""


@dataclass(frozen=True, slots=True)
class DemoDocument:
    """`ingestor demo --json`."""

    received: int
    committed: int
    outcomes: dict[str, int]
    unaccounted: int
    """Records received that are neither stored nor counted as dropped, and stored ones without an outcome."""
    reconnects: int
    requests_answered: int
    gaps: dict[str, dict[str, int]]
    """By kind, then by `open` and `ended`."""
    balance_rows: int
    pair_rows: int


@dataclass(frozen=True, slots=True)
class FailureDocument:
    """What any command prints with `--json` if it fails."""

    error: str
    advice: list[str]
    """Lines that begin with `why: ` or `fix: `."""
    exit_code: int


@dataclass(frozen=True, slots=True)
class InstallationDocument:
    """`ingestor install --json` and `ingestor uninstall --json`."""

    dry_run: bool
    plan: Plan
    not_run: list[str]
    """Commands of the plan that were not run: those for systemd if it does not run, and all with `--root`."""


DOCUMENTS: dict[str, Any] = {
    "check": CheckDocument,
    "gaps list": GapsDocument,
    "gaps show": GapDocument,
    "dead-letters list": DeadLettersDocument,
    "dead-letters show": DeadLetterDocument,
    "dead-letters export": DeadLetterDocument,
    "db partition": PartitionDocument,
    "dead-letters discard": DiscardDocument,
    "snapshot": SnapshotDocument,
    "reconnect": ReconnectDocument,
    "db plan": UpgradePlan,
    "support-bundle": BundleReport,
    "support-bundle contents": BundleContents,
    "install": InstallationDocument,
    "uninstall": InstallationDocument,
    "pause": SignalDocument,
    "resume": SignalDocument,
    "top": Activity,
    "tail": TailEvent,
    "status": StatusDocument,
    "status without-database": LiveStatusDocument,
    "config show": list[Setting],
    "config explain": Setting,
    "config validate": ValidSettingsDocument,
    "db upgrade": UpgradeDocument,
    "db status": SchemaDocument,
    "db prune": PruneDocument,
    "db size": list[TableSize],
    "export": list[ExportedFile],
    "demo": DemoDocument,
    "failure": FailureDocument,
}
"""By command; for `dead-letters export` and `tail` the type of each line. `status` prints
`status without-database` if it cannot read the database, and every command prints `failure` if it fails."""


def say(document: object, *, err: bool = False) -> None:
    """Print one document; with `err` to standard error."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2), err=err)


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
