"""The private schema: records, their outcomes, the state, and gaps."""

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    # The driver treats a single % as a placeholder.
    op.get_bind().exec_driver_sql(Path(__file__).with_suffix(".sql").read_text().replace("%", "%%"))


def downgrade() -> None:
    # The schema itself is kept, because it contains the table of revisions.
    op.execute("""
        DO $$ DECLARE name text; BEGIN
            FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'ingest' AND tablename <> 'alembic_version'
            LOOP EXECUTE format('DROP TABLE IF EXISTS ingest.%I CASCADE', name); END LOOP;
        END $$
    """)
    op.execute("DROP FUNCTION ingest.require, ingest.add_months, ingest.empty_month")
