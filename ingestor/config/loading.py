"""From what was given to `Settings`: strongest origin first, every mistake named at once."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from typing_extensions import override

from ingestor.config.keys import PREFIX, all_keys, nearest, sections
from ingestor.config.model import Settings
from ingestor.config.sources import Given, find_file, from_environment, from_file, from_overrides
from ingestor.domain.errors import BadConfiguration

DEFAULT = "default"
_ALIASES: dict[tuple[str, ...], tuple[str, ...]] = {("database", "dsn"): ("database", "url")}
_LOOKS_LIKE_A_KEY = {"api_key", "apikey", "key", "token", "access_token", "secret", "hercle_api_key"}


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings, and where each of them came from."""

    settings: Settings
    origins: Mapping[str, str]
    """Dotted key -> origin, for the keys that somebody gave."""
    file: Path | None

    def origin(self, key: str) -> str:
        return self.origins.get(key, DEFAULT)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: which key, where it was made, how to mend it."""

    key: str
    what: str
    origin: str
    fix: str

    @override
    def __str__(self) -> str:
        return f"{self.key}: {self.what}\n  why: set by {self.origin}\n  fix: {self.fix}"


class WrongSettings(BadConfiguration):
    """What the settings' authors have to mend, one by one."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(_tell(problems))
        self.problems = tuple(problems)


def load(
    config_file: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
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
    environ = os.environ if environ is None else environ
    file = find_file(environ, config_file)
    layers = [list(from_overrides(overrides or {})), list(from_environment(environ))]
    layers.append(list(from_file(file)) if file else [])

    chosen: dict[str, Given] = {}
    problems: list[Problem] = []
    for layer in layers:
        known, wrong = _sort_out(layer)
        problems += wrong
        chosen = known | chosen

    settings = None
    try:
        settings = Settings(**_tree(chosen.values()))
    except ValidationError as error:
        problems += [_explain(dict(item), chosen) for item in error.errors(include_url=False)]
    if problems or settings is None:
        raise WrongSettings(problems)
    return Loaded(settings, {name: given.origin for name, given in chosen.items()}, file)


def _sort_out(layer: Iterable[Given]) -> tuple[dict[str, Given], list[Problem]]:
    """The values of one source under their canonical keys, and what cannot be used."""
    known: dict[str, Given] = {}
    problems: list[Problem] = []
    for given in layer:
        name = ".".join(_ALIASES.get(given.path, given.path))
        if name not in all_keys():
            problems.append(_unknown(given))
        elif name in known:
            fix = f"keep one of {known[name].spelling} and {given.spelling}"
            problems.append(Problem(name, "is given twice, under two names", given.origin, fix))
        elif given.value == "":
            fix = f"give a value or remove it; the default is {all_keys()[name].default!s}"
            problems.append(Problem(name, "is empty", given.origin, fix))
        else:
            known[name] = given
    return known, problems


def _unknown(given: Given) -> Problem:
    name = ".".join(given.path)
    if name in sections():
        return Problem(
            name, "is a section, not a value", given.origin, f"write [{name}] and its keys below it"
        )
    if given.path[-1].lower() in _LOOKS_LIKE_A_KEY:
        fix = (
            "remove it, and treat it as seen by others if it was real; the key comes from the systemd "
            "credential hercle_api_key, from hub.key_file, or from the variable HERCLE_API_KEY"
        )
        return Problem(name, "secrets are not settings", given.origin, fix)
    guess = _guess(given)
    fix = f"did you mean {guess}?" if guess else "remove it; `ingestor config example` lists all settings"
    return Problem(name, "there is no such setting", given.origin, fix)


def _guess(given: Given) -> str | None:
    """The setting that was probably meant, spelt as its author would."""
    keys = all_keys()
    if given.spelling.upper().startswith(PREFIX):
        name = nearest(given.spelling[len(PREFIX) :].lower().replace("__", "."), keys)
        return None if name is None else keys[name].variable
    # A right name in the wrong section is the likelier slip than a similar word in the right one.
    same_name = [key.name for key in keys.values() if key.path[-1] == given.path[-1]]
    return nearest(".".join(given.path), same_name or keys) or next(iter(same_name), None)


def _tree(given: Iterable[Given]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for item in given:
        *parents, leaf = _ALIASES.get(item.path, item.path)
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = item.value
    return tree


def _explain(error: dict[str, Any], chosen: Mapping[str, Given]) -> Problem:
    """One of pydantic's findings in our words. The value is not repeated: it may be a secret put astray."""
    context = error.get("ctx", {})
    name = context.get("key") or ".".join(str(part) for part in error["loc"][:2])
    key = all_keys().get(name)
    origin = chosen[name].origin if name in chosen else DEFAULT
    fix = context.get("fix")
    if fix is None and key is not None:
        fix = f"expected: {key.kind}; the default is {key.default!s}"
    message = str(error["msg"])
    what = message[:1].lower() + message[1:]
    return Problem(name, what, origin, fix or "see `ingestor config example`")


def _tell(problems: Sequence[Problem]) -> str:
    if len(problems) == 1:
        return str(problems[0])
    return "\n".join([f"{len(problems)} settings are wrong", *(f"- {problem}" for problem in problems)])
