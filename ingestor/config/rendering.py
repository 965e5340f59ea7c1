"""Settings as text: the annotated example, the values in force, and one setting explained."""

import json
import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from ingestor.config.keys import Key, all_keys, nearest, sections
from ingestor.config.loading import Loaded
from ingestor.config.model import Settings
from ingestor.config.values import mask_url
from ingestor.domain.errors import BadConfiguration

_WIDTH = 100

_HEAD = """\
Settings of ingestor, with their defaults; written by `ingestor config example`.
Stronger than this file: INGESTOR_* variables (hub.url is INGESTOR_HUB__URL), and --set on the command line.
The Hercle API key is not in here: see hub.key_file.
"""


def example() -> str:
    """A complete, annotated TOML file that says nothing but the defaults."""
    lines = [f"# {line}" for line in _HEAD.splitlines()]
    for key in _by_section():
        if isinstance(key, str):
            lines += ["", "", *_comment(sections()[key].__doc__ or ""), f"[{key}]"]
            continue
        lines += ["", *_comment(f"{key.description} ({_sentence(key.kind)})")]
        if key.default is None:
            lines.append(f"# {key.path[-1]} = {_toml((key.field.examples or [''])[0])}")
        else:
            lines.append(f"{key.path[-1]} = {_toml(key.default)}")
    return "\n".join(lines) + "\n"


def show(loaded: Loaded) -> str:
    """The values in force as TOML, each with its origin; passwords masked."""
    lines = [f"# file: {loaded.file or 'none'}"]
    for key in _by_section():
        if isinstance(key, str):
            lines += ["", f"[{key}]"]
            continue
        value = value_of(loaded.settings, key)
        if value is None:
            lines.append(f"# {key.path[-1]} is not set")
        else:
            lines.append(f"{key.path[-1]} = {_toml(value)}  # {_one_line(loaded.origin(key.name))}")
    return "\n".join(lines) + "\n"


def explain(loaded: Loaded, name: str) -> str:
    """All there is to know about one setting.

    Raises:
        BadConfiguration: there is no such setting.
    """
    key = all_keys().get(name)
    if key is None:
        guess = nearest(name, all_keys())
        raise BadConfiguration(
            f"there is no setting {name}\n"
            "why: it is not in the list of `ingestor config example`\n"
            f"fix: {f'did you mean {guess}?' if guess else 'choose one of that list'}"
        )
    value = value_of(loaded.settings, key)
    rows = {
        "value": "not set" if value is None else _toml(value),
        "origin": _one_line(loaded.origin(name)),
        "kind": key.kind,
        "default": "not set" if key.default is None else _toml(key.default),
        "variable": key.variable,
    }
    lines = [name, *textwrap.wrap(key.description, _WIDTH, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join([*lines, *(f"  {label:<9} {text}" for label, text in rows.items())]) + "\n"


def value_of(settings: Settings, key: Key) -> Any:
    value: Any = settings
    for part in key.path:
        value = getattr(value, part)
    return value


def _by_section() -> Iterator[Key | str]:
    """All keys, with the name of each section before its first key."""
    current = ""
    for key in all_keys().values():
        section = key.path[0] if len(key.path) > 1 else ""
        if section != current:
            current = section
            yield section
        yield key


def _toml(value: Any) -> str:
    if isinstance(value, SecretStr):
        value = mask_url(value.get_secret_value())
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return f"{value:_}" if abs(value) >= 10_000 else str(value)
    if isinstance(value, Path):
        value = str(value)
    # TOML's basic strings are JSON's, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def _sentence(kind: str) -> str:
    return kind[:1].upper() + kind[1:] + "."


def _one_line(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
