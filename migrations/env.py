"""Alembic's entry: one transaction, one at a time.

Alembic takes no lock of its own, so two upgrades at once would both run the same steps. Here the second one
waits for the first and then finds nothing to do. Logging is left as the caller has set it up.
"""

from alembic import context
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

from ingestor.adapters.postgres.tables import SCHEMA, metadata

_UPGRADE_LOCK = 0x48E2C1E0
"""Any number that nobody else locks in this database."""


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=SCHEMA,
        include_schemas=True,
        include_name=lambda name, kind, _: kind != "schema" or name == SCHEMA,
        compare_type=True,
        compare_server_default=True,
    )
    with context.begin_transaction():
        connection.execute(text("SET LOCAL lock_timeout = '60s'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:  # the alembic command line: `-x url=...`
    engine = create_engine(context.get_x_argument(as_dictionary=True)["url"], poolclass=NullPool)
    with engine.connect() as own:
        _run(own)
