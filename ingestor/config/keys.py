"""The list of settings as data, read off the model: key, variable, kind, range and default of each."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, get_args

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from ingestor.config.model import Section, Settings

PREFIX = "INGESTOR_"

_ALIKE = 0.65
_KINDS = {SecretStr: "PostgreSQL URL", Path: "absolute path", int: "whole number", float: "number"}


@dataclass(frozen=True, slots=True)
class Key:
    """One setting."""

    name: str
    """As in TOML: `hub.url`, or `account` at the top."""
    field: FieldInfo

    @property
    def variable(self) -> str:
        """As in the environment: `INGESTOR_HUB__URL`."""
        return PREFIX + self.name.replace(".", "__").upper()

    @property
    def default(self) -> Any:
        return self.field.default

    @property
    def description(self) -> str:
        return " ".join((self.field.description or "").split())

    @property
    def kind(self) -> str:
        """What the value must be, in words, with its range."""
        inner: Any = next(iter(get_args(self.field.annotation)), self.field.annotation)  # of `X | None`
        kind: type = getattr(inner, "__origin__", inner)  # of `Annotated[X, …]`
        if issubclass(kind, Enum):
            return "one of " + ", ".join(str(member.value) for member in kind)
        limits: dict[str, Any] = {}
        for item in self.field.metadata:
            if getattr(item, "pattern", None):
                return f"text that matches {item.pattern}"
            limits |= {name: getattr(item, name) for name in ("gt", "ge", "le") if hasattr(item, name)}
        low = f" above {limits['gt']}" if "gt" in limits else f" of at least {limits.get('ge')}"
        return _KINDS.get(kind, "URL") + (f"{low} and at most {limits['le']:_}" if limits else "")


def sections() -> dict[str, type[Section]]:
    fields = Settings.model_fields.items()
    return {name: type(field.default) for name, field in fields if isinstance(field.default, Section)}


@cache
def all_keys() -> dict[str, Key]:
    """Every setting by its dotted name, in the order of the model."""
    fields = {name: field for name, field in Settings.model_fields.items() if name not in sections()}
    for section, model in sections().items():
        fields |= {f"{section}.{name}": field for name, field in model.model_fields.items()}
    return {name: Key(name, field) for name, field in fields.items()}


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The dotted name that `word` was probably meant to be.

    Section and key are compared each for itself: a long section that two names share would make them alike
    whatever the key.
    """

    def likeness(name: str) -> float:
        pairs = list(zip(word.split("."), name.split("."), strict=False))
        if word.count(".") != name.count("."):  # a separator is missing or too many, as in INGESTOR_HUB_URL
            pairs = [(word.replace(".", "_"), name.replace(".", "_"))]
        return min(SequenceMatcher(None, *pair).ratio() for pair in pairs)

    best = max(names, key=likeness)
    return best if likeness(best) >= _ALIKE else None
