"""Text to `Decimal`, every digit kept or none taken.

The vendor's amounts are JSON numbers; numeric strings are taken too, by the same grammar. `Decimal` alone
would let in `NaN`, ` 1_0 ` and Arabic digits, and would take `1e400000`, which no table should have to spell.
"""

import re
from decimal import Decimal

from ingestor.domain.limits import Limits

_NUMBER = re.compile(r"-?((?:0|[1-9][0-9]*)(?:\.[0-9]+)?)(?:[eE][+-]?[0-9]{1,6})?")


def amount(lexeme: str, limits: Limits) -> Decimal | None:
    """The exact value of `lexeme`; None if it is not a JSON number or exceeds the limits.

    `20.0` stays `20.0` and `-0` stays `-0`; nothing is rounded, whatever the decimal context says.
    """
    if len(lexeme) > limits.digits + limits.exponent + 16:  # sign, point, exponent; and no work on megabytes
        return None
    match = _NUMBER.fullmatch(lexeme)
    if match is None:
        return None
    significant = match[1].replace(".", "").lstrip("0")
    value = Decimal(lexeme)
    return value if len(significant) <= limits.digits and abs(value.adjusted()) <= limits.exponent else None
