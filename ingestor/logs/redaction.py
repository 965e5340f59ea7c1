"""The secrets of this process, which no log line may contain."""

from ingestor.domain.redaction import Redactor

_of_this_process = Redactor()


def register_secret(value: str) -> str:
    """Mask this value, in plain and encoded, whole and in pieces, in all that is logged from now on.

    Returns:
        The value.
    """
    _of_this_process.register(value)
    return value


def redact(text: str) -> str:
    """`text` without any registered secret."""
    return _of_this_process.redact(text)
