"""Tables in partitions by month, as they are when `ingestor db partition` was run long ago."""

from ingestor.app.partitioning import partition_tables
from ingestor.config import load
from tests.support.rows import Query


def partitioned_since_2025(sql: Query, url: str) -> None:
    """Of an empty database, as if it had been partitioned at the end of 2024."""
    partition_tables(load(None, {"database.url": url}, {}).settings)
    months_since_2025(sql)


def months_since_2025(sql: Query) -> None:
    """In place of the one partition of what was there before, which is empty."""
    found = sql("""
        SELECT i.inhparent::regclass::text, c.oid::regclass::text,
            substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \\(''(.+)''\\)')::timestamptz
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE c.relkind = 'r' AND right(c.relname, 7) = '_before'
    """)
    for table, part, border in found:
        sql(f"DROP TABLE {part}")
        months = sql(
            "SELECT m, m + interval '1 month' FROM generate_series('2025-01-01 00:00+00', %s::timestamptz "
            "- interval '1 day', interval '1 month') AS m",
            border,
        )
        for first, end in months:
            name = f"{table}_{first:%Y%m}"
            sql(f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ('{first}') TO ('{end}')")
