"""Settings: read once, checked as a whole, frozen; each value remembers where it came from."""

from ingestor.config.keys import differing
from ingestor.config.loading import Loaded, WrongSettings, load
from ingestor.config.model import Environment, Hub, Inbox, Metrics, Negotiate, Settings, Snapshots
from ingestor.config.secrets import database_password, resolve_key
from ingestor.config.targets import EmbeddedDatabase, ExternalDatabase, database_target, require_database

__all__ = [
    "EmbeddedDatabase",
    "Environment",
    "ExternalDatabase",
    "Hub",
    "Inbox",
    "Loaded",
    "Metrics",
    "Negotiate",
    "Settings",
    "Snapshots",
    "WrongSettings",
    "database_password",
    "database_target",
    "differing",
    "load",
    "require_database",
    "resolve_key",
]
