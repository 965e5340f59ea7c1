"""Bringing the schema to the revision that this software writes to, and telling where it stands."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from ingestor.adapters.postgres.schema import REVISION, is_newer, mismatch
from ingestor.adapters.postgres.tables import SCHEMA
from ingestor.domain.errors import BadConfiguration

SCHEMAS = (SCHEMA, "report")
"""Those that the migrations fill; made where they are missing."""


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Where a database stands against this software."""

    found: str | None
    """None: no schema at all."""
    wanted: str
    pending: tuple[str, ...]
    """Titles of the steps that an upgrade would take, oldest first."""

    @property
    def fits(self) -> bool:
        """Whether this software may write to it."""
        return self.found == self.wanted

    @property
    def newer(self) -> bool:
        """The database knows a revision that this software does not."""
        return is_newer(self.found)


def scripts() -> Path:
    """The migrations: inside the installed package, or beside it in a checkout."""
    packaged = Path(str(files("ingestor"))) / "migrations"
    return packaged if packaged.is_dir() else packaged.parent.parent / "migrations"


def upgrade(connection: Connection) -> SchemaState:
    """Upgrade to `REVISION`; returns where the database stood before. Safe to run twice at once.

    Raises:
        SchemaMismatch: the schema is newer.
        BadConfiguration: the role may not make the schemas; the text names the grant.
    """
    before = schema_state(connection)
    if before.newer:
        raise mismatch(before.found)
    _require_create(connection)
    connection.rollback()
    transactional = connection.execution_options(isolation_level="READ COMMITTED")
    config = _config()
    config.attributes["connection"] = transactional
    command.upgrade(config, "head")
    transactional.commit()
    return before


def schema_state(connection: Connection) -> SchemaState:
    """Where the database stands."""
    context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
    found = context.get_current_revision()
    directory = ScriptDirectory.from_config(_config())
    pending: tuple[str, ...] = ()
    if not is_newer(found):
        steps = reversed(list(directory.iterate_revisions("head", found or "base")))
        pending = tuple(f"{step.revision} {step.doc}" for step in steps)
    return SchemaState(found, REVISION, pending)


def _require_create(connection: Connection) -> None:
    """Only what is missing needs the right to make it."""
    row = connection.execute(_MAY_CREATE, {"schemas": list(SCHEMAS)}).one()
    if row.missing and not row.in_database:
        raise _grant(row.role, f"CREATE ON DATABASE {row.database}", f"make the schema {row.missing[0]}")
    if row.closed:
        raise _grant(row.role, f"USAGE, CREATE ON SCHEMA {', '.join(row.closed)}", "make tables in it")


_MAY_CREATE = text("""
    SELECT quote_ident(current_user) AS role, quote_ident(current_database()) AS database,
        has_database_privilege(current_database(), 'CREATE') AS in_database,
        coalesce(array_agg(s.name) FILTER (WHERE n.oid IS NULL), '{}') AS missing,
        coalesce(
            array_agg(s.name) FILTER (
                WHERE NOT has_schema_privilege(n.oid, 'CREATE') OR NOT has_schema_privilege(n.oid, 'USAGE')
            ), '{}'
        ) AS closed
    FROM unnest(CAST(:schemas AS text[])) WITH ORDINALITY AS s (name, place)
    LEFT JOIN pg_namespace AS n ON n.nspname = s.name
""")


def _grant(role: str, privilege: str, what: str) -> BadConfiguration:
    return BadConfiguration(
        f"the role {role} may not {what}\n"
        f"why: it lacks the privilege {privilege}\n"
        f"fix: let the owner or a superuser run GRANT {privilege} TO {role}"
    )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return config
