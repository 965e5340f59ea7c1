"""Alembic's entry: one transaction, one at a time.

Alembic takes no lock of its own, so two upgrades at once would both run the same steps. Here the second one
waits for the first, for as long as the caller's lock_timeout allows, and then finds nothing to do. Logging is
left as the caller has set it up.
"""

from alembic import context
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.pool import NullPool

_SCHEMAS = {
    "ingest": "Private to the ingestor. Reports read schema report.",
    "report": "For analysts: stable views. Grant USAGE on it and SELECT on its views.",
}

_UPGRADE_LOCK = 0x48E2C1E0
"""Any number that nobody else locks in this database."""


def _run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=None,  # revisions are written by hand, as SQL
        version_table_schema="ingest",
        on_version_apply=context.config.attributes.get("after_each"),
    )
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
        for schema, comment in _SCHEMAS.items():
            # IF NOT EXISTS would ask for the right to make it even where it is there, made by a DBA.
            if not connection.scalar(text("SELECT to_regnamespace(:schema) IS NOT NULL"), {"schema": schema}):
                connection.execute(text(f"CREATE SCHEMA {schema}"))
                connection.execute(text(f"COMMENT ON SCHEMA {schema} IS '{comment}'"))
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    _run(given)
else:  # the alembic command line: `-x url=...`
    engine = create_engine(context.get_x_argument(as_dictionary=True)["url"], poolclass=NullPool)
    with engine.connect() as own:
        own.execute(text("SET lock_timeout = '60s'"))
        own.commit()
        _run(own)
