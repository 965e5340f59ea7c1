"""The Postgres that all contenders write to: private, durable, with stock settings. Refuses to be tuned."""

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg import sql

from ingestor.adapters.embedded_postgres import EmbeddedPostgres
from tests.support.postgres import create_database, drop_database

MUST_BE_ON = ("fsync", "synchronous_commit", "full_page_writes")
STATED = (*MUST_BE_ON, "wal_level", "wal_sync_method", "shared_buffers", "max_wal_size", "checkpoint_timeout")
NOT_A_DISK = {"tmpfs", "ramfs"}
EMPTY, MIGRATED = "postgres", "migrated"


class NotComparable(Exception):
    """What would be measured here is not what a user gets."""


@dataclass(frozen=True, slots=True)
class Usage:
    """At one moment."""

    cpu: float
    """Seconds of the whole cluster: postmaster, its live children, and those it has reaped."""
    wal: int
    """Bytes written to the log since the cluster was made."""


class Server:
    """Databases on one running server, and what they cost."""

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._number = 0

    def dsn(self, database: str) -> str:
        return self._postgres.dsn(database)

    def url(self, database: str) -> str:
        """As the daemon wants it."""
        return self._postgres.url(database)

    def migrate(self, upgrade: list[str], environment: dict[str, str]) -> None:
        """Make the database that `fresh` clones, by the command line that users have for it."""
        url = create_database(self._postgres, MIGRATED)
        done = subprocess.run(
            upgrade,
            env={**environment, "INGESTOR_DATABASE__URL": url},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        if done.returncode != 0:
            raise NotComparable(f"the schema could not be made: {done.stderr.strip()}")

    def fresh(self, template: str = MIGRATED) -> str:
        """A new database; returns its name."""
        self._number += 1
        name = f"run_{self._number}"
        create_database(self._postgres, name, template="template1" if template == EMPTY else template)
        return name

    def drop(self, database: str) -> None:
        drop_database(self._postgres, database)

    def run(self, dsn: str, statements: str) -> None:
        """Execute without arguments, in one transaction."""
        with psycopg.connect(dsn) as connection:
            connection.execute(statements.encode())

    def checkpoint(self) -> None:
        """So that no run pays for the pages of another."""
        with psycopg.connect(self.dsn(EMPTY), autocommit=True) as connection:
            connection.execute("CHECKPOINT")

    def usage(self) -> Usage:
        with psycopg.connect(self.dsn(EMPTY), autocommit=True) as connection:
            row = connection.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')").fetchone()
        assert row is not None
        return Usage(cluster_cpu(self._postgres.postmaster_pid), int(row[0]))

    def settings(self) -> dict[str, str]:
        """What matters for a comparison.

        Raises:
            NotComparable: durability is off, or the data are not on a disk.
        """
        with psycopg.connect(self.dsn(EMPTY)) as connection:
            found: dict[str, str] = dict(
                connection.execute(
                    "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY(%s)", [list(STATED)]
                ).fetchall()
            )
        off = [name for name in MUST_BE_ON if found[name] != "on"]
        if off:
            raise NotComparable(f"not on: {', '.join(off)}")
        kind = filesystem_of(self._postgres.data)
        if kind in NOT_A_DISK:
            raise NotComparable(f"the data are on {kind}")
        return {**found, "filesystem": kind}


def cluster_cpu(postmaster: int) -> float:
    """Seconds of user and system time."""
    root = psutil.Process(postmaster)
    times = root.cpu_times()
    total = times.user + times.system + times.children_user + times.children_system
    for child in root.children(recursive=True):
        try:
            own = child.cpu_times()
        except psutil.NoSuchProcess:
            continue  # it has just ended; its time will be the postmaster's
        total += own.user + own.system
    return float(total)


def filesystem_of(path: Path) -> str:
    """Type of the file system below a path, as the kernel names it."""
    mounts = sorted(psutil.disk_partitions(all=True), key=lambda each: len(each.mountpoint), reverse=True)
    return next((each.fstype for each in mounts if path.is_relative_to(each.mountpoint)), "unknown")


def value(dsn: str, statement: str, *arguments: object) -> Any:
    """The one value of a query."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(statement.encode(), arguments).fetchone()
    assert row is not None
    return row[0]


def bytes_of(dsn: str, schema: str) -> int:
    """Tables, indexes and toast of a schema on disk."""
    return int(
        value(
            dsn,
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0) FROM pg_class c "
            "JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = %s AND c.relkind = 'r'",
            schema,
        )
    )


def tables_of(dsn: str, schema: str) -> list[str]:
    """Names of its tables that have rows."""
    with psycopg.connect(dsn) as connection:
        names = connection.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = %s ORDER BY tablename", [schema]
        ).fetchall()
        return [
            name
            for (name,) in names
            if connection.execute(
                sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(schema, name))
            ).fetchone()
        ]
