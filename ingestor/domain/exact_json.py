"""JSON read without losing or inventing anything.

The standard reader turns numbers into floats, keeps the last of two equal keys, and follows nesting until the
stack ends. Here numbers stay the text they were, an object remembers that a key stood twice, and depth is
measured before anything is built.
"""

import json
import re

import msgspec

from ingestor.domain.events import Reason
from ingestor.domain.refusal import Refused


class Number(msgspec.Struct, frozen=True, gc=False):
    """A JSON number, not yet believed. Also `NaN` and `Infinity`, which some writers take for JSON."""

    lexeme: str


class Object(dict[str, object]):
    """A JSON object; `repeated` is a key that stands in it more than once."""

    __slots__ = ("repeated",)

    def __init__(self, members: list[tuple[str, object]]) -> None:
        super().__init__(members)
        self.repeated = None if len(self) == len(members) else _first_repeated(members)


def _first_repeated(members: list[tuple[str, object]]) -> str:
    seen: set[str] = set()
    return next(key for key, _ in members if key in seen or seen.add(key))  # type: ignore[func-returns-value]


_DECODER = json.JSONDecoder(
    object_pairs_hook=Object, parse_float=Number, parse_int=Number, parse_constant=Number
)
_STRING_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}]', re.DOTALL)
"""The closing quote is optional so that an unended string is passed over once, not once per character."""


def read(text: str, depth: int) -> object:
    """The one JSON value in `text`: Object, list, str, Number, bool or None.

    Raises:
        Refused: not JSON, or nested deeper than `depth`.
    """
    if _is_deeper(text, depth):
        raise Refused(Reason.TOO_DEEP, f"nested deeper than {depth} levels")
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise Refused(Reason.NOT_JSON, f"{error.msg} at character {error.pos} of {len(text)}") from None


def _is_deeper(text: str, depth: int) -> bool:
    if text.count("[") + text.count("{") <= depth:
        return False
    level = 0
    for match in _STRING_OR_BRACKET.finditer(text):
        first = text[match.start()]
        if first in "[{":
            level += 1
            if level > depth:
                return True
        elif first in "]}":
            level -= 1
    return False


def repeated_key(value: object) -> str | None:
    """The first key that stands twice in one object, anywhere in `value`; None if there is none."""
    inner: list[object] = []
    if isinstance(value, Object):
        if value.repeated is not None:
            return value.repeated
        inner = list(value.values())
    elif isinstance(value, list):
        inner = value
    return next((key for each in inner if (key := repeated_key(each)) is not None), None)
