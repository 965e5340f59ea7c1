"""JSON with the digits it was given.

A float would round what a .NET `decimal` writes in full (up to 29 significant digits, trailing zeros kept),
so amounts are `Decimal` here throughout, and floats are rejected.
"""

import json
from decimal import Decimal
from json.encoder import encode_basestring

Json = None | bool | int | Decimal | str | list["Json"] | dict[str, "Json"]


def dumps(value: Json) -> str:  # noqa: PLR0911 - one return for each kind of JSON value
    """Compact JSON text; a Decimal in plain notation with exactly its own digits.

    Raises TypeError for anything else (floats above all) and ValueError for a Decimal that is not finite.
    """
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return encode_basestring(value)
        case int():
            return str(value)
        case Decimal():
            if not value.is_finite():
                raise ValueError(f"not a JSON number: {value}")
            return format(value, "f")
        case list():
            return "[" + ",".join(map(dumps, value)) + "]"
        case dict():
            return (
                "{" + ",".join(f"{encode_basestring(key)}:{dumps(item)}" for key, item in value.items()) + "}"
            )
    raise TypeError(f"not JSON: {type(value).__name__}")


def loads(text: str | bytes) -> Json:
    """The reverse of `dumps`: every number with a fraction or exponent is a Decimal.

    Raises ValueError (JSON and UTF-8 errors are both of that kind), and RecursionError for an absurd depth.
    """
    value: Json = json.loads(text, parse_float=Decimal, parse_constant=_reject_constant)
    return value


def _reject_constant(name: str) -> Json:
    raise ValueError(f"not JSON: {name}")
