"""Reads JSON without loss.

The standard reader turns numbers into floats, keeps the last of two equal keys, and follows nesting until the
stack overflows. Here numbers remain text, an object records a repeated key, and depth is limited.
"""

import json
from collections import Counter
from collections.abc import Iterator

import msgspec

from ingestor.domain.decode.errors import DecodeError
from ingestor.domain.events import Reason


class Number(msgspec.Struct, frozen=True, gc=False):
    """A JSON number as text, not validated yet. Also `NaN` and `Infinity`, which some programs write."""

    lexeme: str


class Object(dict[str, object]):
    """A JSON object; `repeated` is a key that it contains more than once."""

    __slots__ = ("repeated",)

    def __init__(self, members: list[tuple[str, object]]) -> None:
        super().__init__(members)
        self.repeated: str | None = None
        if len(self) < len(members):
            ((self.repeated, _),) = Counter(key for key, _ in members).most_common(1)


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
        raise DecodeError(
            Reason.NOT_JSON, f"{error.msg.removesuffix(' at')} at character {error.pos} of {len(text)}"
        ) from None
    except RecursionError:
        raise DecodeError(Reason.TOO_DEEP, "nested deeper than the reader supports") from None
    brackets = text.count("[") + text.count("{")
    if brackets > depth and any(level > depth for level, _ in _containers(value)):
        raise DecodeError(Reason.TOO_DEEP, f"nested deeper than {depth} levels")
    return value


def repeated_key(value: object) -> str | None:
    """A key that is repeated in one object, anywhere in `value`; None if there is none."""
    for _, each in _containers(value):
        if isinstance(each, Object) and each.repeated is not None:
            return each.repeated
    return None


def _containers(value: object) -> Iterator[tuple[int, object]]:
    """Each object and list in `value`, from the outside in, with its level: the outermost has level 1."""
    level, members = 1, [value]
    while found := [each for each in members if isinstance(each, (dict, list))]:
        yield from ((level, each) for each in found)
        members = [member for each in found for member in (each.values() if isinstance(each, dict) else each)]
        level += 1
