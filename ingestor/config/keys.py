"""The list of settings as data, read off the model: key, variable, kind, range and default of each."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, EnumType
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from ingestor.config.model import Section, Settings

PREFIX = "INGESTOR_"

_ALIKE = 0.65
_WORDS = {SecretStr: "PostgreSQL URL", Path: "absolute path", int: "whole number", float: "number"}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting."""

    path: tuple[str, ...]
    """("hub", "url"), or ("account",) at the top."""
    field: FieldInfo

    @property
    def name(self) -> str:
        """As in TOML: `hub.url`."""
        return ".".join(self.path)

    @property
    def variable(self) -> str:
        """As in the environment: `INGESTOR_HUB__URL`."""
        return PREFIX + "__".join(self.path).upper()

    @property
    def default(self) -> Any:
        return self.field.default

    @property
    def description(self) -> str:
        return self.field.description or ""

    @property
    def _type(self) -> Any:
        alternatives = [kind for kind in get_args(self.field.annotation) if kind is not type(None)]
        return _bare(alternatives[0] if alternatives else self.field.annotation)

    @property
    def secret(self) -> bool:
        return self._type is SecretStr

    @property
    def kind(self) -> str:
        """What the value must be, in words, with its range."""
        kind = self._type
        if isinstance(kind, EnumType):
            members: list[Enum] = list(kind.__members__.values())
            return "one of " + ", ".join(str(member.value) for member in members)
        if kind in _WORDS:
            return _WORDS[kind] + self._range()
        pattern = next((m.pattern for m in self.field.metadata if getattr(m, "pattern", None)), None)
        return f"text that matches {pattern}" if pattern else "URL"

    def _range(self) -> str:
        bounds: dict[str, Any] = {}
        for item in self.field.metadata:
            bounds |= {name: getattr(item, name) for name in ("gt", "ge", "le") if hasattr(item, name)}
        if "le" not in bounds:
            return ""
        low = f" above {bounds['gt']}" if "gt" in bounds else f" of at least {bounds['ge']}"
        return f"{low} and at most {bounds['le']:_}"


def _bare(kind: Any) -> Any:
    """The class inside `Annotated[…]`."""
    return getattr(kind, "__origin__", kind)


@cache
def all_keys() -> dict[str, Key]:
    """Every setting by its dotted name, in the order of the model."""
    keys: dict[str, Key] = {}
    for path, field in _walk(Settings, ()):
        key = Key(path, field)
        keys[key.name] = key
    return keys


def sections() -> dict[str, type[Section]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section)
    }


def _walk(model: type[BaseModel], path: tuple[str, ...]) -> Iterable[tuple[tuple[str, ...], FieldInfo]]:
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _walk(kind, (*path, name))
        else:
            yield (*path, name), field


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The dotted name among `words` that `word` was probably meant to be."""
    likeness, best = max(((_likeness(word, each), each) for each in words), default=(0.0, None))
    return best if likeness >= _ALIKE else None


def _likeness(one: str, other: str) -> float:
    """From 0 to 1. Section and key are compared each for itself: a long section that two names share would
    make them alike whatever the key."""
    parts, others = one.split("."), other.split(".")
    if len(parts) != len(others):  # a separator is missing or too many, as in INGESTOR_HUB_URL
        parts, others = ["_".join(parts)], ["_".join(others)]
    return min(difflib.SequenceMatcher(None, *pair).ratio() for pair in zip(parts, others, strict=True))
