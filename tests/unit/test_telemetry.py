"""The log catalogue and the code agree: what is logged is explained, and nothing is explained in vain."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import ingestor
from ingestor.pipeline.telemetry import HANDLER_EVENTS, LOG_EVENTS

PACKAGE = Path(ingestor.__file__).parent
METHODS = {"debug", "info", "warning", "error", "critical", "exception"}
LOGGERS = {"log", "_log"}
NOT_FACTS = {"exc_info", "stack_info"}


@dataclass(frozen=True)
class Call:
    place: str
    level: str
    name: str | None
    facts: frozenset[str]
    open_ended: bool
    """Some facts come from a `**mapping`."""


def is_logger(node: ast.expr) -> bool:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name) if name in LOGGERS:
            return True
        case ast.Call(func=ast.Attribute(value=inner, attr="bind" | "new")):
            return is_logger(inner)
        case _:
            return False


def calls_in(source: str, place: str) -> Iterator[Call]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Attribute(attr="notice"), args=[ast.Constant(value=str(name))]):
                # Told by the writer when the batch commits, at the level that the catalogue gives.
                yield Call(
                    place=f"{place}:{node.lineno}",
                    level=LOG_EVENTS[name].level if name in LOG_EVENTS else "",
                    name=name,
                    facts=frozenset(item.arg for item in node.keywords if item.arg),
                    open_ended=any(item.arg is None for item in node.keywords),
                )
            case ast.Call(func=ast.Attribute(value=receiver, attr=method)) if is_logger(receiver):
                if method not in METHODS | {"log"}:
                    continue
                first = node.args[0] if node.args else None
                literal = isinstance(first, ast.Constant) and isinstance(first.value, str) and method != "log"
                yield Call(
                    place=f"{place}:{node.lineno}",
                    level="error" if method == "exception" else method,
                    name=str(first.value) if literal and isinstance(first, ast.Constant) else None,
                    facts=frozenset(item.arg for item in node.keywords if item.arg) - NOT_FACTS,
                    open_ended=any(item.arg is None for item in node.keywords) or len(node.args) > 1,
                )


def calls() -> list[Call]:
    return [
        call
        for path in sorted(PACKAGE.rglob("*.py"))
        for call in calls_in(path.read_text(), str(path.relative_to(PACKAGE)))
    ]


def test_event_names_are_literals_and_facts_are_keywords() -> None:
    assert not [call.place for call in calls() if call.name is None or call.open_ended]


def test_every_logged_name_is_in_the_catalogue() -> None:
    assert not [f"{call.place} {call.name}" for call in calls() if call.name not in LOG_EVENTS]


def test_every_catalogued_name_is_logged() -> None:
    assert not set(LOG_EVENTS) - {call.name for call in calls()}


def test_levels_and_facts_are_the_catalogued_ones() -> None:
    for call in calls():
        event = LOG_EVENTS[call.name or ""]
        assert call.level == event.level, call.place
        assert call.facts <= set(event.fields), call.place


def test_every_catalogued_fact_is_given_by_some_call() -> None:
    for name, event in LOG_EVENTS.items():
        given = frozenset[str]().union(*(call.facts for call in calls() if call.name == name))
        assert set(event.fields) == given, name


@pytest.mark.parametrize("name", [*LOG_EVENTS, *HANDLER_EVENTS])
def test_entries_are_complete_and_names_are_snake_case(name: str) -> None:
    event = (LOG_EVENTS | HANDLER_EVENTS)[name]
    assert name.isidentifier()
    assert name == name.lower()
    assert event.meaning.endswith(".")
    assert event.action.endswith(".")
    assert event.level in {"debug", "info", "warning", "error", "critical"}


def test_the_search_sees_bound_loggers_and_refuses_computed_names() -> None:
    """The tests above are only as good as what they find."""
    found = list(
        calls_in(
            "log.info('a', x=1)\nself._log.bind(y=2).exception('b', exc_info=True)\n"
            "log.warning(f'c{x}')\nlog.log(10, 'd')\nlog.error('e', **facts)\nmath.log(3)\n",
            "x",
        )
    )
    assert sorted((call.name, call.level) for call in found if call.name) == [
        ("a", "info"),
        ("b", "error"),
        ("e", "error"),
    ]
    assert len([call for call in found if call.name is None]) == 2
    assert [call.name for call in found if call.open_ended and call.name] == ["e"]
