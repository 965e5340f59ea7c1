"""Values from the environment and one TOML file, each with its origin.

No library for settings is used: they do not record where a value came from, and ignore variables that they do
not know; operators need both.
"""

import os.path
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ingestor.config.keys import PREFIX
from ingestor.config.values import bad

FILE_NAME = "ingestor.toml"
CONFIG_VARIABLE = "INGESTOR_CONFIG"
"""Names the TOML file; the one INGESTOR_ variable that is not a setting."""

_MAX_FILE_BYTES = 1024 * 1024
_SERVICE_LINK = re.compile(
    r"INGESTOR_(\w+_)?"
    r"(SERVICE_(HOST|PORT(_\w+)?)=|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?=|PORT=(tcp|udp|sctp)://)"
)
"""Kubernetes gives every container the addresses of the services beside it, and one may be named `ingestor`
or `ingestor-db`."""


class Given(NamedTuple):
    """One value somebody gave."""

    name: str
    """Dotted, as in `hub.url`."""
    value: Any
    origin: str
    """`/etc/ingestor/ingestor.toml:7`, `environment variable INGESTOR_ACCOUNT`, `command line`."""
    spelling: str
    """The name as its author wrote it, for suggestions."""


def from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    for variable, value in sorted(environ.items()):
        if not variable.upper().startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        if not _SERVICE_LINK.match(f"{variable}={value}"):
            known = variable == variable.upper()
            name = variable[len(PREFIX) :].lower().replace("__", ".") if known else variable
            yield Given(name, value, f"environment variable {variable}", variable)


def find_file(environ: Mapping[str, str], explicit: Path | None) -> Path | None:
    """The TOML file to read: the given one, else the first that exists, else none.

    Raises:
        BadConfiguration: the given file does not exist.
    """
    if explicit is None and environ.get(CONFIG_VARIABLE):
        explicit = Path(environ[CONFIG_VARIABLE])
    if explicit is not None and not explicit.is_file():
        raise bad(
            f"there is no configuration file {explicit}",
            "--config or INGESTOR_CONFIG names it",
            "correct the path, or write a file with `ingestor config example`",
        )
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    places = [
        *environ.get("CONFIGURATION_DIRECTORY", "").split(":"),
        "/etc/ingestor",
        home and f"{home}/ingestor",
    ]
    usual = (Path(place) / FILE_NAME for place in places if place)
    # Not Path.is_file: where the home directory is another user's, as after `runuser -u`, that is an error.
    return explicit or next((path for path in usual if os.path.isfile(path)), None)  # noqa: PTH113


def from_file(path: Path) -> Iterator[Given]:
    """All values of a TOML file, each with its line.

    Raises:
        BadConfiguration: the file cannot be read or is not TOML.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_FILE_BYTES).decode("utf-8-sig")
        document = tomllib.loads(text)
    except OSError as error:
        fix = "make it readable for the user that runs ingestor"
        raise bad(f"the configuration file {path} cannot be read", str(error.strerror), fix) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # Only the place: the decoder may quote a part of the file, which may be a password.
        place = re.search(r"at line (\d+), column (\d+)", str(error))
        raise bad(
            "the configuration file is not valid TOML",
            f"the first error is at {path}" + (f":{place[1]}, column {place[2]}" if place else ""),
            "correct that line; `ingestor config example` prints a valid file",
        ) from None
    lines = _lines(text)
    for name, value in _leaves(document, ""):
        yield Given(name, value, f"{path}:{lines[name]}" if name in lines else f"{path}", name)


def _leaves(table: dict[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _lines(text: str) -> dict[str, int]:
    """The line of each assignment, which tomllib does not tell. Within a multi-line string it may be
    wrong."""
    lines: dict[str, int] = {}
    table = ""
    for number, line in enumerate(text.splitlines(), start=1):
        name, assigned, _ = line.partition("=")
        bare = re.sub(r"[\s\"']", "", name.partition("#")[0])
        if bare.startswith("["):
            table = bare.strip("[]") + "."
        elif assigned:
            lines.setdefault(table + bare, number)
    return lines
