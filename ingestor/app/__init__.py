"""The composition root: the one package that names concrete adapters.

`wiring` builds the daemon, `database` finds or starts its Postgres, `checks` tries the whole path once, and
`status` reads what the daemon has left in the database.
"""

from ingestor.adapters.systemd import Notifier
from ingestor.app.database import (
    database,
    database_beside,
    schema_at,
    upgrade_configured,
    upgrade_database,
)
from ingestor.app.picture import Picture
from ingestor.app.wiring import Ingestor

__all__ = [
    "Ingestor",
    "Notifier",
    "Picture",
    "database",
    "database_beside",
    "schema_at",
    "upgrade_configured",
    "upgrade_database",
]
