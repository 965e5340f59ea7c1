"""The kinds of values of settings, and the errors for values that are not of their kind."""

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import urlsplit

from ingestor.domain.errors import BadConfiguration

MIB = 1024 * 1024
MASK = "********"

_ACCOUNT = "^[a-z0-9_-]{1,32}$"
_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_DATABASE_EXAMPLE = "postgresql://user@host:5432/ingestor, or postgresql:///ingestor?host=/run/postgresql"
_PASSWORD_IN_AUTHORITY = re.compile(r"(?<=://)([^/?#@:]*):([^/?#@]*)@")
_PASSWORD_IN_QUERY = re.compile(r"(?<=[?&])((?:ssl)?password)=[^&#]*", re.IGNORECASE)
_HOST = r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:,]*)(:[0-9]*)?"
_HOSTS = re.compile(f"{_HOST}(,{_HOST})*")
_UNPRINTABLE = re.compile("[\x00-\x20\x7f]")


class Kind(NamedTuple):
    """What a value must be."""

    words: str
    """Description with the range, for error messages and the example file."""
    read: Callable[[Any], Any]
    """Converts a given value, from TOML or text, into this kind. Raises Refused."""


class Refused(Exception):
    """A value is not of its kind. The message never contains the value, which may be a misplaced secret."""

    def __init__(self, what: str, fix: str | None = None) -> None:
        """`fix`: what to do; None if kind and default tell enough."""
        super().__init__(what)
        self.what, self.fix = what, fix


@dataclass(frozen=True, repr=False)
class Secret:
    """A text whose repr does not show it."""

    text: str


def bad(what: str, why: str, fix: str) -> BadConfiguration:
    """An error that is not about the value of one setting."""
    return BadConfiguration(f"{what}\nwhy: {why}\nfix: {fix}")


def one_of(names: type[Enum]) -> Kind:
    """The value of one of the members."""

    def read(given: object) -> Enum:
        try:
            return names(given)
        except ValueError:
            raise Refused("the value is not one of the choices") from None

    return Kind("one of " + ", ".join(str(member.value) for member in names), read)


def _number(kind: type[int] | type[float], low: str, most: int) -> Kind:
    """`low` is `above N` or `of at least N`."""
    least = float(low.rpartition(" ")[2])
    words = f"{'whole number' if kind is int else 'number'} {low} and at most {most:_}"

    def read(given: Any) -> int | float:
        if isinstance(given, bool):  # would pass as the number 1
            raise Refused("the value is true or false, which no setting can be", "give a number")
        try:
            value = kind(given)
        except (TypeError, ValueError, OverflowError):
            raise Refused(f"the value is not a {words.partition(' ' + low)[0]}") from None
        if not (isinstance(given, str) or value == given):
            raise Refused("the value is not a whole number")
        if not least <= value <= most or (value == least and low.startswith("above")):
            raise Refused("the value is outside the range")
        return value

    return Kind(words, read)


def _text(words: str, read: Callable[[str], Any]) -> Kind:
    def read_text(given: object) -> Any:
        if not isinstance(given, str | Path):
            raise Refused("the value is not text")
        return read(str(given))

    return Kind(words, read_text)


def _account(text: str) -> str:
    if not re.fullmatch(_ACCOUNT, text):
        raise Refused("the value cannot be the name of an account")
    return text


def _absolute(text: str) -> Path:
    path = Path(text).expanduser() if text.startswith("~") else Path(text)
    if not path.is_absolute():
        raise Refused(
            "the path is relative, and a service has no working directory", "give the absolute path"
        )
    return path


