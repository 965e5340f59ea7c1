"""The kinds of values that settings are made of, and errors that say how to do better."""

import ipaddress
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from ingestor.domain.errors import BadConfiguration

MIB = 1024 * 1024
MASK = "********"

_DATABASE_SCHEMES = ("postgresql", "postgres", "postgresql+psycopg")
_DATABASE_EXAMPLE = "postgresql://user@host:5432/ingestor, or postgresql:///ingestor?host=/run/postgresql"
_PASSWORD_IN_AUTHORITY = re.compile(r"(?<=://)([^/?#@:]*):([^/?#@]*)@")
_PASSWORD_IN_QUERY = re.compile(r"(?<=[?&])((?:ssl)?password)=[^&#]*", re.IGNORECASE)
_HOST_AND_PORT = re.compile(r"(\[[0-9A-Fa-f:.%]+\]|[^\[\]:]*)(?::([0-9]*))?")
_UNPRINTABLE = re.compile("[\x00-\x20\x7f]")


def refusal(what: str, fix: str) -> PydanticCustomError:
    """An error of one value that carries its own fix."""
    return PydanticCustomError("refused", "{what}", {"what": what, "fix": fix})


def bad(what: str, why: str, fix: str) -> BadConfiguration:
    """The error for what is no single setting's fault."""
    return BadConfiguration(f"{what}\nwhy: {why}\nfix: {fix}")


def _absolute(path: Path) -> Path:
    path = path.expanduser() if str(path).startswith("~") else path
    if not path.is_absolute():
        raise refusal("the path is relative, and a service has no working directory", "give the whole path")
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
        raise refusal("this is not an https or wss URL", "give the hub's address, e.g. https://host/path/v1")
    if parts.scheme in {"http", "ws"} and not _is_loopback(host):
        raise refusal(
            f"{parts.scheme} would send the key unencrypted to {host}",
            "use https or wss; plain text is only for 127.0.0.1, ::1 and localhost",
        )
    if parts.query or parts.fragment or parts.username or parts.password or _UNPRINTABLE.search(url):
        raise refusal(
            "the address holds a user, a query, a fragment or white space",
            "give scheme, host and path only; the key has a place of its own (hub.key_file)",
        )
    return url.rstrip("/")


def _database_url(secret: SecretStr) -> SecretStr:
    """The URL as SQLAlchemy and libpq both read it: several hosts move from the authority to the options."""
    scheme, separator, rest = secret.get_secret_value().partition("://")
    if not separator or scheme not in _DATABASE_SCHEMES:
        raise refusal("this is not a PostgreSQL URL", f"write it like {_DATABASE_EXAMPLE}")
    authority, path, options = _parts(rest)
    login, at, servers = authority.rpartition("@")
    hosts = [_HOST_AND_PORT.fullmatch(server) for server in servers.split(",")]
    # A raw / ? # @ in a password would move the end of the host, and part of the password into plain sight.
    if "@" in path + options or "@" in login or "#" in rest or not all(hosts):
        raise refusal(
            "user, password, host or port of the URL cannot be told apart",
            f"write it like {_DATABASE_EXAMPLE}, with special characters of the password %-encoded",
        )
    if re.search(r"[?&]password=", options, re.IGNORECASE):
        raise refusal(
            "the password stands among the URL's options",
            "write it as user:password@host, or better use database.password_file",
        )
    if _UNPRINTABLE.search(rest):
        raise refusal("the URL holds white space or control characters", "remove or %-encode them")
    if len(hosts) > 1:
        names, ports = zip(*((host[1].strip("[]"), host[2] or "") for host in hosts if host), strict=True)
        several = f"host={','.join(names)}" + (f"&port={','.join(ports)}" if any(ports) else "")
        rest = f"{login}{at}{path or '/'}{options}{'&' if options else '?'}{several}"
    return SecretStr(f"postgresql+psycopg://{rest}")


def _parts(rest: str) -> tuple[str, str, str]:
    """What stands behind `://`: authority, path with its slash, options with their question mark."""
    before, mark, options = rest.partition("?")
    authority, slash, path = before.partition("/")
    return authority, slash + path, mark + options


def mask_url(url: str) -> str:
    """The same URL for people: every password in it replaced, and without SQLAlchemy's name of the driver."""
    url = url.replace("postgresql+psycopg://", "postgresql://", 1)
    url = _PASSWORD_IN_AUTHORITY.sub(rf"\1:{MASK}@", url)
    return _PASSWORD_IN_QUERY.sub(rf"\1={MASK}", url)


def url_with_password(url: str, password: str) -> str:
    """`url` with this password, already %-encoded, in place of whatever it held."""
    scheme, _, rest = url.partition("://")
    authority, path, options = _parts(rest)
    login, _, host = authority.rpartition("@")
    return f"{scheme}://{login.partition(':')[0]}:{password}@{host}{path}{options}"


def _port(address: str) -> str:
    if int(address.rpartition(":")[2]) > 65_535:
        raise refusal("there is no such port", "choose one between 1024 and 65535")
    return address


AccountName = Annotated[str, Field(pattern=r"^[a-z0-9_-]{1,32}$")]
AbsolutePath = Annotated[Path, AfterValidator(_absolute)]
HubUrl = Annotated[str, AfterValidator(_hub_url)]
DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
LoopbackAddress = Annotated[
    str, Field(pattern=r"^(127(\.\d{1,3}){3}|localhost|\[::1\]):\d{1,5}$"), AfterValidator(_port)
]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Bytes = Annotated[int, Field(ge=1024, le=1024 * MIB)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
