"""Turns tables of the private schema into tables with a partition for each month.

An existing table cannot become partitioned, so a new one gets its name and everything that refers to it, and
the old one becomes the first partition: no row is moved. The needed statements are derived from the
catalogue.
"""

from dataclasses import dataclass
from datetime import datetime

import psycopg

from ingestor.adapters.postgres.reading import rows, value
from ingestor.adapters.postgres.roles import MIGRATOR, PRUNED
from ingestor.domain.errors import BadConfiguration

TIME = "received_at"
"""The column by which a table is partitioned. Tables of states are not partitioned: reports look up the
newest row before a moment, for which one index is faster than an index for each month."""


@dataclass(frozen=True, slots=True)
class WholeTable:
    """A table that can be partitioned and is not yet."""

    table: str
    rows: int
    """As estimated by the server."""
    bytes: int
    border: datetime
    """End of the partition for the present rows: the beginning of a month (UTC)."""


# A unique index of a partitioned table must have its time.
_WHOLE = f"""
    SELECT c.oid::regclass::text AS table, greatest(c.reltuples, 0)::bigint AS rows,
        pg_total_relation_size(c.oid) AS bytes
    FROM pg_class AS c
    JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = '{TIME}' AND a.attnotnull
    WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind = 'r' AND NOT c.relispartition
      AND c.relname = ANY ($1)
      AND NOT EXISTS (
          SELECT FROM pg_index AS i
          WHERE i.indrelid = c.oid AND i.indisunique AND NOT a.attnum = ANY (i.indkey[: i.indnkeyatts - 1])
      )
    ORDER BY c.relname
"""  # noqa: S608 - constants


def whole_tables(connection: psycopg.Connection) -> list[WholeTable]:
    """The tables that grow with each record, and that can be partitioned. Each is read once."""
    return [
        WholeTable(found.table, found.rows, found.bytes, value(connection, _border(found.table)))
        for found in rows(connection, _WHOLE, list(PRUNED))
    ]


def _border(table: str) -> str:
    """The end of the month; on its last day that of the next month, because more rows may arrive
    meanwhile."""
    return f"""
        SELECT date_trunc('month', greatest(max({TIME}), now()) + interval '1 day', 'UTC')
            + interval '1 month'
        FROM {table}
    """  # noqa: S608 - a name from the catalogue


def partition(connection: psycopg.Connection, whole: WholeTable) -> list[str]:
    """Partition one table; returns the names of its months. A second call continues a failed one.

    Its rows are read under a lock that lets others read and write. Then the table is locked for as long as it
    takes to change the catalogue.

    Args:
        connection: the owner's or a superuser's, in autocommit.

    Raises:
        BadConfiguration: an object depends on the table that would not refer to the new one.
        psycopg.Error: as it comes.
    """
    table, old = whole.table, f"{whole.table}_before"
    check = f"{_bare(table)}_border_check"
    _require_alterable(connection, table)
    for statement in (
        f"ALTER TABLE {table} DROP CONSTRAINT IF EXISTS {check}",
        f"ALTER TABLE {table} ADD CONSTRAINT {check} CHECK ({TIME} < '{whole.border}') NOT VALID",
        f"ALTER TABLE {table} VALIDATE CONSTRAINT {check}",  # so that attaching it reads nothing
    ):
        connection.execute(statement.encode())
    with connection.transaction():
        # These statements of the catalogue contain names, so when run again they refer to the new table.
        (found,) = rows(connection, _DEFINITIONS, table)
        for statement in (
            f"ALTER TABLE {table} RENAME TO {_bare(old)}",
            *found.renamed,
            f"CREATE TABLE {table} (LIKE {old} INCLUDING ALL EXCLUDING INDEXES) PARTITION BY RANGE ({TIME})",
            f"ALTER TABLE {table} DROP CONSTRAINT {check}",
            *found.indexes,
            f"ALTER TABLE {table} ATTACH PARTITION {old} FOR VALUES FROM (MINVALUE) TO ('{whole.border}')",
            f"ALTER TABLE {old} DROP CONSTRAINT {check}",
            f"CREATE TABLE {table}_rest PARTITION OF {table} DEFAULT",  # for months without a partition
            f"ALTER TABLE {table}_rest OWNER TO {found.owner}",
            *found.about,
            *found.views,
            *found.functions,
        ):
            connection.execute(statement.encode())
        return add_months(connection)


def analyze(connection: psycopg.Connection) -> None:
    """Gather statistics of the partitioned tables; the server does so for their partitions only."""
    for found in rows(
        connection,
        "SELECT oid::regclass::text AS name FROM pg_class "
        "WHERE relkind = 'p' AND relnamespace = 'ingest'::regnamespace",
    ):
        connection.execute(f"ANALYZE {found.name}".encode())


