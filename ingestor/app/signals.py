"""Pauses and resumes an account, by a row that its daemon reads with each heartbeat."""

from ingestor.adapters.postgres.signals import Signal, send
from ingestor.app.database import connect, require_account
from ingestor.config import Settings

__all__ = ["READ_WITHIN_SECONDS", "Signal", "signal"]

READ_WITHIN_SECONDS = 5
"""A daemon whose database answers reads the newest row within this time."""


def signal(settings: Settings, word: Signal) -> None:
    """Store a signal for the account's daemon, whether or not one runs. It is in effect until the next one.

    Raises:
        Transient: the database cannot be reached.
        BadConfiguration: the database has no such account, or the role may not do this.
    """
    with connect(settings) as connection:
        require_account(connection, settings.account, "ingest")
        send(connection, settings.account, word)
