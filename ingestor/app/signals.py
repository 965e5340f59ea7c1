"""Pausing an account and going on, by a row that its daemon reads with each heartbeat."""

from ingestor.adapters.postgres.reading import rows
from ingestor.adapters.postgres.signals import Signal, send
from ingestor.app.database import looking
from ingestor.config import Settings
from ingestor.domain.errors import BadConfiguration

__all__ = ["HEARD_WITHIN_SECONDS", "Signal", "signal"]

HEARD_WITHIN_SECONDS = 5
"""A daemon whose database answers reads the newest row so often."""


def signal(settings: Settings, word: Signal) -> None:
    """Store what the account's daemon is asked, whether or not one runs: it is remembered until the next.

    Raises:
        Transient: the database cannot be reached.
        BadConfiguration: the database does not know the account, or the role may not do this.
    """
    with looking(settings) as connection:
        if send(connection, settings.account, word):
            return
        known = ", ".join(
            name for (name,) in rows(connection, "SELECT account FROM ingest.account ORDER BY 1")
        )
    raise BadConfiguration(
        f"this database does not know the account {settings.account}\n"
        f"why: no daemon has run for it; the database holds {known or 'no account'}\n"
        "fix: check the setting account"
    )
