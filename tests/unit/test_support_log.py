"""The log in a support bundle: which facts are kept, and where the lines come from."""

import json
from pathlib import Path

import pytest

from ingestor.app.support.log import FACTS, LINES, last_lines
from ingestor.domain.errors import Transient
from tests.support.log_events import LOG_EVENTS

TEXTS = {
    *("account", "address", "advice", "backend", "configuration", "database", "detail", "directory", "error"),
    *("hint", "hub", "line", "message", "path", "settings", "subject", "where"),
}
"""Facts that may quote the hub, the database, a library or the settings."""


def test_each_fact_of_the_catalogue_is_kept_or_known_to_be_a_text() -> None:
    facts = {fact for event in LOG_EVENTS.values() for fact in event.facts}
    assert facts - FACTS == TEXTS
    assert facts >= FACTS


def line(number: int) -> str:
    return json.dumps({"event": "link_up", "level": "info", "timestamp": "now", "attempts": number})


def test_the_last_lines_of_a_file_are_taken(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"<6>{line(number)}\n" for number in range(LINES + 50)))

    found = last_lines("main", log)

    assert [each.facts["attempts"] for each in found] == list(range(50, LINES + 50))


def test_the_journal_of_the_accounts_unit_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for journalctl, because a journal with a unit of ours is not to be had in a test."""
    program = tmp_path / "journalctl"
    program.write_text(f"#!/bin/sh\necho '{line(7)}'\necho \"$@\" > {tmp_path}/asked\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    (found,) = last_lines("second", None)

    assert (found.event, found.facts) == ("link_up", {"attempts": 7})
    assert "--unit=hercle-ingestor@second" in (tmp_path / "asked").read_text().split()


def test_no_journal_and_no_records_are_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Transient, match="the journal cannot be read"):
        last_lines("main", None)
    (tmp_path / "log").write_text("not JSON\n[1]\n{}\n")
    with pytest.raises(Transient, match="no log lines were found"):
        last_lines("main", tmp_path / "log")
