"""A hub record as it may be shown: without users and credentials."""

import re

from ingestor.domain.scrub import MASK, scrub
from ingestor.logs import redact

_USER = re.compile(r'(userId\\*"\s*:\s*)(?:\\*"[^"\\]*|[^\s,}"\\]+)', re.IGNORECASE)
"""The hub's user in a record, also where the record's data is a quoted text."""


def masked(raw: bytes) -> str:
    """Its text, at most 500 characters, without users and what looks like a credential, with unprintable
    characters escaped."""
    return cleaned(_USER.sub(rf"\1{MASK}", raw.decode("utf-8", "backslashreplace")))


def cleaned(text: str) -> str:
    """A text that may quote the hub, at most 500 characters, without secrets and what looks like one."""
    return scrub(redact(text))
