"""Which revision of the schema this software reads and writes, and the refusal to write to another one.

`migrate` brings a schema there. It needs alembic, which a daemon does not load.
"""

import psycopg

from ingestor.domain.errors import SchemaMismatch

REVISIONS = ("0001", "0002")
"""Of the schema, oldest first. A test holds them equal to the migrations."""
REVISION = REVISIONS[-1]
"""What this software reads and writes."""


def is_newer(found: str | None) -> bool:
    """Whether this is a revision that this software does not know; None: no schema at all."""
    return found is not None and found not in REVISIONS


def require_schema(connection: psycopg.Connection) -> None:
    """Refuse to write to a schema we were not built for (I19).

    Raises:
        SchemaMismatch: with the command that mends it.
    """
    found = _found(connection)
    if found != REVISION:
        raise mismatch(found)


def mismatch(found: str | None) -> SchemaMismatch:
    """The error for a schema at this revision."""
    if is_newer(found):
        return SchemaMismatch(
            f"the schema is at revision {found}, newer than this software's {REVISION}\n"
            "why: a newer ingestor has upgraded it, and an older one would write what it does not know\n"
            "fix: install the newer software"
        )
    what = "this database has no ingestor schema"
    if found is not None:
        what = f"the schema is at revision {found}, this software needs {REVISION}"
    return SchemaMismatch(
        f"{what}\nwhy: the schema and this software do not fit together\nfix: run `ingestor db upgrade`"
    )


def _found(connection: psycopg.Connection) -> str | None:
    """Alembic's own note in the database."""
    if connection.execute("SELECT to_regclass('ingest.alembic_version')").fetchone() == (None,):
        return None
    row = connection.execute("SELECT version_num FROM ingest.alembic_version").fetchone()
    return None if row is None else str(row[0])
