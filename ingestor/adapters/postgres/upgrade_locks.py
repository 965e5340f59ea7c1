"""Finds the locks of a schema upgrade by running it and rolling it back."""

from typing import NamedTuple

import psycopg

from ingestor.adapters.postgres.migrate import migrated, ready_for_upgrade
from ingestor.adapters.postgres.reading import rows
from ingestor.adapters.postgres.upgrade_plan import BLOCKS, MODES, PlannedStep, TableLock, UpgradePlan
from ingestor.domain.errors import Transient
from ingestor.pipeline.ports import Clock


class _Relation(NamedTuple):
    oid: int
    name: str
    bytes: int


def measured_plan(connection: psycopg.Connection, clock: Clock) -> UpgradePlan:
    """Run the upgrade and roll it back. It takes the same locks, for as long as the steps take.

    Raises:
        SchemaMismatch: the schema is newer.
        BadConfiguration: the role may not upgrade.
        Transient: it did not get a lock, or a step took too long, within the connection's timeouts.
        psycopg.Error: as it comes.
    """
    state = ready_for_upgrade(connection)
    titles = dict(each.split(" ", 1) for each in state.pending)
    if not titles:
        return UpgradePlan(state.found, state.wanted, [])
    known = {each.oid: _Relation(*each) for each in rows(connection, _KNOWN)}
    held = dict[int, str]()
    steps = list[PlannedStep]()
    began = clock.monotonic()

    def after_each(revision: str) -> None:
        nonlocal began
        seconds = clock.monotonic() - began
        taken = _taken(connection, known, held)
        steps.append(PlannedStep(revision, titles[revision], seconds, taken))
        began = clock.monotonic()

    try:
        with migrated(connection, after_each):
            pass
    except psycopg.errors.LockNotAvailable:
        raise not_measured("a table that the upgrade locks is in use") from None
    except psycopg.errors.QueryCanceled:
        raise not_measured("a step takes too long") from None
    return UpgradePlan(state.found, state.wanted, steps)


def _taken(
    connection: psycopg.Connection, known: dict[int, _Relation], held: dict[int, str]
) -> list[TableLock]:
    """New or stronger locks since the last call; `held` is updated."""
    strongest = dict[int, str]()
    for oid, mode in rows(connection, _HELD, list(known)):
        strongest[oid] = min(mode, strongest.get(oid, mode), key=MODES.index)
    new = {oid: mode for oid, mode in strongest.items() if held.get(oid) != mode}
    held |= strongest
    return sorted(
        (TableLock(known[oid].name, mode, BLOCKS[mode], known[oid].bytes) for oid, mode in new.items()),
        key=lambda lock: (MODES.index(lock.mode), lock.relation),
    )


def not_measured(why: str) -> Transient:
    """The error for a lock or step that takes too long."""
    return Transient(
        "the locks of the upgrade cannot be measured now\n"
        f"why: {why}; all is rolled back\n"
        "fix: try it at a quieter time, or on a copy of the database; `ingestor db status` lists the steps"
    )


_KNOWN = """
    SELECT c.oid::bigint AS oid, format('%I.%I', n.nspname, c.relname) AS name,
        CASE WHEN c.relkind IN ('r', 'm') THEN pg_total_relation_size(c.oid) ELSE 0 END AS bytes
    FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f') AND n.nspname !~ '^(pg_|information_schema$)'
"""

_HELD = """
    SELECT relation::bigint AS oid, mode
    FROM pg_locks
    WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted
      AND relation = ANY ($1::bigint[]::oid[])
"""
