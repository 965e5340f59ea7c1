"""From an event and its facts to one line of at most 4 KB.

structlog's own console renderer prints event names and values raw, escape codes included; hence a small one
of our own. A record that is too long is rendered again with tighter limits until it fits.
"""

import json
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

from ingestor.logs.text import harmless, harmless_trace

MAX_BYTES = 4096 - len("<6>\n")
"""`journalctl -o json` shows null for a message above 4096 bytes."""

_LIMITS = (1024, 256, 64, 16)
_FIRST = ("timestamp", "level", "event", "exception_type")
_TRACES = ("exception", "stack")
_COLOURS = {"debug": "2", "warning": "33", "error": "31", "critical": "1;31"}
_PRIORITIES = {"critical": 2, "error": 3, "warning": 4, "info": 6, "debug": 7}

EventDict = MutableMapping[str, Any]
Render = Callable[[Mapping[str, Any]], str]


class LineRenderer:
    """A structlog processor: the last one, which returns the line."""

    def __init__(self, render: Render, redact: Callable[[str], str], *, priorities: bool = False) -> None:
        """`priorities` puts syslog's `<N>` before each line, as the journal wants it."""
        self._render = render
        self._redact = redact
        self._priorities = priorities

    def __call__(self, logger: Any, method: str, event: EventDict) -> str:  # noqa: ARG002 - structlog's form
        prefix = f"<{_PRIORITIES.get(str(event.get('level')), 6)}>" if self._priorities else ""
        return prefix + self._fitting(event)

    def _fitting(self, event: EventDict) -> str:
        for limit in _LIMITS:
            line = self._render(self._clean(event, limit))
            if len(line.encode()) <= MAX_BYTES:
                return line
        essence = {name: event[name] for name in _FIRST if name in event}
        return self._render({**self._clean(essence, 64), "dropped_facts": len(event) - len(essence)})

    def _clean(self, event: Mapping[str, Any], limit: int) -> dict[str, Any]:
        order = sorted(event, key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
        clean: dict[str, Any] = {}
        for name in order:
            value = event[name]
            if name in _TRACES and isinstance(value, str):
                clean[name] = harmless_trace(value, 2 * limit, self._redact)
            else:
                clean[harmless(name, 64, self._redact)] = harmless(value, limit, self._redact)
        return clean


def as_json(event: Mapping[str, Any]) -> str:
    """One JSON object on one line; numbers that JSON lacks become text."""
    return json.dumps({name: _finite(value) for name, value in event.items()}, ensure_ascii=False)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124
        return str(value)
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list) else value


class Console:
    """Time, level, event and facts on a line; a traceback below it, set off so that it cannot forge one."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, event: Mapping[str, Any]) -> str:
        facts = dict(event)
        time = str(facts.pop("timestamp", "")).partition("T")[2][:12]
        level = str(facts.pop("level", "info"))
        name = facts.pop("event", "")
        traces = [str(facts.pop(trace)) for trace in _TRACES if trace in facts]
        shown = " ".join(f"{key}={_shown(value)}" for key, value in facts.items())
        lines = [f"{time} {self._coloured(f'{level:<8}', level)} {name}  {shown}".rstrip()]
        for trace in traces:
            lines += [f"    | {line}" for line in trace.splitlines()]
        return "\n".join(lines)

    def _coloured(self, text: str, level: str) -> str:
        colour = _COLOURS.get(level) if self._colours else None
        return f"\x1b[{colour}m{text}\x1b[0m" if colour else text


def _shown(value: Any) -> str:
    """Bare where it cannot be misread, quoted where it holds spaces or could pass for another fact."""
    if isinstance(value, str) and value and not set(value) & set(" =\"'"):
        return value
    return json.dumps(value, ensure_ascii=False)
