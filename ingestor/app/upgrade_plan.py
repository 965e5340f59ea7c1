"""`ingestor db plan`: the steps of a schema upgrade, and its locks."""

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.upgrade_plan import Blocks, UpgradePlan
from ingestor.app.database import connect
from ingestor.config import Settings
from ingestor.domain.errors import DeadlineCut

__all__ = ["Blocks", "UpgradePlan", "plan_upgrade"]

_MEASURING = DatabaseTiming(lock_seconds=1, statement_seconds=10, transaction_seconds=15)
"""Short, because others wait for the locked tables."""


def plan_upgrade(settings: Settings) -> UpgradePlan:
    """The steps and locks of an upgrade of the configured database, found by running it and rolling it back.

    Raises:
        Transient: the database cannot be reached, or is in use.
        SchemaMismatch: the schema is newer.
        BadConfiguration: the role may not upgrade.
    """
    from ingestor.adapters.postgres.upgrade_locks import measured_plan, not_measured  # noqa: PLC0415 - Alembic

    try:
        with connect(settings, _MEASURING) as connection:
            return measured_plan(connection, DatabaseClock())
    except DeadlineCut:
        raise not_measured("a step takes too long") from None
