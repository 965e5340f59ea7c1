"""`ingestor db plan`: what an upgrade of the schema would do, and lock."""

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.upgrade_plan import Blocks, UpgradePlan
from ingestor.app.database import database_beside, looking_at
from ingestor.config import Settings

__all__ = ["Blocks", "UpgradePlan", "plan_upgrade"]

_REHEARSAL = DatabaseTiming(lock_seconds=1, statement_seconds=10, transaction_seconds=15)
"""Short: whoever needs what is locked waits for as long."""


def plan_upgrade(settings: Settings) -> UpgradePlan:
    """What an upgrade of the configured database would do. It is tried and rolled back, with all its locks.

    Raises:
        Transient: the database cannot be reached, or is in use.
        SchemaMismatch: the schema is newer.
        BadConfiguration: the role may not upgrade.
    """
    from ingestor.adapters.postgres.rehearsal import rehearse  # noqa: PLC0415 - with all of Alembic

    with database_beside(settings) as url, looking_at(url, _REHEARSAL) as connection:
        return rehearse(connection, DatabaseClock())
