"""The documents that `--json` prints: each has a type, and the type's JSON Schema is in `deploy/schemas`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ingestor.app.activity import Activity
from ingestor.app.check.findings import Finding
from ingestor.app.control import LiveState
from ingestor.app.export import ExportedFile
from ingestor.app.gaps_and_dead_letters import (
    DeadLetterDocument,
    DeadLettersDocument,
    DiscardDocument,
    GapDocument,
    GapsDocument,
)
from ingestor.app.install.installation import Plan
from ingestor.app.partitioning import PartitionDocument
from ingestor.app.retention import TableSize
from ingestor.app.signals import Signal
from ingestor.app.status import AccountStatus, DaemonState
from ingestor.app.support.contents import BundleContents, BundleReport
from ingestor.app.tail import TailEvent
from ingestor.app.totals import AccountTotals
from ingestor.app.upgrade_plan import UpgradePlan
from ingestor.cli.config import ValidSettingsDocument
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
    read_within_seconds: int
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
    "demo": AccountTotals,
    "failure": FailureDocument,
}
"""By command; for `dead-letters export` and `tail` the type of each line. `status` prints
`status without-database` if it cannot read the database, and every command prints `failure` if it fails."""
