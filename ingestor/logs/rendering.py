"""Renders an event and its facts as one line of at most 4 KB, without secrets and control characters.

structlog's renderers print text unchanged, terminal escape codes included, so it is escaped before. A record
that is too long is rendered again with lower limits until it fits.
"""

import re
from collections.abc import Callable, Mapping
from math import isfinite
from textwrap import indent
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

MAX_BYTES = 4096 - len("<6>\n")
"""`journalctl -o json` shows null for a message above 4096 bytes."""

_LIMITS = (1024, 256, 64, 16)
_FIRST = ("event", "level", "timestamp", "exception_type")
"""The event begins the line: a terminal of 80 columns shows it whole."""
_TRACE = "exception"
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}
_MOST_ITEMS = 20
_MARGIN = 256
"""Characters examined beyond a limit, so that a secret is masked also where the limit cuts it."""

# C0, DEL and C1 can drive a terminal; the line and paragraph separators break a line for some viewers;
# the direction marks reorder what is read; a lone surrogate cannot be encoded at all.
_UNSAFE = "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
_UNSAFE_BUT_NEWLINE = rf"(?!\n){_UNSAFE}"


def printable(text: str, *, keep_newlines: bool = False) -> str:
    """The text with control characters, separators and direction marks written as escapes."""
    pattern = _UNSAFE_BUT_NEWLINE if keep_newlines else _UNSAFE
    return re.sub(pattern, lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


class LineRenderer:
    """A structlog processor: the last one, which returns the line."""

    def __init__(self, render: Processor, redact: Callable[[str], str], *, priorities: bool = False) -> None:
        """`priorities` puts syslog's `<N>` before each line, as the journal wants it."""
        self._render = render
        self._redact = redact
        self._priorities = priorities

    def __call__(self, logger: Any, method: str, event: EventDict) -> str:
        prefix = f"<{_PRIORITIES.get(str(event.get('level')), 6)}>" if self._priorities else ""
        for limit in _LIMITS:
            line = str(self._render(logger, method, self._clean(event, limit)))
            if len(line.encode()) <= MAX_BYTES:
                return indent(
                    line, prefix
                )  # each line of a readable traceback becomes a record of the journal
        essence = {name: event[name] for name in _FIRST if name in event}
        essence["dropped_facts"] = len(event) - len(essence)
        return prefix + str(self._render(logger, method, self._clean(essence, _LIMITS[-2])))

    def _clean(self, event: Mapping[str, Any], limit: int) -> EventDict:
        order = sorted(event, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
        return {
            self._text(name, 64): (
                self._trace(str(event[name]), 2 * limit)
                if name == _TRACE
                else self._harmless(event[name], limit)
            )
            for name in order
        }

    def _harmless(self, value: Any, limit: int) -> Any:
        """A value for JSON: numbers stay numbers, lists become lists of texts, all else becomes its `str`."""
        if isinstance(value, list | tuple | set | frozenset):
            return [self._text(item, limit) for item in list(value)[:_MOST_ITEMS]]
        plain = (
            value is None or isinstance(value, bool | int) or (isinstance(value, float) and isfinite(value))
        )
        return value if plain and self._redact(str(value)) == str(value) else self._text(value, limit)

    def _text(self, value: Any, limit: int) -> str:
        try:
            text = str(value)
        except Exception as error:  # noqa: BLE001 - a value that cannot be shown must not cost the record
            text = f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"
        clean = printable(self._redact(text[: limit + _MARGIN]))
        missing = max(len(clean), len(text)) - limit
        return clean if missing <= 0 else f"{clean[:limit]}…(+{missing})"

    def _trace(self, text: str, limit: int) -> str:
        """A traceback keeps its line breaks. A long one is shortened in the middle: its end names the
        error."""
        if len(text) > 8 * (limit + _MARGIN):
            text = text[: limit + _MARGIN] + text[-4 * (limit + _MARGIN) :]
        clean = printable(self._redact(text.rstrip()), keep_newlines=True)
        head, tail = limit // 4, limit - limit // 4
        missing = len(clean) - limit
        return clean if missing <= 0 else f"{clean[:head]}\n…(+{missing})\n{clean[-tail:]}"


def as_json() -> Processor:
    """One JSON object on one line."""
    return structlog.processors.JSONRenderer(ensure_ascii=False, separators=(",", ":"))


def for_people(*, colours: bool) -> Processor:
    """structlog's console line; lines of a traceback are marked, so that they cannot pass for log lines."""
    inner = structlog.dev.ConsoleRenderer(
        colors=colours,
        pad_event_to=0,
        sort_keys=False,
        exception_formatter=structlog.dev.plain_traceback,
    )

    def render(logger: Any, method: str, event: EventDict) -> str:
        if _TRACE in event:
            event[_TRACE] = indent(event[_TRACE], "    | ", lambda _: True)
        return inner(logger, method, event)

    return render
