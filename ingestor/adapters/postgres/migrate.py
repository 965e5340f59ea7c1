"""Bringing the schema to the revision that this software writes to, and telling where it stands."""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from ingestor.adapters.postgres.tables import SCHEMA

REVISION = "0002"
"""What this software reads and writes. A test holds it equal to the newest migration."""


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
        return self.found is not None and not self.fits and not self.pending


def scripts() -> Path:
    """The migrations: inside the installed package, or beside it in a checkout."""
    packaged = Path(str(files("ingestor"))) / "migrations"
    return packaged if packaged.is_dir() else packaged.parent.parent / "migrations"


def upgrade(engine: Engine) -> SchemaState:
    """Upgrade to `REVISION`; returns where the database stood before. Safe to run twice at once."""
    before = schema_state(engine)
    with engine.connect() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
        connection.commit()
    return before


def schema_state(engine: Engine) -> SchemaState:
    """Where the database stands."""
    with engine.connect() as connection:
        return schema_state_of(connection)


def schema_state_of(connection: Connection) -> SchemaState:
    """The same on a connection that is there already."""
    context = MigrationContext.configure(connection, opts={"version_table_schema": SCHEMA})
    found = context.get_current_revision()
    directory = ScriptDirectory.from_config(_config())
    known = [script.revision for script in directory.walk_revisions()]
    pending: tuple[str, ...] = ()
    if found is None or found in known:
        steps = reversed(list(directory.iterate_revisions("head", found or "base")))
        pending = tuple(f"{step.revision} {step.doc}" for step in steps)
    return SchemaState(found, REVISION, pending)


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    return config
