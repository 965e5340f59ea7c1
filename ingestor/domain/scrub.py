"""Makes foreign text safe for logs, tables and terminals: no credentials, no control characters, limited
length.

The hub's error texts may contain the key (the vendor's error sample shows the beginning of one), so they are
scrubbed before they are stored or logged. In doubt, text is masked: a key that can trade matters more than a
readable text.
"""

import re

MASK = "[redacted]"
_MESSAGE_CHARS = 500
_WINDOW_CHARS = 4_096
"""Only this much is searched: the expressions below take linear time, which is long for a megabyte."""

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE | re.ASCII)

_TOKEN = re.compile(r"eyJ[\w-]{5,}(?:\.[\w-]*){0,4}", re.ASCII)
_BEARER = re.compile(r"\b(bearer|basic)\s+[^\s\"',;]+", re.IGNORECASE)
_NAMED = re.compile(
    r"\b([\w-]{0,30}(?:key|token|secret|password|passwd|authorization|signature))"
    r"((?:\s+(?:provided|is|was|given))?[\"']?\s*[:=]\s*[\"']?)"
    r"[^\s\"',;&}]+",
    re.IGNORECASE,
)
_RUN = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}", re.ASCII)


def _hide_run(match: re.Match[str]) -> str:
    """Mask what is long and looks random; leave correlation ids, words_joined_like_this, and numbers."""
    run = match.group()
    if _UUID.fullmatch(run):
        return run
    mixed = any(char.isdigit() for char in run) and any(char.isalpha() for char in run)
    return MASK if mixed or len(run) >= 40 else run


def printable(text: str, limit: int) -> str:
    """`text` with every unprintable character (controls, bidi marks, lone surrogates) written as its escape.

    At most `limit` characters; what was cut off shows as an ellipsis.
    """
    head = text[: limit + 1]
    if not head.isprintable():
        head = "".join(
            char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in head
        )
    return head if len(head) <= limit else head[: limit - 1] + "…"


def scrub(text: str) -> str:
    """`text` without what looks like a credential, printable, at most 500 characters."""
    text = _TOKEN.sub(MASK, text[:_WINDOW_CHARS])
    text = _BEARER.sub(rf"\1 {MASK}", text)
    text = _NAMED.sub(rf"\1\2{MASK}", text)
    return printable(_RUN.sub(_hide_run, text), _MESSAGE_CHARS)
