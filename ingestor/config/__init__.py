"""Settings: read once, checked as a whole, frozen; each value remembers where it came from."""

from ingestor.config.loading import Loaded, WrongSettings, load
from ingestor.config.model import (
    Database,
    Drain,
    Environment,
    Hub,
    Inbox,
    Log,
    LogFormat,
    LogLevel,
    Negotiate,
    Sequence,
    Settings,
    Snapshots,
    Writer,
)
from ingestor.config.secrets import KeySource, SecretSource, database_password, resolve_key
from ingestor.config.targets import EmbeddedDatabase, ExternalDatabase, database_target

__all__ = [
    "Database",
    "Drain",
    "EmbeddedDatabase",
    "Environment",
    "ExternalDatabase",
    "Hub",
    "Inbox",
    "KeySource",
    "Loaded",
    "Log",
    "LogFormat",
    "LogLevel",
    "Negotiate",
    "SecretSource",
    "Sequence",
    "Settings",
    "Snapshots",
    "Writer",
    "WrongSettings",
    "database_password",
    "database_target",
    "load",
    "resolve_key",
]
