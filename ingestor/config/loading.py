"""Builds `Settings` from all sources by precedence, and reports every mistake at once."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from typing_extensions import override

from ingestor.config.keys import PREFIX, all_keys, nearest, sections
from ingestor.config.model import Settings, contradictions
from ingestor.config.sources import Given, find_file, from_environment, from_file
from ingestor.config.values import Refused
from ingestor.domain.errors import BadConfiguration

DEFAULT = "default"
ALIASES = {"database.dsn": "database.url"}
"""Other names of settings."""
_LOOKS_LIKE_A_KEY = {"api_key", "apikey", "key", "token", "access_token", "secret", "hercle_api_key"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each of them came from."""

    settings: Settings
    origins: Mapping[str, str]
    """Dotted key -> origin, for the keys that are not default."""
    file: Path | None

    def origin(self, key: str) -> str:
        return self.origins.get(key, DEFAULT)


class Problem(NamedTuple):
    """One mistake: which key, where it was set, how to correct it."""

    key: str
    what: str
    origin: str
    fix: str

    @override
    def __str__(self) -> str:
        return f"{self.key}: {self.what}\n  why: set by {self.origin}\n  fix: {self.fix}"


class WrongSettings(BadConfiguration):
    """All mistakes in the settings, one by one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        head = [f"{len(problems)} settings are wrong"] if len(problems) > 1 else []
        super().__init__("\n".join([*head, *(f"{'- ' if head else ''}{problem}" for problem in problems)]))
        self.problems = tuple(problems)


def load(
    config_file: Path | None = None,
    overrides: Mapping[str, object] = MappingProxyType({}),
    environ: Mapping[str, str] = os.environ,
) -> Loaded:
    """Read all sources: overrides > environment > file > defaults.

    Args:
        config_file: the file to read instead of the usual places.
        overrides: dotted key -> value, from flags.
        environ: instead of this process's environment.

    Raises:
        WrongSettings: with every mistake that was found, each with its origin and its fix.
        BadConfiguration: the file cannot be read.
    """
    file = find_file(environ, config_file)
    given_by_flags = [Given(name, value, "command line", name) for name, value in overrides.items()]
    chosen: dict[str, Given] = {}
    problems: list[Problem] = []
    for source in (from_file(file) if file else (), from_environment(environ), given_by_flags):
        known, wrong = _known_and_wrong(source)
        chosen |= known
        problems += wrong
    values: dict[str, Any] = {}
    for name, given in chosen.items():
        key = all_keys()[name]
        try:
            values[name] = key.kind.read(given.value)
        except Refused as refused:
            fix = refused.fix or f"expected: {key.kind.words}; {_default(name)}"
            problems.append(Problem(name, refused.what, given.origin, fix))
    settings = _settings(values)
    origins = {name: given.origin for name, given in chosen.items()}
    if len(values) == len(chosen):  # otherwise it could contradict a default that replaces a rejected value
        for name, what, fix in contradictions(settings):
            problems.append(Problem(name, what, origins.get(name, DEFAULT), fix))
    if problems:
        raise WrongSettings(problems)
    return Loaded(settings, origins, file)


def _known_and_wrong(source: Iterable[Given]) -> tuple[dict[str, Given], list[Problem]]:
    """The values of one source under their canonical keys, and what cannot be used."""
    known: dict[str, Given] = {}
    problems: list[Problem] = []
    for given in source:
        name = ALIASES.get(given.name, given.name)
        if name not in all_keys():
            problems.append(_unknown(given))
        elif name in known:
            fix = f"keep one of {known[name].spelling} and {given.spelling}"
            problems.append(Problem(name, "is set twice, under two names", given.origin, fix))
        elif given.value == "":
            fix = f"give a value or remove it; {_default(name)}"
            problems.append(Problem(name, "is empty", given.origin, fix))
        else:
            known[name] = given
    return known, problems


def _default(name: str) -> str:
    default = all_keys()[name].default
    return "there is no default" if default is None else f"the default is {default!s}"


def _unknown(given: Given) -> Problem:
    what = "this setting does not exist"
    if given.name in sections():
        what, fix = "is a section, not a value", f"write [{given.name}] and its keys below it"
    elif given.name.rpartition(".")[2].lower() in _LOOKS_LIKE_A_KEY:
        what = "secrets are not settings"
        fix = (
            "remove it, and renew the secret if it was a real one; the key comes from the systemd "
            "credential hercle_api_key, from hub.key_file, or from the variable HERCLE_API_KEY"
        )
    elif guess := _guess(given):
        fix = f"did you mean {guess}?"
    else:
        fix = "remove it; `ingestor config example` lists all settings"
    return Problem(given.name or given.spelling, what, given.origin, fix)


def _guess(given: Given) -> str | None:
    """The setting that was probably meant, in the spelling of the source."""
    keys = all_keys()
    if given.spelling.upper().startswith(PREFIX):
        name = nearest(given.spelling[len(PREFIX) :].lower().replace("__", "."), keys)
        return None if name is None else keys[name].variable
    # A right name in the wrong section is a likelier mistake than a similar name in the right one.
    leaf = given.name.rpartition(".")[2]
    same_name = [name for name in keys if name.rpartition(".")[2] == leaf]
    return nearest(given.name, same_name or keys) or next(iter(same_name), None)


def _settings(values: Mapping[str, Any]) -> Settings:
    tree: dict[str, dict[str, Any]] = {name: {} for name in ("", *sections())}
    for name, value in values.items():
        section, _, leaf = name.rpartition(".")
        tree[section][leaf] = value
    return Settings(**tree[""], **{name: model(**tree[name]) for name, model in sections().items()})
