"""The database of the settings: the operator's server, or a private one that the daemon starts."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

from ingestor.config.model import Settings
from ingestor.config.secrets import SecretSource, database_password
from ingestor.config.values import bad, mask_url, url_with_password


@dataclass(frozen=True, slots=True)
class ExternalDatabase:
    """The operator's server."""

    _bare: str = field(repr=False)
    _password: SecretSource | None = None

    @property
    def url(self) -> str:
        """`postgresql://…`, with the password, if any, as it is now: it may be rotated on disk.

        Raises:
            BadConfiguration: the password can no longer be read.
        """
        if self._password is None:
            return self._bare
        return url_with_password(self._bare, quote(self._password.read(), safe=""))

    def describe(self) -> str:
        """The URL without passwords; fit for logs."""
        return mask_url(self.url)


@dataclass(frozen=True, slots=True)
class EmbeddedDatabase:
    """A private Postgres below this directory."""

    directory: Path

    def describe(self) -> str:
        return f"embedded Postgres in {self.directory}"


def require_database(settings: Settings) -> None:
    """Raises BadConfiguration if the settings name no database."""
    database = settings.database
    if database.url is None and database.embedded_directory is None:
        raise bad(
            "database.url is not set",
            "there is no default, because the data must go to a database of your choice",
            'set it, e.g. url = "postgresql:///ingestor?host=/run/postgresql" below [database]; '
            "to try without a database, run `ingestor demo`",
        )


def database_target(
    settings: Settings, environ: Mapping[str, str] = os.environ
) -> ExternalDatabase | EmbeddedDatabase:
    """Which database to use.

    Raises:
        BadConfiguration: none is given, or the password is unusable.
    """
    require_database(settings)
    database = settings.database
    if database.embedded_directory is not None:
        return EmbeddedDatabase(database.embedded_directory)
    assert database.url is not None  # noqa: S101 - required above
    return ExternalDatabase(database.url.text, database_password(settings, environ))
