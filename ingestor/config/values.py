"""Kinds of values that settings are made of, and the refusals that say how to do better."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

MIB = 1024 * 1024

_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_PASSWORD_IN_AUTHORITY = re.compile(r"(?<=://)([^/?#@:]*):([^/?#@]*)@")
_PASSWORD_IN_QUERY = re.compile(r"(?<=[?&])((?:ssl)?password)=[^&#]*", re.IGNORECASE)
MASK = "********"


def refusal(what: str, fix: str, key: str | None = None) -> PydanticCustomError:
    """An error that carries its own fix; `key` names the culprit where the validator saw a whole section."""
    return PydanticCustomError("refused", "{what}", {"what": what, "fix": fix, "key": key})


def _absolute(path: Path) -> Path:
    path = path.expanduser() if str(path).startswith("~") else path
    if not path.is_absolute():
        raise refusal("the path is relative, and a service has no working directory", "give the whole path")
    return path


def is_loopback(host: str | None) -> bool:
    """Whether traffic to this host name or address literal stays on the machine."""
    if host is None:
        return False
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _hub_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise refusal("this is not a URL", "give the hub's address, e.g. https://host/path/v1") from None
    if parts.scheme not in {"https", "wss", "http", "ws"} or not host:
        raise refusal("this is not an https or wss URL", "give the hub's address, e.g. https://host/path/v1")
    if parts.scheme in {"http", "ws"} and not is_loopback(host):
        raise refusal(
            f"{parts.scheme} would send the key unencrypted to {host}",
            "use https or wss; plain text is only for 127.0.0.1, ::1 and localhost",
        )
    if parts.query or parts.fragment or parts.username or parts.password:
        raise refusal(
            "the address holds a user, a query or a fragment",
            "give scheme, host and path only; the key has a place of its own (hub.key_file)",
        )
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
        raise refusal("the address holds white space or control characters", "remove them")
    return url.rstrip("/")


def _database_url(secret: SecretStr) -> SecretStr:
    url = secret.get_secret_value()
    scheme, separator, rest = url.partition("://")
    example = "postgresql://user@host:5432/ingestor, or postgresql:///ingestor?host=/run/postgresql"
    if not separator or scheme not in _DATABASE_SCHEMES:
        raise refusal("this is not a PostgreSQL URL", f"write it like {example}")
    try:
        parts = urlsplit(f"postgresql://{rest}")
        readable = parts.port is None or parts.port > 0
    except ValueError:
        parts, readable = urlsplit(""), False
    # A raw / ? # @ in a password would move the end of the host, and part of the password into plain sight.
    if not readable or rest.count("@") > (1 if "@" in parts.netloc else 0):
        raise refusal(
            "user, password, host or port of the URL cannot be told apart",
            f"write it like {example}, with special characters of the password %-encoded",
        )
    if re.search(r"[?&]password=", rest, re.IGNORECASE):
        raise refusal(
            "the password stands among the URL's options",
            "write it as user:password@host, or better use database.password_file",
        )
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
        raise refusal("the URL holds white space or control characters", "remove or %-encode them")
    return SecretStr(f"postgresql+psycopg://{rest}")


def mask_url(url: str) -> str:
    """The same URL with every password in it replaced."""
    url = _PASSWORD_IN_AUTHORITY.sub(rf"\1:{MASK}@", url)
    return _PASSWORD_IN_QUERY.sub(rf"\1={MASK}", url)


def url_has_password(url: str) -> bool:
    return mask_url(url) != url


def url_with_password(url: str, password: str) -> str:
    """`url` with this password, already %-encoded, in place of whatever it held."""
    scheme, _, rest = url.partition("://")
    authority_end = min((rest.find(mark) for mark in "/?#" if mark in rest), default=len(rest))
    authority, tail = rest[:authority_end], rest[authority_end:]
    login, at, host = authority.rpartition("@")
    user = login.partition(":")[0] if at else ""
    return f"{scheme}://{user}:{password}@{host}{tail}"


AccountName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
HubUrl = Annotated[str, AfterValidator(_hub_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Bytes = Annotated[int, Field(ge=1024, le=1024 * MIB)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
