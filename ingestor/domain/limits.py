"""Limits for decoding. What exceeds them is stored as bytes and rejected, never shortened."""

from dataclasses import dataclass

MAX_SEQUENCE = 2**63 - 1
"""The maximum of a `bigint`. The vendor states no width."""

MAX_REVISION = 2**31 - 1
"""The maximum of an `integer`. The driver would silently send a larger number as another one."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one record. The vendor documents none; these are far above everything its pages show."""

    record_bytes: int = 1_048_576
    depth: int = 32
    """Nested arrays and objects, counted from 0 again inside a `data` that is a string."""
    arguments: int = 100
    """Envelopes in one record. Each may become a dead letter and a gap; a batch has thousands of records."""
    assets: int = 5_000
    pairs: int = 20_000
    name_bytes: int = 64
    """Of an asset, pair or currency, in UTF-8."""
    user_id_bytes: int = 128
    subject_chars: int = 200
    client_id_chars: int = 64
    """Ours have 36; those of other clients may be longer."""
    digits: int = 40
    """Significant digits of an amount, trailing zeros included, which are stored too."""
    exponent: int = 40
    """The place value of an amount's first digit is at least 10^-exponent and at most 10^exponent."""


DEFAULT_LIMITS = Limits()
