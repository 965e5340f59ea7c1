"""Compares the revision of a database's schema with that of this software."""

import ast
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import psycopg

from ingestor.adapters.postgres.reading import value
from ingestor.domain.errors import SchemaMismatch

SCHEMA = "ingest"
SCHEMAS = (SCHEMA, "report")
"""The schemas of the migrations, created if missing."""

REVISION = "0002"
"""The revision that this software reads and writes. A test compares it with the newest migration."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The schema's revision and the one that this software needs."""

    found: str | None
    """None: there is no schema."""
    wanted: str
    pending: tuple[str, ...]
    """Titles of the steps that an upgrade would take, oldest first."""

    @property
    def fits(self) -> bool:
        """Whether this software may write to it."""
        return self.found == self.wanted

    @property
    def newer(self) -> bool:
        """The database has a revision that this software does not know."""
        return self.found is not None and not self.fits and not self.pending


def scripts() -> Path:
    """The migrations: inside the installed package, or beside it in a checkout."""
    packaged = Path(str(files("ingestor"))) / "migrations"
    return packaged if packaged.is_dir() else packaged.parent.parent / "migrations"


def schema_state(connection: psycopg.Connection) -> SchemaState:
    """The state of a database's schema."""
    found = _revision(connection)
    steps = {
        script.name.partition("_")[0]: ast.get_docstring(ast.parse(script.read_text())) or ""
        for script in sorted((scripts() / "versions").glob("*.py"))
    }
    pending: tuple[str, ...] = ()
    if found is None or found in steps:
        later = {number: about for number, about in steps.items() if number > (found or "")}
        pending = tuple(f"{number} {about.splitlines()[0]}" for number, about in later.items())
    return SchemaState(found, REVISION, pending)


def require_schema(connection: psycopg.Connection) -> None:
    """Refuse to write to a schema of another version (I19).

    Raises:
        SchemaMismatch: with the command that corrects it.
    """
    if _revision(connection) != REVISION:
        raise mismatch(schema_state(connection))


def mismatch(state: SchemaState) -> SchemaMismatch:
    """The error for a schema of another revision."""
    if state.newer:
        return SchemaMismatch(
            f"the schema is at revision {state.found}, newer than this software's {REVISION}\n"
            "why: a newer ingestor has upgraded it, and this one does not know its tables\n"
            "fix: install the newer software"
        )
    what = "this database has no ingestor schema"
    if state.found is not None:
        what = f"the schema is at revision {state.found}, this software needs {REVISION}"
    return SchemaMismatch(
        f"{what}\nwhy: ingestor writes only to a schema of its own revision\nfix: run `ingestor db upgrade`"
    )


# From the catalogue, which every role may read: if the role may not use the schema, a later statement says
# so.
_MADE = "SELECT count(*) FROM pg_tables WHERE schemaname = 'ingest' AND tablename = 'alembic_version'"


def _revision(connection: psycopg.Connection) -> str | None:
    if not value(connection, _MADE):
        return None
    found: str | None = value(connection, "SELECT version_num FROM ingest.alembic_version")
    return found
