"""Upgrades the schema to the revision of this software. Only `db upgrade` and a private Postgres need this,
and with it Alembic and SQLAlchemy."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from ingestor.adapters.postgres.reading import rows
from ingestor.adapters.postgres.schema import SCHEMAS, SchemaState, mismatch, schema_state, scripts
from ingestor.domain.errors import BadConfiguration


def upgrade(connection: psycopg.Connection) -> SchemaState:
    """Upgrade to `REVISION`; returns the state before. Two upgrades may run at the same time.

    Raises:
        SchemaMismatch: the schema is newer.
        BadConfiguration: the role may not create the schemas; the text names the grant.
        psycopg.Error: as it comes.
    """
    before = ready_for_upgrade(connection)
    with migrated(connection) as around:
        around.commit()
    return before


def ready_for_upgrade(connection: psycopg.Connection) -> SchemaState:
    """The state of the schema. Raises as `upgrade`."""
    state = schema_state(connection)
    if state.newer:
        raise mismatch(state)
    _require_create(connection)
    return state


@contextmanager
def migrated(
    connection: psycopg.Connection, after_each: Callable[[str], None] = lambda _: None
) -> Iterator[Connection]:
    """Runs all steps, then the block, in one transaction, which is rolled back unless the block commits it.

    Args:
        after_each: called with the revision of each step after it.
    """
    engine = create_engine(
        "postgresql+psycopg://",
        poolclass=StaticPool,
        creator=lambda: connection,
        isolation_level="READ COMMITTED",  # one transaction for all, where the connection is in autocommit
    )
    config = Config()
    config.set_main_option("script_location", str(scripts()).replace("%", "%%"))
    try:
        # READ COMMITTED, so that after waiting for another upgrade this one sees its result.
        with engine.connect().execution_options(isolation_level="READ COMMITTED") as around:
            around.begin()  # Alembic would commit its own
            config.attributes["connection"] = around
            config.attributes["after_each"] = lambda *, step, **_: after_each(step.up_revision_id)
            command.upgrade(config, "head")
            yield around
    except DBAPIError as error:
        if error.orig is None:
            raise
        raise error.orig from None


def _require_create(connection: psycopg.Connection) -> None:
    """The privilege to create is needed only for what is missing."""
    (row,) = rows(connection, _MAY_CREATE, list(SCHEMAS))
    if row.missing and not row.in_database:
        raise _grant(row.role, f"CREATE ON DATABASE {row.database}", f"create the schema {row.missing[0]}")
    if row.closed:
        raise _grant(row.role, f"USAGE, CREATE ON SCHEMA {', '.join(row.closed)}", "create tables in it")


_MAY_CREATE = """
    SELECT quote_ident(current_user) AS role, quote_ident(current_database()) AS database,
        has_database_privilege(current_database(), 'CREATE') AS in_database,
        coalesce(array_agg(s.name) FILTER (WHERE n.oid IS NULL), '{}') AS missing,
        coalesce(
            array_agg(s.name) FILTER (
                WHERE NOT has_schema_privilege(n.oid, 'CREATE') OR NOT has_schema_privilege(n.oid, 'USAGE')
            ), '{}'
        ) AS closed
    FROM unnest($1::text[]) WITH ORDINALITY AS s (name, place)
    LEFT JOIN pg_namespace AS n ON n.nspname = s.name
"""


def _grant(role: str, privilege: str, what: str) -> BadConfiguration:
    return BadConfiguration(
        f"the role {role} may not {what}\n"
        f"why: it lacks the privilege {privilege}\n"
        f"fix: let the owner or a superuser run GRANT {privilege} TO {role}"
    )
