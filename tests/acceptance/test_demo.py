"""`ingestor demo`: each fault is named and healed, on a terminal, in a pipe and as JSON."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from ingestor.app.demo import Demo, demo
from ingestor.app.demo_faults import InjectedFault
from ingestor.simulator import Fault
from tests.support.daemon import ROOT, command, surroundings
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

ESCAPE = re.compile(r"\x1b\[[0-9;?]*([A-Za-z])")
NEW_SCREEN, OLD_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
SUMMARY = r"received +(\d+)\ncommitted +\1\nunaccounted 0\nfaults +(\d+) injected, \2 healed\n"


def on_a_terminal(until: str, **env: str) -> tuple[int, str]:
    """Exit code and all that a terminal of 24 lines of 80 columns was sent; ^C is typed after `until`."""
    here, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "ingestor", "demo", "--seed", "3"],
        env={**surroundings(), "TERM": "xterm-256color", **env},
        cwd=ROOT,
        stdin=there,
        stdout=there,
        stderr=there,
    ) as running:
        os.close(there)
        written, asked = b"", False
        try:
            while piece := os.read(here, 65_536):
                written += piece
                if not asked and until.encode() in written:
                    running.send_signal(signal.SIGINT)
                    asked = True
        except OSError:  # the other side has gone
            pass
        os.close(here)
        return running.wait(30), written.decode().replace("\r\n", "\n")


def test_on_a_terminal_without_colours_it_is_one_live_screen_and_then_a_summary() -> None:
    code, written = on_a_terminal("reconnected, fresh snapshots", NO_COLOR="1")

    before, live, after = re.split(rf"{re.escape(NEW_SCREEN)}|{re.escape(OLD_SCREEN)}", written)
    assert code == 0
    assert before.startswith("starting a private Postgres")
    frames = [ESCAPE.sub("", each).split("\n") for each in live.split("\x1b[H")]
    whole = [[line.rstrip() for line in frame] for frame in frames if frame[0].startswith("ingestor ")]
    assert len(whole) >= 3
    assert all(len(frame) <= 24 and max(map(len, frame)) <= 80 for frame in whole)
    last = "\n".join(whole[-1])
    for label in ("rate", "latency", "streams", "gaps", "coverage", "balances", "faults"):
        assert f"\n{label}  " in last
    assert re.search(r"link closed by the hub  reconnected, fresh snapshots +\d+\.\d\d s", last)
    codes = {code for sent in re.findall(r"\x1b\[([0-9;]*)m", live) for code in sent.split(";")}
    assert codes <= {"0", "1", "2"}  # bold and dim
    assert re.search(SUMMARY, ESCAPE.sub("", after))
    assert "known" in after
    assert max(map(len, after.split("\n"))) <= 80


@pytest.mark.parametrize("terminal", [True, False], ids=["dumb terminal", "pipe"])
def test_without_a_terminal_that_can_draw_it_tells_line_by_line(terminal: bool) -> None:
    if terminal:
        code, written = on_a_terminal("reconnected, fresh snapshots", TERM="dumb")
    else:
        done = command("demo", "--for", "12", "--seed", "3", env=surroundings())
        assert done.stderr == ""
        code, written = done.returncode, done.stdout

    assert code == 0
    assert "\x1b" not in written
    assert re.search(r"(?m)^\d\d:\d\d:\d\d state   up · sequence \d+", written)
    faults = re.findall(r"(?m)^\d\d:\d\d:\d\d fault   (.+)$", written)
    healed = re.findall(r"(?m)^\d\d:\d\d:\d\d healed  (.+): (.+) \(\d+\.\d\d s\)$", written)
    assert len(faults) >= len(healed) >= 1
    assert ("link closed by the hub", "reconnected, fresh snapshots") in healed
    assert {name for name, _ in healed} <= set(faults)
    assert re.search(SUMMARY, written)
    assert max(map(len, written.split("\n"))) <= 80


# --- what counts as healed ---------------------------------------------------------------------------------


@contextmanager
def behaving(rate: float) -> Iterator[Demo]:
    """A demonstration whose hub does nothing wrong any more, once its scheduled end of the link is healed."""
    with demo(rate=rate, seed=1, seconds=None, stop=threading.Event()) as running:
        running._hub.clear_faults()
        eventually(lambda: any(each.fault is Fault.FIN for each in running.scene().faults), within=20)
        eventually(lambda: all(each.healed_by for each in running.scene().faults), within=20)
        yield running


@pytest.fixture(scope="module")
def pushing() -> Iterator[Demo]:
    with behaving(rate=20) as running:
        yield running


@pytest.fixture(scope="module")
def answering() -> Iterator[Demo]:
    """Its account does not move, so that the hub sends nothing but answers."""
    with behaving(rate=0) as running:
        yield running


def suffered(running: Demo, fault: Fault) -> InjectedFault:
    """The next fault of this kind, once it is healed."""
    before = len(running.scene().faults)
    running._hub.inject(fault)
    if not running._hub.config.changes_per_second:
        running._ingestor._snapshot_now()

    def seen() -> list[InjectedFault]:
        return [each for each in running.scene().faults[before:] if each.fault is fault and each.healed_by]

    return eventually(seen, within=40, every=0.1)[0]


@pytest.mark.parametrize(
    ("fault", "healed_by"),
    [
        (Fault.DUPLICATE, "seen as duplicate, kept once"),
        (Fault.REORDER, "seen as stale, newer one kept"),
        (Fault.DELAY, "seen as stale, newer one kept"),
        (Fault.DROP, "next snapshot has it all"),
        (Fault.GARBAGE, "bytes kept, fresh snapshot"),
        (Fault.RST, "reconnected, fresh snapshots"),
        (Fault.FIN, "reconnected, fresh snapshots"),
        (Fault.CLOSE, "reconnected, fresh snapshots"),
        (Fault.RESTART, "reconnected, fresh snapshots"),
    ],
)
def test_each_fault_of_a_push_or_the_link_is_healed(pushing: Demo, fault: Fault, healed_by: str) -> None:
    healed = suffered(pushing, fault)
    assert healed.healed_by == healed_by
    assert healed.seconds is not None
    assert 0 <= healed.seconds < 30  # each further attempt to connect waits longer


@pytest.mark.parametrize(
    ("fault", "healed_by"),
    [
        (Fault.DUPLICATE, "seen as duplicate, kept once"),
        (Fault.DELAY, "seen as duplicate, kept once"),
        (Fault.DROP, "requested again"),
        (Fault.GARBAGE, "bytes kept, fresh snapshot"),
    ],
)
def test_each_fault_of_an_answer_is_healed(answering: Demo, fault: Fault, healed_by: str) -> None:
    assert suffered(answering, fault).healed_by == healed_by


def test_a_fault_that_nothing_has_healed_is_told_as_such(pushing: Demo) -> None:
    pushing._hub.inject(Fault.SILENCE)
    fault = eventually(lambda: [each for each in pushing.scene().faults if each.fault is Fault.SILENCE])[0]
    assert (fault.healed_by, fault.seconds) == (None, None)
    pushing._hub.inject(Fault.FIN)
    eventually(lambda: pushing.scene().faults and fault.healed_by, within=20)
