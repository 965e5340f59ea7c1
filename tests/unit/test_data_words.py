"""The fixed sets of words in DATA.md are those of the code, and its log events those of the catalogue."""

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

import ingestor
from ingestor.adapters.hub.causes import LinkCause
from ingestor.adapters.hub.states import LinkState
from ingestor.adapters.postgres.signals import Signal
from ingestor.config import Environment
from ingestor.domain.decision import EpochCause, Origin, Outcome
from ingestor.domain.events import Reason
from ingestor.domain.gaps import GapKind
from ingestor.domain.records import SessionEnd
from ingestor.domain.requests import ArgumentForm, Command, RequestCause, RequestOutcome
from ingestor.domain.streams import ConfirmationReason, Kind, Resolution

PACKAGE = Path(ingestor.__file__).parent
DATA = (PACKAGE / "DATA.md").read_text()

SETS: dict[str, Iterable[str]] = {
    "account.environment": Environment,
    "confirmation.reason": ConfirmationReason,
    "confirmation.resolution": Resolution,
    "dead_letter.reason": Reason,
    "epoch.cause": EpochCause,
    "freshness.link_state": LinkState,
    "gap.kind": GapKind,
    "kind, affects, unconfirmed": Kind,
    "origin": Origin,
    "outcome.outcome": set(Outcome) - {Outcome.DROPPED},  # what was dropped has no row
    "request.argument_form": ArgumentForm,
    "request.cause": RequestCause,
    "request.command": Command,
    "request.outcome": RequestOutcome,
    "session.cause": {*LinkCause, "http_…", "process_died", "commits_lost"},
    "session.ending": SessionEnd,
    "signal.signal": Signal,
}
LITERALS = {
    "certainty": ("migrations/report/06_stream_as_of.sql", r"(?:THEN|ELSE) '([a-z_]+)'"),
    "clock_step.clock": ("ingestor/adapters/clock.py", r'ClockStep\("(\w+)"'),
    "dead_letter.stage": ("ingestor/pipeline/apply/fold.py", r'stage="(\w+)" if .*? else "(\w+)"'),
    "gap.cause of commits_lost": ("ingestor/domain/records.py", r'cause: str = "(\w+)"'),
    "gap.cause of dropped": ("ingestor/pipeline/inbox.py", r'"(inbox_\w+)"'),
    "outcome.reason of what is ignored": (
        "ingestor/pipeline/apply/fold.py",
        r'Outcome\.IGNORED, "(\w+)"',
    ),
}
"""Sets that have no enum, because one place writes them: what the code there says."""


def rows() -> dict[str, set[str]]:
    table = DATA.partition("## Words")[2].partition("## Log events")[0]
    found = {}
    for line in table.splitlines():
        match [cell.strip() for cell in line.strip("|").split(" | ")]:
            case [columns, words] if "`" in columns:
                found[columns.replace("`", "")] = set(re.findall(r"`([^`]+)`", words))
            case _:
                continue
    return found


@pytest.mark.parametrize("column", list(SETS))
def test_a_set_with_an_enum_is_listed_whole(column: str) -> None:
    assert rows()[column] == {str(word) for word in SETS[column]}


@pytest.mark.parametrize("column", list(LITERALS))
def test_a_set_written_in_one_place_is_listed_whole(column: str) -> None:
    path, pattern = LITERALS[column]
    found = re.findall(pattern, (PACKAGE.parent / path).read_text(), re.DOTALL)
    words = {word for each in found for word in ([each] if isinstance(each, str) else each)}
    assert words
    assert rows()[column] == words


def test_nothing_is_listed_that_no_test_looks_at() -> None:
    assert rows().keys() == SETS.keys() | LITERALS.keys()


def test_every_question_names_its_account_or_groups_by_it() -> None:
    questions = DATA.partition("<!-- queries")[2].partition("## Words")[0]
    queries = re.findall(r"```sql\n(.*?)```", questions, re.DOTALL)
    assert queries
    assert [query for query in queries if "account" not in query] == []
