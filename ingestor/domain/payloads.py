"""The `data` of the two subjects we project, read field by field. This is the definition of what we accept.

Unknown fields are fine: the vendor added some before. A known field of the wrong kind is not: better to hold
an event back, with its bytes, than to guess at money. An optional field may be absent or null.
"""

import re
from collections.abc import Callable
from decimal import Decimal
from typing import TypeVar

from ingestor.domain.amounts import amount
from ingestor.domain.events import Asset, BalanceSnapshot, Pair, PairList, Reason
from ingestor.domain.exact_json import Number, Object
from ingestor.domain.limits import MAX_SEQUENCE, Limits
from ingestor.domain.names import name
from ingestor.domain.refusal import Refused, shown

_Named = TypeVar("_Named", Asset, Pair)
_INTEGER = re.compile(r"-?[0-9]{1,19}")


def balances(data: object, limits: Limits) -> BalanceSnapshot:
    """`account.balances.snapshot`. A list of exactly one account is taken too, as in the REST sample.

    Raises:
        Refused: with the field's place in its detail.
    """
    if isinstance(data, list) and len(data) == 1:
        (data,) = data
    if not isinstance(data, Object):
        raise Refused(Reason.WRONG_TYPE, "data is not one balance object")
    return BalanceSnapshot(
        name(_required(data, "userId"), "userId", limits.user_id_bytes),
        _sequence(data.get("sequence")),
        _all_named(_required(data, "assets"), "assets", limits.assets, _asset, limits),
        _deleted(data.get("deleted")),
        _base_currency(data.get("baseCurrency"), limits),
        _optional_amount(data, "totalCurrentExposure", limits),
        _optional_amount(data, "totalMaxExposure", limits),
    )


def pairs(data: object, limits: Limits) -> PairList:
    """`execution.pairs`. An empty list is a valid answer.

    Raises:
        Refused: with the field's place in its detail.
    """
    return PairList(_all_named(data, "pairs", limits.pairs, _pair, limits))


def _asset(own: str, fields: Object, limits: Limits) -> Asset:
    return Asset(
        own,
        _amount(_required(fields, "available"), "available", limits),
        _amount(_required(fields, "allocated"), "allocated", limits),
        _optional_amount(fields, "currentExposure", limits),
        _optional_amount(fields, "maxExposure", limits),
    )


def _pair(own: str, fields: Object, limits: Limits) -> Pair:
    for size in ("minSize", "maxSize"):
        _required(fields, size)  # null is an answer, silence is not
    return Pair(
        own,
        name(_required(fields, "asset"), "asset", limits.name_bytes),
        name(_required(fields, "currency"), "currency", limits.name_bytes),
        _optional_amount(fields, "minSize", limits),
        _optional_amount(fields, "maxSize", limits),
        _optional_amount(fields, "minQuoteSize", limits),
        _optional_amount(fields, "maxQuoteSize", limits),
    )


def _all_named(
    values: object, what: str, at_most: int, build: Callable[[str, Object, Limits], _Named], limits: Limits
) -> tuple[_Named, ...]:
    """Build each object of a list, by its name, which no other may have."""
    if not isinstance(values, list):
        raise Refused(Reason.WRONG_TYPE, f"{what} is not a list")
    if len(values) > at_most:
        raise Refused(Reason.TOO_MANY, f"{len(values)} {what}; the limit is {at_most}")
    built: dict[str, _Named] = {}
    for index, fields in enumerate(values):
        place = f"{what}[{index}]"
        if not isinstance(fields, Object):
            raise Refused(Reason.WRONG_TYPE, f"{place} is not an object")
        try:
            own = name(_required(fields, "name"), "name", limits.name_bytes)
        except Refused as refusal:
            raise refusal.inside(place) from None
        if own in built:
            raise Refused(Reason.DUPLICATE_NAME, f"{place} {shown(own)} stands twice")
        try:
            built[own] = build(own, fields, limits)
        except Refused as refusal:
            raise refusal.inside(f"{place} {shown(own)}") from None
    return tuple(built.values())


def _required(fields: Object, key: str) -> object:
    if key not in fields:
        raise Refused(Reason.MISSING_FIELD, f"{key} is missing")
    return fields[key]


def _optional_amount(fields: Object, key: str, limits: Limits) -> Decimal | None:
    value = fields.get(key)
    return None if value is None else _amount(value, key, limits)


def _amount(value: object, key: str, limits: Limits) -> Decimal:
    lexeme = value.lexeme if isinstance(value, Number) else value
    exact = amount(lexeme, limits) if isinstance(lexeme, str) else None
    if exact is None:
        raise Refused(
            Reason.BAD_NUMBER,
            f"{key} is not a number of at most {limits.digits} digits and exponent ±{limits.exponent}",
        )
    return exact


def _sequence(value: object) -> int:
    """Only a JSON integer: `5.0`, `"5"` and `true` mean that the vendor changed what the field is."""
    if isinstance(value, Number) and _INTEGER.fullmatch(value.lexeme):
        sequence = int(value.lexeme)
        if 0 <= sequence <= MAX_SEQUENCE:
            return sequence
    raise Refused(Reason.BAD_SEQUENCE, "sequence is not an integer from 0 to 2^63-1")


def _deleted(value: object) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise Refused(Reason.WRONG_TYPE, "deleted is not a boolean")


def _base_currency(value: object, limits: Limits) -> str | None:
    """The vendor writes "" for absent texts; here too it can only mean that no currency is named."""
    return None if value is None or value == "" else name(value, "baseCurrency", limits.name_bytes)