def add_months(connection: psycopg.Connection) -> list[str]:
    """Create the missing months of partitioned tables; returns their names.

    None, if a lock is not available within the limit of the database session: the next call will create them.
    """
    try:
        return [each.name for each in rows(connection, "SELECT ingest.add_months() AS name")]
    except psycopg.errors.LockNotAvailable:
        return []


def _bare(table: str) -> str:
    return table.rpartition(".")[2]


_DEFINITIONS = """
    SELECT
        quote_ident(pg_get_userbyid(c.relowner)) AS owner,
        ARRAY(
            SELECT format('ALTER INDEX %s RENAME TO %I', x.oid::regclass, x.relname || '_before')
            FROM pg_index AS i JOIN pg_class AS x ON x.oid = i.indexrelid
            WHERE i.indrelid = c.oid
        ) AS renamed,
        ARRAY(
            SELECT CASE WHEN k.oid IS NULL THEN pg_get_indexdef(i.indexrelid) ELSE
                format('ALTER TABLE %s ADD CONSTRAINT %I ', $1::text, k.conname)
                    || pg_get_constraintdef(k.oid)
            END
            FROM pg_index AS i
            LEFT JOIN pg_constraint AS k ON k.conindid = i.indexrelid AND k.conrelid = i.indrelid
            WHERE i.indrelid = c.oid
        ) AS indexes,
        ARRAY(
            SELECT format('GRANT %s ON %s TO ', a.privilege_type, $1::text)
                || CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END
                || CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END
            FROM aclexplode(c.relacl) AS a
        ) || ARRAY[
            format('ALTER TABLE %s OWNER TO %I', $1::text, pg_get_userbyid(c.relowner)),
            format('COMMENT ON TABLE %s IS %L', $1::text, obj_description(c.oid, 'pg_class'))
        ] AS about,
        ARRAY(
            SELECT format(
                'CREATE OR REPLACE VIEW %s %s AS %s', v.oid::regclass,
                'WITH (' || array_to_string(v.reloptions, ', ') || ')', pg_get_viewdef(v.oid)
            )
            FROM pg_class AS v
            WHERE v.oid IN (
                SELECT r.ev_class FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid
                WHERE d.classid = 'pg_rewrite'::regclass
                  AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
            )
        ) AS views,
        ARRAY(
            SELECT pg_get_functiondef(p.oid)
            FROM pg_proc AS p
            WHERE p.oid IN (
                SELECT d.objid FROM pg_depend AS d
                WHERE d.classid = 'pg_proc'::regclass
                  AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
            )
        ) AS functions
    FROM pg_class AS c
    WHERE c.oid = $1::text::regclass
"""

_OWNED = """
    SELECT current_user AS role, pg_get_userbyid(relowner) AS owner, pg_has_role(relowner, 'USAGE') AS ours
    FROM pg_class WHERE oid = $1::regclass
"""

_UNKNOWN = """
    SELECT DISTINCT pg_describe_object(d.classid, d.objid, d.objsubid) AS name
    FROM pg_depend AS d
    LEFT JOIN pg_class AS i ON d.classid = 'pg_class'::regclass AND i.oid = d.objid AND i.relkind = 'i'
    LEFT JOIN pg_constraint AS k
        ON d.classid = 'pg_constraint'::regclass AND k.oid = d.objid AND k.contype <> 'f'
    LEFT JOIN pg_rewrite AS r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
    LEFT JOIN pg_class AS v ON v.oid = r.ev_class AND v.relkind = 'v'
    WHERE d.deptype IN ('n', 'a') AND coalesce(i.oid, k.oid, v.oid) IS NULL
      AND d.classid NOT IN ('pg_attrdef'::regclass, 'pg_proc'::regclass)
      AND (d.refclassid = 'pg_class'::regclass AND d.refobjid = $1::regclass
          OR d.refclassid = 'pg_type'::regclass
              AND d.refobjid IN (SELECT reltype FROM pg_class WHERE oid = $1::regclass))
"""


def _require_alterable(connection: psycopg.Connection, table: str) -> None:
    (owned,) = rows(connection, _OWNED, table)
    if not owned.ours:
        raise BadConfiguration(
            f"{owned.role} may not change {table}\n"
            f"why: it belongs to {owned.owner}\n"
            f"fix: run this as {MIGRATOR}, or as a superuser"
        )
    unknown = [found.name for found in rows(connection, _UNKNOWN, table)]
    if unknown:
        raise BadConfiguration(
            f"{table} cannot be partitioned\n"
            f"why: {', '.join(unknown)} would keep referring to the partition with the present rows\n"
            "fix: drop it, run this again, and create it again"
        )
