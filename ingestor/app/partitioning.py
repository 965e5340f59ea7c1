"""Partitions the tables that grow with each record, so that a month can be removed at once."""

from dataclasses import dataclass

from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.partitioning import WholeTable, add_months, analyze, partition, whole_tables
from ingestor.app.database import connect
from ingestor.config import Settings

__all__ = ["WholeTable"]

_TIMING = DatabaseTiming(lock_seconds=1, statement_seconds=3_600, transaction_seconds=3_600)


@dataclass(frozen=True, slots=True)
class PartitionDocument:
    """`ingestor db partition --json`."""

    dry_run: bool
    tables: list[WholeTable]
    """The tables that were partitioned; with dry_run, that would be."""
    months: list[str]
    """The partitions that were created for this month and the next ones; with dry_run, none."""


def partitioning_plan(settings: Settings) -> list[WholeTable]:
    """The tables that `partition_tables` would partition. Each is read once."""
    with connect(settings, _TIMING, reads_only=True) as connection:
        return whole_tables(connection)


def partition_tables(settings: Settings) -> list[str]:
    """Partition each table that is not yet, and create the missing months; returns their names.

    Raises:
        BadConfiguration: the role does not own the tables, or an object depends on one that would not refer
            to the new table.
        Transient: a table is locked by others.
    """
    with connect(settings, _TIMING) as connection:
        connection.autocommit = True
        months = []
        for whole in whole_tables(connection):
            months += partition(connection, whole)
        months += add_months(connection)
        analyze(connection)
        return months
