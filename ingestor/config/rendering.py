"""Settings as text: the annotated example, the present values, and one setting explained."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from textwrap import wrap
from typing import Any

from ingestor.config.keys import Key, all_keys, nearest, sections, value_of
from ingestor.config.loading import ALIASES, Loaded
from ingestor.config.model import Settings
from ingestor.config.values import Secret, bad, mask_url

Value = str | int | float | None

_WIDTH = 100

_HEAD = """\
# Settings of ingestor, with their defaults; written by `ingestor config example`.
# Variables INGESTOR_* (hub.url is INGESTOR_HUB__URL) and --set on the command line override this file.
# The Hercle API key does not belong here: see hub.key_file.
"""


def example() -> str:
    """A complete, annotated TOML file with the defaults."""

    def entry(name: str, key: Key) -> str:
        shown = f"{name} = {_toml(key.default)}"
        if key.example is not None:
            shown = f"# {name} = {_toml(key.example)}"
        kind = key.kind.words
        return "\n" + _comment(f"{key.description} ({kind[:1].upper()}{kind[1:]}.)") + shown

    return _HEAD + _document(entry, lambda section: "\n\n" + _comment(sections()[section].__doc__ or ""))


def show(loaded: Loaded) -> str:
    """The present values as TOML, each with its origin; passwords masked."""

    def entry(name: str, key: Key) -> str:
        value = value_of(loaded.settings, key)
        origin = _one_line(loaded.origin(key.name))
        return f"# {name} is not set" if value is None else f"{name} = {_toml(value)}  # {origin}"

    head = f"# file: {loaded.file or 'none'}\n# hash of the values: {fingerprint(loaded.settings)}\n"
    return head + _document(entry, lambda _: "\n")


def fingerprint(settings: Settings) -> str:
    """Twelve hexadecimal digits that differ if any setting differs; passwords are not included."""
    values = {key.name: _toml(value_of(settings, key)) for key in all_keys().values()}
    return sha256(json.dumps(values).encode()).hexdigest()[:12]


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting with its value and description; passwords masked."""

    name: str
    """As in TOML: `hub.url`, or `account` at the top."""
    value: Value
    """The present value; null: not set."""
    origin: str
    """Where it was set: a file and line, a variable, the command line, or `default`."""
    kind: str
    """Description of allowed values."""
    default: Value
    variable: str
    """Its environment variable."""
    description: str


def settings_in_force(loaded: Loaded) -> list[Setting]:
    """Every setting, in the order of the example."""
    return [_setting(loaded, key) for key in all_keys().values()]


def setting(loaded: Loaded, name: str) -> Setting:
    """One setting.

    Raises:
        BadConfiguration: there is no such setting.
    """
    key = all_keys().get(ALIASES.get(name, name))
    if key is None:
        guess = nearest(name, all_keys())
        raise bad(
            f"there is no setting {name}",
            "it is not in the list of `ingestor config example`",
            f"did you mean {guess}?" if guess else "choose one of that list",
        )
    return _setting(loaded, key)


def _setting(loaded: Loaded, key: Key) -> Setting:
    return Setting(
        key.name,
        _plain(value_of(loaded.settings, key)),
        loaded.origin(key.name),
        key.kind.words,
        _plain(key.default),
        key.variable,
        key.description,
    )


def explain(loaded: Loaded, name: str) -> str:
    """The same as text. Raises as `setting`."""
    found = setting(loaded, name)
    rows = {
        "value": _toml(found.value),
        "origin": _one_line(found.origin),
        "kind": found.kind,
        "default": _toml(found.default),
        "variable": found.variable,
    }
    lines = [found.name, *wrap(found.description, _WIDTH, initial_indent="  ", subsequent_indent="  ")]
    return "\n".join([*lines, *(f"  {label:<9} {text}" for label, text in rows.items())]) + "\n"


def _document(entry: Callable[[str, Key], str], head: Callable[[str], str]) -> str:
    """All keys, each below its section: TOML."""
    text, current = "", ""
    for key in all_keys().values():
        section, _, name = key.name.rpartition(".")
        if section != current:
            text += f"{head(section)}[{section}]\n"
        text += entry(name, key) + "\n"
        current = section
    return text


def _plain(value: Any) -> Value:
    """As a JSON value, without a password."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, Secret):
        return mask_url(value.text)
    return str(value.value if isinstance(value, Enum) else value)


def _toml(value: Any) -> str:
    value = _plain(value)
    if value is None:
        return "not set"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, int):
        return f"{value:_}" if value >= 10_000 else str(value)
    # TOML's basic strings are JSON's, except that TOML requires DEL to be escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _comment(text: str) -> str:
    lines = wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)
    return "\n".join(lines) + "\n"


def _one_line(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1]
