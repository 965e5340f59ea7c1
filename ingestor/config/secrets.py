"""Sources of secrets. A source shows its place, never its content.

It is read again each time: a secret that was rotated on disk is used at the next connect.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ingestor.config.model import Settings
from ingestor.config.values import bad
from ingestor.domain.errors import BadConfiguration

KEY_CREDENTIAL = "hercle_api_key"
PASSWORD_CREDENTIAL = "database_password"  # noqa: S105 - the name of a file, not a password
KEY_VARIABLE = "HERCLE_API_KEY"
_KEY = "Hercle API key"
_WIDEST_MODE = 0o640
_MAX_BYTES = 16 * 1024


@dataclass(frozen=True, slots=True)
class SecretSource:
    """One place that holds a secret."""

    what: str
    """`Hercle API key` or `database password`."""
    where: str
    """`systemd credential …`, `file …`, `environment variable …`; fit for logs."""
    _held: Path | str = field(repr=False)
    """The file, or the secret as text."""
    _mode: int = _WIDEST_MODE
    """The most permissive mode that is accepted. The mode of a credential is decided by systemd."""

    def read(self) -> str:
        """The secret as it is now, without surrounding white space.

        Raises:
            BadConfiguration: it does not exist, is empty, may be read by too many, or is not one line of
            text.
        """
        text = (self._content(self._held) if isinstance(self._held, Path) else self._held).strip()
        if not text:
            raise self._bad("is empty", "contains nothing", "write the secret there")
        if self.what == _KEY and not all("!" <= character <= "~" for character in text):
            fix = "write only the key there, on one line, without a word like Bearer before it"
            raise self._bad("is not valid", "contains white space, lines or characters outside ASCII", fix)
        return text

    def _content(self, path: Path) -> str:
        try:
            with path.open("rb") as file:
                mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
                content = file.read(_MAX_BYTES + 1)
        except OSError as error:
            fix = "create the file, readable for the user that runs ingestor"
            raise self._bad("cannot be read", f"{path}: {error.strerror}", fix) from error
        if mode & ~self._mode:
            why = f"has mode {mode:04o}; at most {self._mode:04o} is accepted"
            fix = f"chmod 0600 {path}, and consider renewing the secret"
            raise self._bad("is refused, because too many users may read it", why, fix)
        try:
            if len(content) <= _MAX_BYTES:
                return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            pass
        why = f"is more than {_MAX_BYTES} bytes, or not UTF-8 text"
        raise self._bad("is not valid", why, "check the path; the file must contain only the secret")

    def _bad(self, what: str, why: str, fix: str) -> BadConfiguration:
        return bad(f"the {self.what} {what}", f"{self.where} {why}", fix)


def resolve_key(settings: Settings, environ: Mapping[str, str] = os.environ) -> SecretSource:
    """The hub key's source: systemd credential, else `hub.key_file`, else HERCLE_API_KEY.

    Raises:
        BadConfiguration: there is none, or the first that exists cannot be used.
    """
    source = _in_file(_KEY, KEY_CREDENTIAL, "hub.key_file", settings.hub.key_file, environ)
    if source is None and KEY_VARIABLE in environ:
        source = SecretSource(_KEY, f"environment variable {KEY_VARIABLE}", environ[KEY_VARIABLE])
    if source is None:
        raise bad(
            "there is no Hercle API key",
            f"no systemd credential {KEY_CREDENTIAL}, no hub.key_file, no variable {KEY_VARIABLE}",
            f"for a unit write it into /etc/ingestor/ACCOUNT.key, which LoadCredential={KEY_CREDENTIAL} "
            f"passes on; or use hub.key_file, or {KEY_VARIABLE} when you run it by hand",
        )
    source.read()
    return source


def database_password(settings: Settings, environ: Mapping[str, str] = os.environ) -> SecretSource | None:
    """The database password's source: systemd credential, else `database.password_file`, else the URL.

    Returns:
        None where there is none, as with peer or certificate authentication.

    Raises:
        BadConfiguration: the first that exists cannot be used.
    """
    database, what = settings.database, "database password"
    source = _in_file(what, PASSWORD_CREDENTIAL, "database.password_file", database.password_file, environ)
    if source is None and database.url is not None:
        inside = urlsplit(database.url.text).password
        source = SecretSource(what, "database.url", unquote(inside)) if inside else None
    if source is not None:
        source.read()
    return source


def _in_file(
    what: str, credential: str, key: str, path: Path | None, environ: Mapping[str, str]
) -> SecretSource | None:
    directory = environ.get("CREDENTIALS_DIRECTORY")
    if directory and (given := Path(directory) / credential).exists():
        return SecretSource(what, f"systemd credential {credential}", given, 0o777)
    return None if path is None else SecretSource(what, f"file {path} ({key})", path)
