"""What can be read about an account without disturbing the process that ingests it."""

from ingestor.adapters.postgres.engine import DatabaseTiming, make_engine
from ingestor.adapters.postgres.failures import in_our_words
from ingestor.adapters.postgres.queries import (
    AccountStatus,
    AccountTotals,
    StreamStatus,
    account_status,
    account_totals,
)
from ingestor.app.database import database_beside
from ingestor.config import Settings

__all__ = ["AccountStatus", "AccountTotals", "StreamStatus", "status", "totals_at"]


def status(settings: Settings) -> AccountStatus:
    """Where the account stands, whether or not its daemon runs.

    Raises:
        Transient: the database cannot be reached.
        SchemaMismatch: it has no schema of ours.
    """
    with database_beside(settings) as url:
        engine = make_engine(url, DatabaseTiming())
        try:
            with in_our_words():
                return account_status(engine, settings.account)
        finally:
            engine.dispose()


def totals_at(url: str, account: str) -> AccountTotals:
    """Whole-table counts of an account; for small databases."""
    engine = make_engine(url, DatabaseTiming())
    try:
        return account_totals(engine, account)
    finally:
        engine.dispose()
