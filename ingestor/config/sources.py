"""Where values come from: the command line, the environment, one TOML file. Each keeps its origin."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ingestor.config.keys import PREFIX
from ingestor.domain.errors import BadConfiguration

FILE_NAME = "ingestor.toml"
CONFIG_VARIABLE = "INGESTOR_CONFIG"
"""Names the TOML file; the one INGESTOR_ variable that is not a setting."""

_TABLE = re.compile(r"^\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?$")
_ASSIGNMENT = re.compile(r"""^\s*([A-Za-z0-9_."' -]+?)\s*=""")
_MAX_FILE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """One value somebody gave."""

    path: tuple[str, ...]
    value: Any
    origin: str
    """`/etc/ingestor/ingestor.toml:7`, `environment variable INGESTOR_ACCOUNT`, `command line`."""
    spelling: str
    """The name as its author wrote it, for suggestions."""


def from_overrides(overrides: Mapping[str, object]) -> Iterator[Given]:
    for name, value in overrides.items():
        yield Given(tuple(name.split(".")), value, "command line", name)


def from_environment(environ: Mapping[str, str]) -> Iterator[Given]:
    for variable, value in sorted(environ.items()):
        if not variable.upper().startswith(PREFIX) or variable == CONFIG_VARIABLE:
            continue
        known = variable == variable.upper()
        path = tuple(variable[len(PREFIX) :].lower().split("__")) if known else (variable,)
        yield Given(path, value, f"environment variable {variable}", variable)


def find_file(environ: Mapping[str, str], explicit: Path | None) -> Path | None:
    """The TOML file to read: the one asked for, else the first that exists, else none.

    Raises:
        BadConfiguration: the file that was asked for does not exist.
    """
    if explicit is None and environ.get(CONFIG_VARIABLE):
        explicit = Path(environ[CONFIG_VARIABLE])
    if explicit is not None:
        if not explicit.is_file():
            raise BadConfiguration(
                f"there is no configuration file {explicit}\n"
                "why: it was asked for by --config or by INGESTOR_CONFIG\n"
                "fix: correct the path, or write a file with `ingestor config example`"
            )
        return explicit
    return next((path for path in _usual_places(environ) if path.is_file()), None)


def _usual_places(environ: Mapping[str, str]) -> Iterator[Path]:
    for directory in filter(None, environ.get("CONFIGURATION_DIRECTORY", "").split(":")):
        yield Path(directory) / FILE_NAME
    yield Path("/etc/ingestor") / FILE_NAME
    if environ.get("XDG_CONFIG_HOME"):
        yield Path(environ["XDG_CONFIG_HOME"]) / "ingestor" / FILE_NAME
    elif environ.get("HOME"):
        yield Path(environ["HOME"]) / ".config" / "ingestor" / FILE_NAME


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
        raise BadConfiguration(
            f"the configuration file {path} cannot be read\n"
            f"why: {error.strerror}\n"
            "fix: make it readable for the user that runs ingestor"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        # The decoder may quote a piece of the file, and the file may hold a password: only the place.
        place = re.search(r"at line (\d+), column (\d+)", str(error))
        where = f"{path}:{place[1]}, column {place[2]}" if place else f"{path}"
        raise BadConfiguration(
            f"the configuration file is not valid TOML\n"
            f"why: the text stops making sense at {where}\n"
            "fix: correct that line; `ingestor config example` prints a valid file"
        ) from None
    lines = _lines_of_keys(text)
    for keys, value in _leaves(document, ()):
        line = lines.get(keys)
        yield Given(keys, value, f"{path}:{line}" if line else f"{path}", ".".join(keys))


def _leaves(table: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _lines_of_keys(text: str) -> dict[tuple[str, ...], int]:
    """The line of each assignment; tomllib keeps none. A multi-line string may fool it, and only it."""
    lines: dict[tuple[str, ...], int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _parts(header[1])
        elif assignment := _ASSIGNMENT.match(line):
            lines.setdefault((*table, *_parts(assignment[1])), number)
    return lines


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
