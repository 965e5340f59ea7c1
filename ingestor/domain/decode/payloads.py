"""Reads the `data` of the two subjects that become state, field by field. It defines what is accepted.

Unknown fields are accepted, because the vendor has added some before. A known field of the wrong type is not:
amounts must not be guessed, so the event is quarantined. An optional field may be absent or null.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from ingestor.domain.decode.errors import DecodeError, shown
from ingestor.domain.decode.exact_json import Number, Object
from ingestor.domain.events import Asset, BalanceSnapshot, Pair, PairList, Reason
from ingestor.domain.limits import MAX_SEQUENCE, Limits

_Named = TypeVar("_Named", Asset, Pair)
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_NUMBER = re.compile(r"-?((?:0|[1-9][0-9]*)(?:\.[0-9]+)?)(?:[eE][+-]?[0-9]{1,6})?")
"""JSON's grammar. `Decimal` alone would also accept `NaN`, ` 1_0 `, Arabic digits and `1e400000`."""


def balances(data: object, limits: Limits) -> BalanceSnapshot:
    """`account.balances.snapshot`. A list of exactly one account is accepted too, as in the REST sample.

    Raises:
        DecodeError: with the field's place in its detail.
    """
    if isinstance(data, list) and len(data) == 1:
        (data,) = data
    if not isinstance(data, Object):
        raise DecodeError(Reason.WRONG_TYPE, "data is not one balance object")
    return BalanceSnapshot(
        _name(data, "userId", limits.user_id_bytes),
        _sequence(data.get("sequence")),
        _all_named(_required(data, "assets"), "assets", limits.assets, _asset, limits),
        _deleted(data.get("deleted")),
        _base_currency(data, limits),
        _optional_amount(data, "totalCurrentExposure", limits),
        _optional_amount(data, "totalMaxExposure", limits),
    )


def pairs(data: object, limits: Limits) -> PairList:
    """`execution.pairs`. An empty list is a valid answer.

    Raises:
        DecodeError: with the field's place in its detail.
    """
    return PairList(_all_named(data, "pairs", limits.pairs, _pair, limits))


def _asset(own: str, fields: Object, limits: Limits) -> Asset:
    return Asset(
        own,
        _amount(fields, "available", limits),
        _amount(fields, "allocated", limits),
        _optional_amount(fields, "currentExposure", limits),
        _optional_amount(fields, "maxExposure", limits),
    )


def _pair(own: str, fields: Object, limits: Limits) -> Pair:
    for size in ("minSize", "maxSize"):
        _required(fields, size)  # null is allowed, absence is not
    return Pair(
        own,
        _name(fields, "asset", limits.name_bytes),
        _name(fields, "currency", limits.name_bytes),
        _optional_amount(fields, "minSize", limits),
        _optional_amount(fields, "maxSize", limits),
        _optional_amount(fields, "minQuoteSize", limits),
        _optional_amount(fields, "maxQuoteSize", limits),
    )


def _all_named(
    values: object, what: str, at_most: int, build: Callable[[str, Object, Limits], _Named], limits: Limits
) -> tuple[_Named, ...]:
    """Build each object of a list; names must be unique. Null is an empty list."""
    if values is None:
        return ()
    if not isinstance(values, list):
        raise DecodeError(Reason.WRONG_TYPE, f"{what} is not a list")
    if len(values) > at_most:
        raise DecodeError(Reason.TOO_MANY, f"{len(values)} {what}; the limit is {at_most}")
    built: dict[str, _Named] = {}
    for index, fields in enumerate(values):
        place = f"{what}[{index}]"
        if not isinstance(fields, Object):
            raise DecodeError(Reason.WRONG_TYPE, f"{place} is not an object")
        try:
            own = _name(fields, "name", limits.name_bytes)
        except DecodeError as error:
            raise error.inside(place) from None
        if own in built:
            raise DecodeError(Reason.DUPLICATE_NAME, f"{place} {shown(own)} appears twice")
        try:
            built[own] = build(own, fields, limits)
        except DecodeError as error:
            raise error.inside(f"{place} {shown(own)}") from None
    return tuple(built.values())


def _required(fields: Object, key: str) -> object:
    if key not in fields:
        raise DecodeError(Reason.MISSING_FIELD, f"{key} is missing")
    return fields[key]


def _optional_amount(fields: Object, key: str, limits: Limits) -> Decimal | None:
    return None if fields.get(key) is None else _amount(fields, key, limits)


def _amount(fields: Object, key: str, limits: Limits) -> Decimal:
    """A JSON number, or a string by the same grammar. `20.0` stays `20.0` and `-0` stays `-0`; nothing is
    rounded, whatever the decimal context says."""
    value = _required(fields, key)
    lexeme = value.lexeme if isinstance(value, Number) else value
    longest = limits.digits + limits.exponent + 16  # 16: sign, point, exponent
    if isinstance(lexeme, str) and len(lexeme) <= longest and (match := _NUMBER.fullmatch(lexeme)):
        exact = Decimal(lexeme)
        significant = match[1].replace(".", "").lstrip("0")
        if len(significant) <= limits.digits and abs(exact.adjusted()) <= limits.exponent:
            return exact
    raise DecodeError(
        Reason.BAD_NUMBER,
        f"{key} is not a number of at most {limits.digits} digits and exponent ±{limits.exponent}",
    )


def _sequence(value: object) -> int:
    """Only a JSON integer is accepted: `5.0`, `"5"` or `true` mean that the vendor has changed the field."""
    if isinstance(value, Number) and _INTEGER.fullmatch(value.lexeme):
        sequence = int(value.lexeme)
        if 0 <= sequence <= MAX_SEQUENCE:
            return sequence
    raise DecodeError(Reason.BAD_SEQUENCE, "sequence is not an integer from 0 to 2^63-1")


def _deleted(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise DecodeError(Reason.WRONG_TYPE, "deleted is not a boolean")


def _base_currency(fields: Object, limits: Limits) -> str | None:
    """The vendor writes "" for absent texts, so that means no currency here too."""
    value = fields.get("baseCurrency")
    return None if value is None or value == "" else _name(fields, "baseCurrency", limits.name_bytes)


def is_storable(text: str) -> bool:
    """Whether `text` has no NUL and no lone surrogate, which columns of type `text` refuse."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


def _name(fields: Object, key: str, max_bytes: int) -> str:
    """A text exactly as received: marks, emoji, SQL and escapes are data."""
    value = _required(fields, key)
    if not isinstance(value, str):
        raise DecodeError(Reason.WRONG_TYPE, f"{key} is not a string")
    if not value:
        raise DecodeError(Reason.BAD_NAME, f"{key} is empty")
    if not is_storable(value):
        raise DecodeError(Reason.BAD_NAME, f"{key} {shown(value)} has a NUL or a lone surrogate")
    if len(value) > max_bytes or len(value.encode()) > max_bytes:
        raise DecodeError(Reason.BAD_NAME, f"{key} {shown(value)} is longer than {max_bytes} bytes")
    return value
