# ruff: noqa: E501, S608 - SQL, of constants only
"""Removes the rows that `retention_rules` selects, in small transactions.

They are found in one snapshot, and removed by their addresses, which cannot be reused while the snapshot exists.
Only deleted rows are locked. If a table is partitioned, a month of which few rows are kept is emptied at once
instead, after the snapshot.
"""

from collections import Counter
from collections.abc import Callable, Container, Iterable
from dataclasses import dataclass

import psycopg

from ingestor.adapters.postgres.reading import value
from ingestor.adapters.postgres.retention_rules import FOUND_BY, TARGETS, Cuts, Target, parameters, query

BATCH_ROWS = 5_000


def counted(connection: psycopg.Connection, account: str, cuts: Cuts, target: Target) -> Counter[int]:
    """How many rows would be removed, by partition."""
    counting = query("doomed.tableoid::bigint, count(*)", target, "GROUP BY 1")
    return Counter(dict(connection.execute(counting, parameters(account, cuts)).fetchall()))


def removed(
    reading: psycopg.Connection,
    deleting: psycopg.Connection,
    account: str,
    cuts: Cuts,
    target: Target,
    progress: Callable[[int], None],
    *,
    but: Container[int] = (),
) -> int:
    """Remove them; `progress` gets the number so far after each transaction.

    Args:
        reading: in one snapshot for all targets.
        deleting: in autocommit.
        but: partitions to leave out, because `emptied` will remove their rows.
    """
    done = 0
    with reading.cursor("prune") as cursor:
        cursor.execute(query("doomed.tableoid::bigint, doomed.ctid::text", target), parameters(account, cuts))
        while batch := cursor.fetchmany(BATCH_ROWS):
            for part in {oid for oid, _ in batch if oid not in but}:
                addresses = [address for oid, address in batch if oid == part]
                done += deleting.execute(_DELETE[target.table], (part, addresses)).rowcount
            progress(done)
    return done


@dataclass(frozen=True, slots=True)
class Month:
    """A partition of which all rows except a few are removed."""

    part: int
    """The oid of the partition."""
    table: str
    file: int
    """The server's number of the file in which the addresses were found."""
    rows: int
    kept: list[str]
    """The addresses of the rows that are kept."""


def months(
    connection: psycopg.Connection, account: str, cuts: Cuts, found: Iterable[tuple[Target, Counter[int]]]
) -> list[Month]:
    """The partitions of past months of which at most `BATCH_ROWS` rows are kept, other accounts' included.

    Args:
        connection: in the snapshot in which the rows were counted.
        found: the results of `counted`.
    """
    going, targets = dict[str, Counter[int]](), dict[str, list[Target]]()
    for target, parts in found:  # the tables in the order of their last targets, which is that of removal
        going[target.table] = going.pop(target.table, Counter()) + parts
        targets.setdefault(target.table, []).append(target)
    chosen = []
    for table, part, doomed in ((table, *each) for table, parts in going.items() for each in parts.items()):
        described = connection.execute(_OVER, (part,)).fetchone()
        if described is None:
            continue
        name, file = described
        rows = value(connection, f"SELECT count(*) FROM {name}")
        if rows - doomed <= BATCH_ROWS:
            staying = _kept(name, part, targets[table])
            kept = [address for (address,) in connection.execute(staying, parameters(account, cuts))]
            chosen.append(Month(part, table, file, rows, kept))
    return chosen


_OVER = r"""
    SELECT c.oid::regclass::text, pg_relation_filenode(c.oid)::bigint
    FROM pg_class AS c
    WHERE c.oid = %s AND c.relispartition
      AND substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(.+)''\)')::timestamptz < now()
"""


def _kept(name: str, part: int, targets: list[Target]) -> bytes:
    going = " UNION ALL ".join(f"SELECT doomed.tableoid, doomed.ctid FROM {each.found}" for each in targets)
    return (
        f"{FOUND_BY} SELECT kept.ctid::text FROM {name} AS kept WHERE NOT EXISTS ("
        f"SELECT FROM ({going}) AS doomed WHERE doomed.tableoid = {part} AND doomed.ctid = kept.ctid)"
    ).encode()


def emptied(connection: psycopg.Connection, month: Month) -> int:
    """Remove a month's rows at once; returns how many.

    None are removed if the month has changed, or a lock is not available within the limit of the database
    session: the next call will find it again.

    Args:
        connection: in autocommit, while no transaction of ours has read the month.
    """
    try:
        emptying = "SELECT ingest.empty_month($1::bigint::oid::regclass, $2::bigint::oid, $3, $4::tid[])"
        done = value(connection, emptying, month.part, month.file, month.rows, month.kept)
    except psycopg.errors.LockNotAvailable:
        done = False
    return month.rows - len(month.kept) if done else 0


_DELETE = {
    each.table: f"DELETE FROM ingest.{each.table} WHERE tableoid = %s AND ctid = ANY (%s::tid[])".encode()
    for each in TARGETS
}
