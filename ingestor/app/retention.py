"""Removes rows that are older than the settings allow, and measures the size of the tables."""

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial

import psycopg

from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.partitioning import add_months
from ingestor.adapters.postgres.pruning import counted, emptied, months, removed
from ingestor.adapters.postgres.reading import read, value
from ingestor.adapters.postgres.retention_rules import TARGETS, Cuts
from ingestor.app.database import connect, connect_url, existing_database, snapshot
from ingestor.config import Settings

_READING = DatabaseTiming(statement_seconds=600, transaction_seconds=3_600)
_DELETING = DatabaseTiming(lock_seconds=1, statement_seconds=600, transaction_seconds=3_600)
"""`lock_seconds` is short, because others queue behind a lock that we wait for."""


Progress = Callable[[str, int, int], None]
"""Called with a table, the number of rows to remove, and the number removed so far."""


def prune(
    settings: Settings, *, dry_run: bool, progress: Progress = lambda *_: None
) -> tuple[dict[str, datetime | None], dict[str, int]]:
    """Remove the account's rows that are older than `[retention]` allows; with `dry_run`, only count them.

    If tables are partitioned, it creates missing months first.

    Returns:
        The moment before which rows are removed, by setting; their number, by table in the order of removal.

    Raises:
        Transient: the database cannot be reached.
        BadConfiguration: the role may not delete.
    """
    with (
        existing_database(settings) as url,
        connect_url(url, _READING) as reading,
        connect_url(url, _DELETING) as deleting,
    ):
        deleting.autocommit = True
        if not dry_run:
            add_months(deleting)
        with snapshot(reading):
            cuts = _cuts(reading, settings)
            wanted = [each for each in TARGETS if any(cuts[name] for name in each.settings)]
            plan = [(each, counted(reading, settings.account, cuts, each)) for each in wanted]
            rows = Counter[str]()
            if dry_run:
                for target, parts in plan:
                    rows[target.table] += parts.total()
                return cuts, rows
            if cuts["history_days"] and any(parts for each, parts in plan if "history_days" in each.settings):
                # Before the first row is removed, so that no report says too much in between.
                deleting.execute(
                    "SELECT ingest.begin_history(%s, %s)", (settings.account, cuts["history_days"])
                )
            at_once = months(reading, settings.account, cuts, plan)
            for target, parts in plan:
                show = partial(progress, target.table, parts.total())
                but = {each.part for each in at_once}
                rows[target.table] += removed(
                    reading, deleting, settings.account, cuts, target, show, but=but
                )
        # After the snapshot, which has read the months, so that they could not be emptied during it.
        for each in at_once:
            rows[each.table] += emptied(deleting, each)
    return cuts, rows


def _cuts(connection: psycopg.Connection, settings: Settings) -> Cuts:
    now: datetime = value(connection, "SELECT now()")
    kept: dict[str, int | None] = asdict(settings.retention)
    return {name: None if days is None else now - timedelta(days=days) for name, days in kept.items()}


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
    with connect(settings, _READING) as connection, snapshot(connection):
        found = [_size(connection, table, column) for table, column in _TIMES.items()]
    return sorted(found, key=lambda each: each.table_bytes + each.index_bytes, reverse=True)


def _size(connection: psycopg.Connection, table: str, column: str) -> TableSize:
    query = f"""
        SELECT '{table}' AS "table", r.rows, s.table_bytes, s.index_bytes, r.oldest,
            CASE WHEN r.oldest IS NULL THEN 0 ELSE
                (s.table_bytes + s.index_bytes) / greatest(1, extract(epoch FROM now() - r.oldest) / 86400)
            END::bigint AS bytes_a_day
        FROM (SELECT count(*) AS rows, min({column}) AS oldest FROM ingest.{table}) AS r
        CROSS JOIN (
            SELECT sum(pg_table_size(oid))::bigint AS table_bytes,
                sum(pg_indexes_size(oid))::bigint AS index_bytes
            FROM (
                SELECT 'ingest.{table}'::regclass AS oid
                UNION SELECT inhrelid FROM pg_inherits WHERE inhparent = 'ingest.{table}'::regclass
            ) AS parts
        ) AS s
    """  # noqa: S608 - names of the table above
    (found,) = read(connection, TableSize, query)
    return found
