"""What can be read about an account without disturbing the process that ingests it."""

import psycopg
from sqlalchemy.exc import DBAPIError

from ingestor.adapters.postgres.engine import DatabaseTiming, make_engine
from ingestor.adapters.postgres.failures import at_connect, at_write
from ingestor.adapters.postgres.queries import (
    AccountStatus,
    AccountTotals,
    account_status,
    account_totals,
)
from ingestor.app.database import database_beside
from ingestor.config import Settings
from ingestor.domain.errors import Transient

__all__ = ["AccountStatus", "AccountTotals", "status", "totals_at"]


def status(settings: Settings) -> AccountStatus:
    """Where the account stands, whether or not its daemon runs.

    Raises:
        Transient: the database cannot be reached.
        SchemaMismatch: it has no schema of ours.
    """
    with database_beside(settings) as url:
        engine = make_engine(url, DatabaseTiming())
        try:
            return account_status(engine, settings.account)
        except DBAPIError as error:
            raise _told(error) from None
        finally:
            engine.dispose()


def totals_at(url: str, account: str) -> AccountTotals:
    """Whole-table counts of an account; for small databases."""
    engine = make_engine(url, DatabaseTiming())
    try:
        return account_totals(engine, account)
    finally:
        engine.dispose()


def _told(error: DBAPIError) -> Exception:
    cause = error.orig
    if isinstance(cause, psycopg.OperationalError) and cause.sqlstate is None:
        return at_connect(cause)
    return at_write(cause, broken=False) if cause is not None else Transient(str(error))
