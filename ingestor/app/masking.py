"""Masks users and credentials in hub records."""

import re

from ingestor.domain.scrub import MASK, scrub
from ingestor.logs import redact

_USER = re.compile(
    r"""(userId(\\*)"\s*:\s*)(?:(\2").*?(?:(?<!\\)\2"|$)|[^\s,}"\\]+)""", re.IGNORECASE | re.DOTALL
)
"""The hub's user in a record, up to the quote that ends it: in data that is itself a quoted text, each quote
has a backslash before it, and a quote within the user has more of them."""


def masked(raw: bytes) -> str:
    """The record's text: at most 500 characters, users and what looks like a credential masked, unprintable
    characters escaped."""
    return cleaned(_USER.sub(rf"\1\3{MASK}\3", raw.decode("utf-8", "backslashreplace")))


def cleaned(text: str) -> str:
    """A text that may quote the hub: at most 500 characters, secrets and what looks like one masked."""
    return scrub(redact(text))
