"""Makes foreign text harmless for a terminal and short enough for a journal."""

import re
from collections.abc import Callable, Mapping
from typing import Any

# C0, DEL and C1 can drive a terminal; the line and paragraph separators break a line for some viewers;
# the direction marks reorder what is read; a lone surrogate cannot be encoded at all.
_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_UNSAFE_BUT_NEWLINE = re.compile(_UNSAFE.pattern.replace("\x00-\x1f", "\x00-\x09\x0b-\x1f"))

_MOST_ITEMS = 20
_DEEPEST = 3
_MARGIN = 256
"""Characters scanned beyond a limit, so that a secret is known also where the limit cuts it."""


def printable(text: str, *, keep_newlines: bool = False) -> str:
    """The text with control characters, separators and direction marks written as escapes."""
    pattern = _UNSAFE_BUT_NEWLINE if keep_newlines else _UNSAFE
    return pattern.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def shorten(text: str, limit: int) -> str:
    """At most `limit` characters, with a note of how many are missing."""
    return text if len(text) <= limit else f"{text[:limit]}…(+{len(text) - limit})"


def shorten_middle(text: str, limit: int) -> str:
    """Like `shorten`, but keeps the end, where a traceback says what it was."""
    head = limit // 4
    if len(text) <= limit:
        return text
    return f"{text[:head]}\n…(+{len(text) - limit})\n{text[len(text) - (limit - head) :]}"


def harmless(value: Any, limit: int, redact: Callable[[str], str], depth: int = 0) -> Any:
    """A value of JSON's kinds, without secrets and control characters, each text at most `limit` long.

    Numbers keep their kind; whatever JSON does not know becomes its `str`.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        digits = str(value)
        return value if redact(digits) == digits else redact(digits)
    if isinstance(value, Mapping) and depth < _DEEPEST:
        pairs = list(value.items())[:_MOST_ITEMS]
        return {
            str(harmless(str(key), limit, redact)): harmless(item, limit, redact, depth + 1)
            for key, item in pairs
        }
    if isinstance(value, list | tuple | set | frozenset) and depth < _DEEPEST:
        return [harmless(item, limit, redact, depth + 1) for item in list(value)[:_MOST_ITEMS]]
    text = value if isinstance(value, str) else _text_of(value)
    clean = printable(redact(text[: limit + _MARGIN]))
    return (
        shorten(clean, limit) if len(text) <= limit + _MARGIN else f"{clean[:limit]}…(+{len(text) - limit})"
    )


def harmless_trace(text: str, limit: int, redact: Callable[[str], str]) -> str:
    """A traceback, its line breaks kept; of a very long one, or of a very long line in it, not all."""
    clean = printable(redact(shorten_middle(text, 8 * (limit + _MARGIN))), keep_newlines=True)
    return shorten_middle("\n".join(shorten(line, limit // 4) for line in clean.split("\n")), limit)


def _text_of(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not cost the record
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
