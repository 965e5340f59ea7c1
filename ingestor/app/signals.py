"""Pauses and resumes an account, by a row that its daemon reads with each heartbeat."""

from ingestor.adapters.postgres.reading import rows
from ingestor.adapters.postgres.signals import Signal, send
from ingestor.app.database import connect
from ingestor.config import Settings
from ingestor.domain.errors import BadConfiguration

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
        if send(connection, settings.account, word):
            return
        known = ", ".join(
            name for (name,) in rows(connection, "SELECT account FROM ingest.account ORDER BY 1")
        )
    raise BadConfiguration(
        f"this database has no account {settings.account}\n"
        f"why: no daemon has run for it; the database has {known or 'no account'}\n"
        "fix: check the setting account"
    )
