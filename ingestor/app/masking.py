"""Masks users and credentials in hub records."""

import re

from ingestor.domain.scrub import MASK, scrub
from ingestor.logs import redact

_USER = re.compile(r'(userId\\*"\s*:\s*)(?:\\*"[^"\\]*|[^\s,}"\\]+)', re.IGNORECASE)
"""The hub's user in a record, also if the record's data is a quoted text."""


def masked(raw: bytes) -> str:
    """The record's text: at most 500 characters, users and what looks like a credential masked, unprintable
    characters escaped."""
    return cleaned(_USER.sub(rf"\1{MASK}", raw.decode("utf-8", "backslashreplace")))


def cleaned(text: str) -> str:
    """A text that may quote the hub: at most 500 characters, secrets and what looks like one masked."""
    return scrub(redact(text))
