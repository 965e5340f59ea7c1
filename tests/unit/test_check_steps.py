"""The steps of `ingestor check`: their deadlines hold whatever they do, and none hides another."""

import re
import threading
import time
from collections.abc import Iterator

import pytest

from ingestor.adapters.clock import DatabaseClock
from ingestor.app.check.database import DatabaseCheck
from ingestor.app.check.findings import NothingToTry, Problem, Verdict
from ingestor.app.check.hub import HubCheck
from ingestor.app.check.steps import Chain, Step
from ingestor.config import Settings
from ingestor.domain.errors import BadConfiguration, Transient
from tests.support.daemon import ROOT

clock = DatabaseClock()


@pytest.fixture
def never() -> Iterator[threading.Event]:
    """What a step waits for that cannot be interrupted."""
    event = threading.Event()
    yield event
    event.set()


def found(*steps: Step, seconds: float = 20.0) -> dict[str, tuple[Verdict, str]]:
    findings = Chain(steps, set(), clock.monotonic() + seconds, clock).findings()
    return {each.name: (each.verdict, each.what) for each in findings}


def fails(error: Exception) -> str:
    raise error


def test_each_way_to_end_has_its_verdict() -> None:
    said = found(
        Step("well", lambda: "fine", 5),
        Step("note", lambda: fails(Problem("old", "renew it", 0)), 5),
        Step("failed", lambda: fails(Problem("gone", "bring it back", 69)), 5),
        Step("none", lambda: fails(NothingToTry("not here")), 5),
        Step("error", lambda: fails(BadConfiguration("wrong\nwhy: so\nfix: else")), 5),
    )
    assert said == {
        "well": (Verdict.OK, "fine"),
        "note": (Verdict.NOTE, "old"),
        "failed": (Verdict.FAILED, "gone"),
        "none": (Verdict.SKIPPED, "not here"),
        "error": (Verdict.FAILED, "wrong (so)"),
    }


def test_an_error_keeps_its_fix_and_its_exit_code() -> None:
    steps = [
        Step("setting", lambda: fails(BadConfiguration("wrong\nwhy: so\nfix: else")), 5),
        Step("outside", lambda: fails(Transient("away")), 5),
    ]
    setting, outside = Chain(steps, set(), clock.monotonic() + 20, clock).findings()
    assert (setting.fix, setting.exit_code) == ("else", 78)
    assert (outside.fix is not None, outside.exit_code) == (True, 69)


def test_only_what_a_step_needs_keeps_it_from_being_tried() -> None:
    said = found(
        Step("a", lambda: fails(Transient("away")), 5),
        Step("b", lambda: "tried", 5, ("a",)),
        Step("c", lambda: fails(NothingToTry("not here")), 5),
        Step("d", lambda: "tried", 5, ("c",)),
    )
    assert said["b"] == (Verdict.SKIPPED, "not tried: needs a")
    assert said["d"] == (Verdict.OK, "tried")


def test_a_step_that_does_not_end_is_left_at_its_deadline(never: threading.Event) -> None:
    began = time.monotonic()
    said = found(
        Step("quick", lambda: "fine", 5),
        Step("hangs", lambda: str(never.wait()), 0.2, if_it_hangs="see there"),
        Step("later", lambda: "tried", 5),
    )
    assert time.monotonic() - began < 4
    assert said["quick"] == (Verdict.OK, "fine")
    assert said["hangs"][0] is Verdict.FAILED
    assert said["later"] == (Verdict.SKIPPED, "not tried: hangs did not end")


def test_no_step_outlasts_the_whole(never: threading.Event) -> None:
    began = time.monotonic()
    said = found(Step("hangs", lambda: str(never.wait()), 60), seconds=0.2)
    assert time.monotonic() - began < 4
    assert said["hangs"][0] is Verdict.FAILED


def test_chains_run_at_the_same_time(never: threading.Event) -> None:
    """The second one has ended while the first one was waited for."""
    until = clock.monotonic() + 20
    first = Chain([Step("hangs", lambda: str(never.wait()), 0.3)], set(), until, clock)
    second = Chain([Step("waits", lambda: str(never.wait(0.2)), 0.3)], set(), until, clock)
    assert [each.verdict for each in first.findings()] == [Verdict.FAILED]
    assert [each.verdict for each in second.findings()] == [Verdict.OK]


def test_a_bug_in_a_step_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        found(Step("bug", lambda: str(1 // 0), 5))


def test_the_guide_lists_every_step() -> None:
    paths = (HubCheck(Settings(), clock), DatabaseCheck(Settings(), clock))
    steps = [step.name for path in paths for step in path.steps()]
    guide = (ROOT / "deploy" / "README.md").read_text().partition("\n## Check\n")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (`.*?) \|", guide)
    listed = [name for row in rows for name in re.findall(r"`([\w-]+)`", row)]
    assert listed == ["configuration", *steps, "unit", "stored"]
