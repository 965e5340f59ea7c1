"""The catalogue in `DATA.md` and the code agree: each event that is logged has a row, no row is unused."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

import ingestor
from ingestor.pipeline.notify import LEVELS
from tests.support.log_events import LOG_EVENTS, TABLE

PACKAGE = Path(ingestor.__file__).parent
METHODS = {"debug", "info", "warning", "error", "critical", "exception"}
LOGGERS = {"log", "_log"}
HANDLER_EVENTS = {"library_logged", "log_record_lost"}
"""Written by the log handler itself rather than by a logging call."""
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
    tree = ast.parse(source)
    for node in ast.walk(tree):
        match node:
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
            case ast.FunctionDef():
                for call in notices_in(node, tree):
                    yield replace(call, place=f"{place}:{call.place}")
            case _:
                pass


def notices_in(function: ast.FunctionDef, module: ast.Module) -> Iterator[Call]:
    """`Notice(name, facts)`: the writer logs it when the batch commits, at the level `notify` gives it."""
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Name(id="Notice"), args=[name, facts]):
                keys = keys_of(facts, function)
                for each in names_of(name, function, module):
                    yield Call(
                        str(node.lineno),
                        LEVELS.get(str(each), "warning"),
                        each,
                        keys or frozenset(),
                        keys is None,
                    )
            case _:
                pass


def names_of(name: ast.expr, function: ast.FunctionDef, module: ast.Module) -> list[str | None]:
    """A literal; or, of a function's first parameter, the literals with which this module calls it."""
    given = [name]
    if isinstance(name, ast.Name) and [each.arg for each in function.args.args[:1]] == [name.id]:
        given = [
            node.args[0]
            for node in ast.walk(module)
            if isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == function.name
        ]
    return [
        each.value if isinstance(each, ast.Constant) and isinstance(each.value, str) else None
        for each in given
    ]


def keys_of(facts: ast.expr, function: ast.FunctionDef) -> frozenset[str] | None:
    """Of a dict literal, or of a local variable that was made of them further up; None of anything else."""
    match facts:
        case ast.Dict(keys=keys, values=values):
            parts = [
                keys_of(value, function)
                if key is None
                else frozenset([str(key.value)])
                if isinstance(key, ast.Constant)
                else None
                for key, value in zip(keys, values, strict=True)
            ]
        case ast.Name(id=variable, lineno=line):
            parts = [
                keys_of(node.value, function)
                for node in ast.walk(function)
                if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign)
                and node.lineno < line
                and node.value is not None
                and any(
                    isinstance(each, ast.Name) and each.id == variable
                    for each in (node.targets if isinstance(node, ast.Assign) else [node.target])
                )
            ]
        case _:
            return None
    known = [part for part in parts if part is not None]
    return frozenset().union(*known) if parts and len(known) == len(parts) else None


@cache
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
    assert set(LOG_EVENTS) - {call.name for call in calls()} == HANDLER_EVENTS


def test_levels_and_facts_are_the_catalogued_ones() -> None:
    for call in calls():
        event = LOG_EVENTS[call.name or ""]
        assert call.level == event.level, call.place
        assert call.facts <= event.facts, call.place


def test_every_catalogued_fact_is_given_by_some_call() -> None:
    for name in LOG_EVENTS.keys() - HANDLER_EVENTS:
        given = frozenset[str]().union(*(call.facts for call in calls() if call.name == name))
        assert LOG_EVENTS[name].facts == given, name


@pytest.mark.parametrize("name", LOG_EVENTS)
def test_entries_are_complete_and_names_are_snake_case(name: str) -> None:
    event = LOG_EVENTS[name]
    assert name.isidentifier()
    assert name == name.lower()
    assert event.meaning.endswith(".")
    assert event.action.endswith(".")
    assert event.level in {"debug", "info", "warning", "error", "critical"}


def test_the_rows_stand_in_order_and_each_name_once() -> None:
    assert TABLE.count("\n| `") == len(LOG_EVENTS)
    assert list(LOG_EVENTS) == sorted(LOG_EVENTS)


def test_the_search_sees_bound_loggers_and_rejects_computed_names() -> None:
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


def test_the_search_sees_notices_and_rejects_facts_that_it_cannot_see() -> None:
    found = list(
        calls_in(
            "def f(other, row):\n"
            "    facts = {'a': 1}\n"
            "    facts |= {'b': 2}\n"
            "    Notice('one', facts)\n"
            "    Notice('two', {**facts, 'c': 3})\n"
            "    facts['d'] = 4\n"
            "    Notice('three', row.facts)\n"
            "    Notice('four', {'e': 5, **other})\n"
            "    Notice(row.name, {})\n"
            "def g(event):\n"
            "    return Notice(event, {'h': 1})\n"
            "g('five')\n"
            "g(computed)\n",
            "x",
        )
    )
    assert {call.name: set(call.facts) for call in found if not call.open_ended and call.name} == {
        "one": {"a", "b"},
        "two": {"a", "b", "c"},
        "five": {"h"},
    }
    assert sorted(call.name for call in found if call.open_ended and call.name) == ["four", "three"]
    assert len([call for call in found if call.name is None]) == 2
