"""The `data` of the two subjects we project, read field by field. This is the definition of what we accept.

Unknown fields are fine: the vendor added some before. A known field of the wrong kind is not: better to hold
an event back, with its bytes, than to guess at money. An optional field may be absent or null.
"""

import re
from collections.abc import Iterator
from decimal import Decimal

from ingestor.domain.amounts import amount
from ingestor.domain.events import Asset, BalanceSnapshot, Pair, PairList, Reason
from ingestor.domain.exact_json import Number, Object
from ingestor.domain.limits import MAX_SEQUENCE, Limits
from ingestor.domain.names import name
from ingestor.domain.refusal import Refused, shown

_INTEGER = re.compile(r"-?[0-9]{1,19}")


def balances(data: object, limits: Limits) -> BalanceSnapshot:
    """`account.balances.snapshot`. A list of exactly one account is taken too, as in the REST sample.

    Raises:
        Refused: with the field's path in its detail.
    """
    if isinstance(data, list) and len(data) == 1:
        (data,) = data
    if not isinstance(data, Object):
        raise Refused(Reason.WRONG_TYPE, "data is not one balance object")
    user_id = name(_required(data, "userId"), "userId", limits.user_id_bytes)
    sequence = _sequence(data.get("sequence"))
    return BalanceSnapshot(
        user_id,
        sequence,
        tuple(_assets(data, limits)),
        _deleted(data),
        _base_currency(data, limits),
        _optional_amount(data, "totalCurrentExposure", "", limits),
        _optional_amount(data, "totalMaxExposure", "", limits),
    )


def pairs(data: object, limits: Limits) -> PairList:
    """`execution.pairs`. An empty list is a valid answer.

    Raises:
        Refused: with the field's path in its detail.
    """
    if not isinstance(data, list):
        raise Refused(Reason.WRONG_TYPE, "data is not a list of pairs")
    return PairList(tuple(_pairs(data, limits)))


def _assets(account: Object, limits: Limits) -> Iterator[Asset]:
    for where, asset_name, fields in _named(_required(account, "assets"), "assets", limits.assets, limits):
        yield Asset(
            asset_name,
            _required_amount(fields, "available", where, limits),
            _required_amount(fields, "allocated", where, limits),
            _optional_amount(fields, "currentExposure", where, limits),
            _optional_amount(fields, "maxExposure", where, limits),
        )


def _pairs(data: list[object], limits: Limits) -> Iterator[Pair]:
    for where, pair_name, fields in _named(data, "pairs", limits.pairs, limits):
        for size in ("minSize", "maxSize"):
            _required(fields, size, where)  # null is an answer, silence is not
        yield Pair(
            pair_name,
            name(_required(fields, "asset", where), f"{where}asset", limits.name_bytes),
            name(_required(fields, "currency", where), f"{where}currency", limits.name_bytes),
            _optional_amount(fields, "minSize", where, limits),
            _optional_amount(fields, "maxSize", where, limits),
            _optional_amount(fields, "minQuoteSize", where, limits),
            _optional_amount(fields, "maxQuoteSize", where, limits),
        )


def _named(values: object, what: str, at_most: int, limits: Limits) -> Iterator[tuple[str, str, Object]]:
    """Each object of a list with its place (for details) and its name, which no other may have."""
    if not isinstance(values, list):
        raise Refused(Reason.WRONG_TYPE, f"{what} is not a list")
    if len(values) > at_most:
        raise Refused(Reason.TOO_MANY, f"{len(values)} {what}; the limit is {at_most}")
    seen: set[str] = set()
    for index, fields in enumerate(values):
        where = f"{what}[{index}] "
        if not isinstance(fields, Object):
            raise Refused(Reason.WRONG_TYPE, f"{where}is not an object")
        own = name(_required(fields, "name", where), f"{where}name", limits.name_bytes)
        if own in seen:
            raise Refused(Reason.DUPLICATE_NAME, f"{where}{shown(own)} stands twice")
        seen.add(own)
        yield f"{where}{shown(own)} ", own, fields


def _required(fields: Object, key: str, where: str = "") -> object:
    if key not in fields:
        raise Refused(Reason.MISSING_FIELD, f"{where}{key} is missing")
    return fields[key]


def _required_amount(fields: Object, key: str, where: str, limits: Limits) -> Decimal:
    return _amount(_required(fields, key, where), f"{where}{key}", limits)


def _optional_amount(fields: Object, key: str, where: str, limits: Limits) -> Decimal | None:
    value = fields.get(key)
    return None if value is None else _amount(value, f"{where}{key}", limits)


def _amount(value: object, where: str, limits: Limits) -> Decimal:
    lexeme = value.lexeme if isinstance(value, Number) else value
    exact = amount(lexeme, limits) if isinstance(lexeme, str) else None
    if exact is None:
        raise Refused(
            Reason.BAD_NUMBER,
            f"{where} is not a number of at most {limits.digits} digits and exponent ±{limits.exponent}",
        )
    return exact


def _sequence(value: object) -> int:
    """Only a JSON integer: `5.0`, `"5"` and `true` mean that the vendor changed what the field is."""
    if isinstance(value, Number) and _INTEGER.fullmatch(value.lexeme):
        sequence = int(value.lexeme)
        if 0 <= sequence <= MAX_SEQUENCE:
            return sequence
    raise Refused(Reason.BAD_SEQUENCE, "sequence is not an integer from 0 to 2^63-1")


def _deleted(account: Object) -> bool:
    value = account.get("deleted")
    if value is None or isinstance(value, bool):
        return bool(value)
    raise Refused(Reason.WRONG_TYPE, "deleted is not a boolean")


def _base_currency(account: Object, limits: Limits) -> str | None:
    """The vendor writes "" for absent texts; here too it can only mean that no currency is named."""
    value = account.get("baseCurrency")
    return None if value is None or value == "" else name(value, "baseCurrency", limits.name_bytes)
