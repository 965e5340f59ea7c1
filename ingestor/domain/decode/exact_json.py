"""JSON read without losing or inventing anything.

The standard reader turns numbers into floats, keeps the last of two equal keys, and follows nesting until the
stack ends. Here numbers stay the text they were, an object remembers that a key stood twice, and depth is
measured before anything is built.
"""

import json
from collections.abc import Iterable

import msgspec

from ingestor.domain.decode.errors import DecodeError
from ingestor.domain.events import Reason


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


def read(text: str, depth: int) -> object:
    """The one JSON value in `text`: Object, list, str, Number, bool or None.

    Raises:
        DecodeError: not JSON, or nested deeper than `depth`.
    """
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise DecodeError(Reason.NOT_JSON, f"{error.msg} at character {error.pos} of {len(text)}") from None
    except RecursionError:
        raise DecodeError(Reason.TOO_DEEP, "nested deeper than the reader can follow") from None
    brackets = text.count("[") + text.count("{")
    if brackets > depth and _is_deeper(value, depth):
        raise DecodeError(Reason.TOO_DEEP, f"nested deeper than {depth} levels")
    return value


def repeated_key(value: object) -> str | None:
    """A key that stands twice in one object, anywhere in `value`; None if there is none."""
    found = [value]
    for each in found:  # grows while it is walked
        if isinstance(each, Object) and each.repeated is not None:
            return each.repeated
        found.extend(_members(each))
    return None


def _is_deeper(value: object, depth: int) -> bool:
    level = [value]
    for _ in range(depth):
        level = [member for each in level for member in _members(each)]
    return any(isinstance(each, Object | list) for each in level)


def _members(value: object) -> Iterable[object]:
    if isinstance(value, Object):
        return value.values()
    return value if isinstance(value, list) else ()