def _is_loopback(host: str) -> bool:
    try:
        return host.lower() == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hub_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        parts, host = urlsplit(""), None
    if parts.scheme not in {"https", "wss", "http", "ws"} or not host:
        raise Refused(
            "the value is not an https or wss URL", "give the hub's address, e.g. https://host/path/v1"
        )
    if parts.scheme in {"http", "ws"} and not _is_loopback(host):
        raise Refused(
            f"{parts.scheme} would send the key unencrypted to {host}",
            "use https or wss; unencrypted addresses are allowed for 127.0.0.1, ::1 and localhost only",
        )
    if parts.query or parts.fragment or parts.username or parts.password or _UNPRINTABLE.search(url):
        raise Refused(
            "the address contains a user, a query, a fragment or white space",
            "give scheme, host and path only; the key belongs in hub.key_file",
        )
    return url.rstrip("/")


def _database_url(text: str) -> Secret:
    """The URL as libpq reads it, one host or several."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _DATABASE_SCHEMES:
        raise Refused("the value is not a PostgreSQL URL", f"write it like {_DATABASE_EXAMPLE}")
    authority, path, options = _parts(rest)
    login, _, servers = authority.rpartition("@")
    # An unencoded / ? # @ in a password would make a part of the password look like host or path, which is
    # shown.
    if "@" in path + options or "@" in login or "#" in rest or not _HOSTS.fullmatch(servers):
        raise Refused(
            "user, password, host and port of the URL are ambiguous",
            f"write it like {_DATABASE_EXAMPLE}, with special characters of the password %-encoded",
        )
    if re.search(r"[?&]password=", options, re.IGNORECASE):
        raise Refused(
            "the password is in the options of the URL",
            "write it as user:password@host, or better use database.password_file",
        )
    if _UNPRINTABLE.search(rest):
        raise Refused("the URL contains white space or control characters", "remove or %-encode them")
    return Secret(f"postgresql://{rest}")


def _parts(rest: str) -> tuple[str, str, str]:
    """Parts of the text after `://`: authority, path with its slash, options with their question mark."""
    before, mark, options = rest.partition("?")
    authority, slash, path = before.partition("/")
    return authority, slash + path, mark + options


def mask_url(url: str) -> str:
    """The URL with every password in it masked."""
    url = _PASSWORD_IN_AUTHORITY.sub(rf"\1:{MASK}@", url)
    return _PASSWORD_IN_QUERY.sub(rf"\1={MASK}", url)


def url_with_password(url: str, password: str) -> str:
    """`url` with this password, already %-encoded, instead of the one in it, if any."""
    scheme, _, rest = url.partition("://")
    authority, path, options = _parts(rest)
    login, _, host = authority.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}:{password}@{host}{path}{options}"


def _loopback_address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not (_is_loopback(host.strip("[]")) and re.fullmatch("[0-9]{1,5}", port) and int(port) <= 65_535):
        raise Refused("the value is not a loopback address with a port", "write it like 127.0.0.1:9464")
    return text


AccountName = Annotated[str, _text(f"text that matches {_ACCOUNT}", _account)]
AbsolutePath = Annotated[Path | None, _text("absolute path", _absolute)]
HubUrl = Annotated[str | None, _text("URL", _hub_url)]
LoopbackAddress = Annotated[str | None, _text("loopback address with a port", _loopback_address)]
DatabaseUrl = Annotated[Secret | None, _text("PostgreSQL URL", _database_url)]
Seconds = Annotated[float, _number(float, "above 0", 86_400)]
Days = Annotated[int | None, _number(int, "of at least 2", 36_500)]
PutTimeout = Annotated[float, _number(float, "of at least 0", 30)]
Factor = Annotated[float, _number(float, "of at least 1", 100)]
Share = Annotated[float, _number(float, "above 0", 1)]
Bytes = Annotated[int, _number(int, "of at least 1024", 1024 * MIB)]
Records = Annotated[int, _number(int, "of at least 1", 1_000_000)]
BatchRecords = Annotated[int, _number(int, "of at least 1", 10_000)]
Observations = Annotated[int, _number(int, "of at least 2", 10)]
EpochsAnHour = Annotated[int, _number(int, "of at least 1", 60)]
