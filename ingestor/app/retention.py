"""Removes rows that are older than the settings allow, and measures the size of the tables."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import psycopg

from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.partitioning import add_months
from ingestor.adapters.postgres.pruning import counted, emptied, months, removed
from ingestor.adapters.postgres.reading import value
from ingestor.adapters.postgres.retention_rules import TARGETS, Cuts
from ingestor.app.database import database_beside, looking_at, snapshot
from ingestor.config import Settings

_LOOKING = DatabaseTiming(statement_seconds=600, transaction_seconds=3_600)
_DELETING = DatabaseTiming(lock_seconds=1, statement_seconds=600, transaction_seconds=3_600)
"""`lock_seconds` is short, because others queue behind a lock that we wait for."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """The number of rows of a table that are removed, or would be."""

    table: str
    rows: int


Progress = Callable[[str, int, int], None]
"""Called with a table, the number of rows removed so far, and the number of all."""


def prune(
    settings: Settings, *, dry_run: bool, progress: Progress = lambda *_: None
) -> tuple[dict[str, datetime | None], list[Pruned]]:
    """Remove the account's rows that are older than `[retention]` allows; with `dry_run`, only count them.

    If tables are partitioned, it creates missing months first.

    Returns:
        The moment before which rows are removed, by setting, and the removed rows, in the order of removal.

    Raises:
        Transient: the database cannot be reached.
        BadConfiguration: the role may not delete.
    """
    with (
        database_beside(settings) as url,
        looking_at(url, _LOOKING) as looking,
        looking_at(url, _DELETING) as deleting,
    ):
        deleting.autocommit = True
        if not dry_run:
            add_months(deleting)
        with snapshot(looking):
            cuts = _cuts(looking, settings)
            wanted = [each for each in TARGETS if any(cuts[name] for name in each.settings)]
            plan = [(each, counted(looking, settings.account, cuts, each)) for each in wanted]
            if dry_run:
                return cuts, _by_table((target.table, parts.total()) for target, parts in plan)
            at_once = months(looking, settings.account, cuts, plan)
            done = []
            for target, parts in plan:
                show = partial(_show, progress, target.table, parts.total())
                but = {each.part for each in at_once}
                gone = removed(looking, deleting, settings.account, cuts, target, show, but=but)
                done.append((target.table, gone))
        # After the snapshot, which has read the months, so that they could not be emptied during it.
        done += [(each.table, emptied(deleting, each)) for each in at_once]
    return cuts, _by_table(done)


def _show(progress: Progress, table: str, total: int, done: int) -> None:
    progress(table, done, total)


def _cuts(connection: psycopg.Connection, settings: Settings) -> Cuts:
    now: datetime = value(connection, "SELECT now()")
    kept = settings.retention
    return {
        name: None if days is None else now - timedelta(days=days)
        for name, days in (
            ("duplicates_days", kept.duplicates_days),
            ("records_days", kept.records_days),
            ("requests_days", kept.requests_days),
            ("history_days", kept.history_days),
        )
    }


def _by_table(counts: Iterable[tuple[str, int]]) -> list[Pruned]:
    rows = Counter[str]()
    for table, gone in counts:
        rows[table] += gone
    return [Pruned(*each) for each in rows.items()]


@dataclass(frozen=True, slots=True)
class TableSize:
    """The size of one table, with all accounts in it."""

    table: str
    rows: int
    table_bytes: int
    index_bytes: int
    oldest: datetime | None
    """None if it has no rows."""
    bytes_a_day: int
    """All its bytes, divided by the days since its oldest row, but at least by one."""


_TIMES = {
    "raw_event": "received_at",
    "outcome": "received_at",
    "request": "requested_at",
    "balance": "valid_from",
    "pair": "valid_from",
    "exposure": "observed_at",
    "exposure_total": "observed_at",
}


def sizes(settings: Settings) -> list[TableSize]:
    """The sizes of the tables that grow, largest first. Rows are counted, so each table is read once."""
    with database_beside(settings) as url, looking_at(url, _LOOKING) as connection, snapshot(connection):
        found = [_size(connection, table, column) for table, column in _TIMES.items()]
    return sorted(found, key=lambda each: each.table_bytes + each.index_bytes, reverse=True)


def _size(connection: psycopg.Connection, table: str, column: str) -> TableSize:
    query = f"""
        SELECT r.rows, s.in_table, s.in_indexes, r.oldest,
            ((s.in_table + s.in_indexes) / greatest(1, extract(epoch FROM now() - r.oldest) / 86400))::bigint
        FROM (SELECT count(*) AS rows, min({column}) AS oldest FROM ingest.{table}) AS r
        CROSS JOIN (
            SELECT sum(pg_table_size(oid))::bigint AS in_table,
                sum(pg_indexes_size(oid))::bigint AS in_indexes
            FROM (
                SELECT 'ingest.{table}'::regclass AS oid
                UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = 'ingest.{table}'::regclass
            ) AS parts
        ) AS s
    """  # noqa: S608 - names of the table above
    found = connection.execute(query.encode()).fetchone()
    assert found is not None  # noqa: S101 - an aggregate has one row
    rows, in_table, in_indexes, oldest, a_day = found
    return TableSize(table, rows, in_table, in_indexes, oldest, a_day if oldest else 0)
