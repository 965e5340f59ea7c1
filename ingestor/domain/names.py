"""Which foreign texts we can keep as names: those that Postgres `text` can hold, within a length."""

from ingestor.domain.events import Reason
from ingestor.domain.refusal import Refused, shown


def is_storable(text: str) -> bool:
    """Whether `text` is free of NUL and of lone surrogates, the two things `text` columns refuse."""
    return "\0" not in text and (text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text))


def name(value: object, where: str, max_bytes: int) -> str:
    """`value` as a name, exactly as received: marks, emoji, SQL and escapes are data.

    Raises:
        Refused: not text; or empty, longer than `max_bytes` in UTF-8, or not storable.
    """
    if not isinstance(value, str):
        raise Refused(Reason.WRONG_TYPE, f"{where} is not a string")
    if not value:
        raise Refused(Reason.BAD_NAME, f"{where} is empty")
    if not is_storable(value):
        raise Refused(Reason.BAD_NAME, f"{where} {shown(value)} has a NUL or a lone surrogate")
    if len(value) > max_bytes or len(value.encode()) > max_bytes:
        raise Refused(Reason.BAD_NAME, f"{where} {shown(value)} is longer than {max_bytes} bytes")
    return value
