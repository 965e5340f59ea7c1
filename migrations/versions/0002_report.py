"""The contract for analysts: views over the private schema, with a comment on every column."""

from pathlib import Path

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for file in sorted((Path(__file__).parent.parent / "report").glob("*.sql")):
        op.get_bind().exec_driver_sql(file.read_text())


def downgrade() -> None:
    op.execute("DROP SCHEMA report CASCADE")
