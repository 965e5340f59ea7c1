"""What an upgrade of the schema would do, as values."""

from dataclasses import dataclass
from enum import StrEnum


class Blocks(StrEnum):
    """What waits for as long as a lock is held."""

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
    """The strongest lock that a step takes on something that was there before the upgrade."""

    relation: str
    """With its schema."""
    mode: str
    """As the view pg_locks of PostgreSQL names it."""
    blocks: Blocks
    bytes: int
    """Of the table with its indexes; 0 of a view."""


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One migration."""

    revision: str
    title: str
    seconds: float
    """How long it took here and now."""
    locks: list[TableLock]
    """Those that no earlier step has taken; the strongest first."""


@dataclass(frozen=True, slots=True)
class UpgradePlan:
    """What `ingestor db upgrade` would do. All of it is one transaction, which keeps its locks to its end."""

    found: str | None
    """The schema's revision; null without a schema."""
    wanted: str
    steps: list[PlannedStep]
