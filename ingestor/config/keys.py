"""The list of settings as data, read from the model: key, variable, kind, range and default of each."""

import ast
import inspect
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass
from difflib import SequenceMatcher
from functools import cache, reduce
from itertools import pairwise
from typing import Any, get_type_hints

from ingestor.config.model import Settings
from ingestor.config.values import Kind, one_of

PREFIX = "INGESTOR_"

_ALIKE = 0.65


@dataclass(frozen=True, slots=True)
class Key:
    """One setting."""

    name: str
    """As in TOML: `hub.url`, or `account` at the top."""
    kind: Kind
    default: Any
    example: str | None

    @property
    def variable(self) -> str:
        """As in the environment: `INGESTOR_HUB__URL`."""
        return PREFIX + self.name.replace(".", "__").upper()

    @property
    def description(self) -> str:
        section, _, leaf = self.name.rpartition(".")
        return _descriptions(sections()[section] if section else Settings)[leaf]


@cache
def sections() -> dict[str, type]:
    """The class of each section."""
    return {each.name: type(each.default) for each in fields(Settings) if is_dataclass(each.default)}


@cache
def all_keys() -> dict[str, Key]:
    """Every setting by its dotted name, in the order of the model."""
    keys = {}
    for section, model in {"": Settings, **sections()}.items():
        hints = get_type_hints(model, include_extras=True)
        for each in fields(model):
            if each.name in sections():
                continue
            known = getattr(hints[each.name], "__metadata__", None)
            kind, *example = known or [one_of(hints[each.name])]
            name = f"{section}.{each.name}" if section else each.name
            keys[name] = Key(name, kind, each.default, *(example or [None]))
    return keys


def value_of(settings: Settings, key: Key) -> Any:
    return reduce(getattr, key.name.split("."), settings)


def differing(one: Settings, other: Settings) -> list[str]:
    """The names of the settings that have another value in the other one."""
    return [name for name, key in all_keys().items() if value_of(one, key) != value_of(other, key)]


@cache
def _descriptions(model: type) -> dict[str, str]:
    """The text below each field, on one line. Only the source has it."""
    texts: dict[str, str] = {}
    body = ast.parse(inspect.getsource(model)).body[0].body  # type: ignore[attr-defined] # a class has one
    for above, below in pairwise(body):
        match above, below:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(ast.Constant(str(text))):
                texts[name] = " ".join(text.split())
            case _:
                pass
    return texts


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The dotted name that `word` was probably meant to be.

    Section and key are compared separately: otherwise two names with the same long section would be similar
    whatever the key.
    """

    def likeness(name: str) -> float:
        pairs = list(zip(word.split("."), name.split("."), strict=False))
        if word.count(".") != name.count("."):  # a separator is missing or too many, as in INGESTOR_HUB_URL
            pairs = [(word.replace(".", "_"), name.replace(".", "_"))]
        return min(SequenceMatcher(None, *pair).ratio() for pair in pairs)

    best = max(names, key=likeness)
    return best if likeness(best) >= _ALIKE else None
