"""The steps and locks of a schema upgrade, as values."""

from dataclasses import dataclass
from enum import StrEnum


class Blocks(StrEnum):
    """The statements that a lock blocks."""

    READS_AND_WRITES = "reads_and_writes"
    WRITES = "writes"
    NOTHING = "nothing"
    """Neither reads nor writes: at most another change of the schema, or a vacuum."""


BLOCKS = {
    "AccessExclusiveLock": Blocks.READS_AND_WRITES,
    "ExclusiveLock": Blocks.WRITES,
    "ShareRowExclusiveLock": Blocks.WRITES,
    "ShareLock": Blocks.WRITES,
    "ShareUpdateExclusiveLock": Blocks.NOTHING,
    "RowExclusiveLock": Blocks.NOTHING,
    "RowShareLock": Blocks.NOTHING,
    "AccessShareLock": Blocks.NOTHING,
}
"""The strongest first, as in PostgreSQL's manual, "Table-level Lock Modes"."""
MODES = tuple(BLOCKS)


@dataclass(frozen=True, slots=True)
class TableLock:
    """The strongest lock of a step on a table or view that existed before the upgrade."""

    relation: str
    """With its schema."""
    mode: str
    """As in PostgreSQL's view pg_locks."""
    blocks: Blocks
    bytes: int
    """Size of the table with its indexes; 0 for a view."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One migration."""

    revision: str
    title: str
    seconds: float
    """Duration when it was tried."""
    locks: list[TableLock]
    """Those that no earlier step has taken; the strongest first."""


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """The steps of `ingestor db upgrade`. They are one transaction, which holds its locks until its end."""

    found: str | None
    """The schema's revision; null without a schema."""
    wanted: str
    steps: list[PlannedStep]
