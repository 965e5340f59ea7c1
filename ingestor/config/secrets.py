"""Where secrets are read from. A source can say where it is, and never what it holds.

A source reads anew each time: a key that was rotated on disk is used at the next connect, without a restart.
"""

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ingestor.config.model import Settings
from ingestor.domain.errors import BadConfiguration

KEY_CREDENTIAL = "hercle_api_key"
PASSWORD_CREDENTIAL = "database_password"  # noqa: S105 - the name of a file, not a password
KEY_VARIABLE = "HERCLE_API_KEY"
_WIDEST_MODE = 0o640
_MAX_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class SecretSource:
    """One place that holds a secret."""

    what: str
    """`Hercle API key` or `database password`."""
    where: str
    """`systemd credential …`, `file …`, `environment variable …`."""
    _fetch: Callable[[], str]

    def read(self) -> str:
        """The secret as it is now, without surrounding white space.

        Raises:
            BadConfiguration: it is gone, empty, too open, or cannot be one line of text.
        """
        text = self._fetch().strip()
        if not text:
            raise BadConfiguration(
                f"the {self.what} is empty\nwhy: {self.where} holds nothing\nfix: put the secret there"
            )
        if self.what == "Hercle API key" and not all("!" <= character <= "~" for character in text):
            raise BadConfiguration(
                f"the {self.what} cannot be one\n"
                f"why: {self.where} holds white space, several lines or characters outside ASCII\n"
                "fix: put the bare key there, on one line, without a word like Bearer before it"
            )
        return text

    def describe(self) -> str:
        """Where the secret is read from; fit for logs."""
        return self.where


KeySource = SecretSource


def resolve_key(settings: Settings, environ: Mapping[str, str] | None = None) -> KeySource:
    """The hub key's source: systemd credential, else `hub.key_file`, else HERCLE_API_KEY.

    Raises:
        BadConfiguration: there is none, or the one that counts cannot be used.
    """
    environ = os.environ if environ is None else environ
    what = "Hercle API key"
    source = _credential(what, KEY_CREDENTIAL, environ)
    if source is None and settings.hub.key_file is not None:
        source = _file(what, "hub.key_file", settings.hub.key_file)
    if source is None and KEY_VARIABLE in environ:
        source = SecretSource(what, f"environment variable {KEY_VARIABLE}", lambda: environ[KEY_VARIABLE])
    if source is None:
        raise BadConfiguration(
            "there is no Hercle API key\n"
            f"why: no systemd credential {KEY_CREDENTIAL}, no hub.key_file, no variable {KEY_VARIABLE}\n"
            f"fix: LoadCredential={KEY_CREDENTIAL}:/etc/ingestor/{KEY_CREDENTIAL} in the unit, or "
            f"hub.key_file in the configuration, or {KEY_VARIABLE} for a try by hand"
        )
    source.read()
    return source


def database_password(settings: Settings, environ: Mapping[str, str] | None = None) -> SecretSource | None:
    """The database password's source: systemd credential, else `database.password_file`, else the URL.

    Returns:
        None where there is none, as with peer or certificate authentication.

    Raises:
        BadConfiguration: the one that counts cannot be used.
    """
    environ = os.environ if environ is None else environ
    what = "database password"
    source = _credential(what, PASSWORD_CREDENTIAL, environ)
    if source is None and settings.database.password_file is not None:
        source = _file(what, "database.password_file", settings.database.password_file)
    if source is None and settings.database.url is not None:
        inside = urlsplit(settings.database.url.get_secret_value()).password
        if inside:
            source = SecretSource(what, "database.url", lambda: unquote(inside))
    if source is not None:
        source.read()
    return source


def _credential(what: str, name: str, environ: Mapping[str, str]) -> SecretSource | None:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if not directory or not (path := Path(directory) / name).exists():
        return None
    # systemd made this file and decides who reads it; its mode is not ours to judge.
    return SecretSource(what, f"systemd credential {name}", lambda: _read(what, path, judge_mode=False))


def _file(what: str, key: str, path: Path) -> SecretSource:
    return SecretSource(what, f"file {path} ({key})", lambda: _read(what, path, judge_mode=True))


def _read(what: str, path: Path, *, judge_mode: bool) -> str:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        raise BadConfiguration(
            f"the {what} cannot be read\n"
            f"why: {path}: {error.strerror}\n"
            "fix: create the file, readable for the user that runs ingestor"
        ) from error
    mode = stat.S_IMODE(status.st_mode)
    if judge_mode and mode & ~_WIDEST_MODE:
        raise BadConfiguration(
            f"the {what} is refused, because too many may read it\n"
            f"why: {path} has mode {mode:04o}; at most {_WIDEST_MODE:04o} is accepted\n"
            f"fix: chmod 0600 {path}, and think of renewing the secret"
        )
    if len(content) > _MAX_BYTES:
        raise BadConfiguration(
            f"the {what} cannot be one\nwhy: {path} holds more than {_MAX_BYTES} bytes\nfix: check the path"
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadConfiguration(
            f"the {what} cannot be one\nwhy: {path} is not UTF-8 text\nfix: put the bare secret there"
        ) from None
