"""Signals as real processes get them: remembered where the exception is lost, insisted on by a second one."""

import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from ingestor.cli.signals import SignalEvent
from tests.support.daemon import ROOT, surroundings
from tests.support.waiting import eventually

LOST = """
import os, signal, weakref
from ingestor.cli.signals import SignalEvent, interrupt_remembered

class Thing: pass
stop = SignalEvent()
signal.signal(signal.SIGINT, signal.default_int_handler)
with interrupt_remembered(stop):
    thing = Thing()
    reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), signal.SIGINT))
    del thing
    print("went on", stop.is_set())
"""

ASKED = """
import signal
from ingestor.cli.signals import SignalEvent, stop_on_signals
from ingestor.cli.stacks import stacks_on_signals

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.{hup})
stop = SignalEvent()
try:
    with stacks_on_signals(), stop_on_signals(stop, lambda: print("insisted", flush=True)):
        print("ready", flush=True)
        while not stop.wait(0.1):
            pass
        print("asked", flush=True)
        while True:
            signal.pause()
finally:
    print("cleaned up", flush=True)
"""

RELOADS = """
import signal
from ingestor.cli.signals import SignalEvent, stop_on_signals

signal.signal(signal.SIGHUP, signal.SIG_DFL)
stop, reload = SignalEvent(), SignalEvent()
with stop_on_signals(stop, reload=reload):
    print("ready", flush=True)
    while not stop.wait(0.05):
        if reload.is_set():
            reload.clear()
            print("reload", flush=True)
print("stopped", flush=True)
"""

FLOODED = """
import faulthandler, os, signal, sys, threading
from ingestor.cli.signals import SignalEvent, stop_on_signals
from ingestor.cli.stacks import stacks_on_signals

def flood():
    for _ in range(50_000):
        os.kill(os.getpid(), signal.{name})

faulthandler.dump_traceback_later(30, exit=True)  # if a handler waits for what it has interrupted
sys.setswitchinterval(1e-6)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
stop, reload, thread, times = SignalEvent(), SignalEvent(), threading.Thread(target=flood), 0
with stacks_on_signals(), stop_on_signals(stop, reload=reload):
    thread.start()
    while thread.is_alive():
        times += reload.wait(1e-4)
        reload.clear()
print("reloaded" if times else "never")
"""

ENDING = """
import signal
from ingestor.cli.signals import SignalEvent, ignored_afterwards, interrupt_remembered, stop_on_signals
from ingestor.cli.stacks import stacks_on_signals

signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
stop = SignalEvent()
with interrupt_remembered(stop), stacks_on_signals(), stop_on_signals(stop), ignored_afterwards():
    stop.set()
print("ended", flush=True)
input()
"""

STUCK = """
import threading
from ingestor.cli.stacks import stacks_on_signals

def waits_for_ever():
    lock = threading.Lock()
    with lock:
        print("stuck", flush=True)
        lock.acquire()

with stacks_on_signals():
    waits_for_ever()
"""

NOT_UTF_8 = """
import signal
from ingestor.cli.stacks import stacks_on_signals

lines = ["def waits():", "    print('ready', flush=True)", "    while alive(): signal.pause()"]
code = compile("\\n".join(lines), "/not/utf-8/\\udcff.py", "exec")
with stacks_on_signals() as alive:
    exec(code)
    waits()
"""

CANNOT = """
import signal, traceback
from ingestor.cli.stacks import stacks_on_signals

traceback.format_stack = None  # nothing real makes it fail on demand
with stacks_on_signals() as alive:
    print("ready", flush=True)
    while alive():
        signal.sigtimedwait([], 0.01)
    print("dead", flush=True)
"""

MAIN = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from ingestor.__main__ import main
try:
    print("begun", flush=True)
    main()
except KeyboardInterrupt:  # before the first line of `main`
    sys.exit(130)
"""


def process(code: str, *, terminal: bool = True) -> subprocess.Popen[str]:
    """Without a terminal in a session of its own; else with that of the tests, if they have one."""
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**surroundings(), "PYTHONPATH": str(ROOT)},
        start_new_session=not terminal,
    )


def line(running: subprocess.Popen[str]) -> str:
    assert running.stdout is not None
    return running.stdout.readline().strip()


def test_an_interrupt_that_python_drops_is_remembered() -> None:
    with process(LOST) as running:
        out, err = running.communicate(timeout=30)
    assert (out.strip(), running.returncode) == ("went on True", 0)
    assert "KeyboardInterrupt" in err, "the exception was not lost, so nothing was shown"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_the_first_signal_asks_and_the_second_insists(number: signal.Signals) -> None:
    """Invariant I20."""
    with process(ASKED.format(hup="SIG_DFL")) as running:
        assert line(running) == "ready"
        running.send_signal(number)
        assert line(running) == "asked"
        running.send_signal(number)
        assert [line(running), line(running)] == ["insisted", "cleaned up"]
        assert running.wait(10) == 128 + number


def test_a_hangup_that_nohup_has_ignored_stays_ignored() -> None:
    with process(ASKED.format(hup="SIG_IGN")) as running:
        assert line(running) == "ready"
        running.send_signal(signal.SIGHUP)
        running.send_signal(signal.SIGTERM)
        assert line(running) == "asked"
        running.send_signal(signal.SIGHUP)
        running.send_signal(signal.SIGTERM)
        assert line(running) == "insisted"
        assert running.wait(10) == 128 + signal.SIGTERM


def test_a_hangup_without_a_terminal_asks_for_a_reload_each_time() -> None:
    with process(RELOADS, terminal=False) as running:
        assert line(running) == "ready"
        for _ in range(2):
            running.send_signal(signal.SIGHUP)
            assert line(running) == "reload"
        running.send_signal(signal.SIGTERM)
        assert line(running) == "stopped"


def test_stacks_are_written_although_nobody_reads() -> None:
    """The pipe is filled by the stacks themselves; the process still listens."""
    with process(ASKED.format(hup="SIG_DFL")) as running:
        assert line(running) == "ready"
        for _ in range(2_000):
            running.send_signal(signal.SIGUSR1)
        running.send_signal(signal.SIGTERM)
        assert line(running) == "asked"
        running.send_signal(signal.SIGTERM)
        assert eventually(lambda: running.poll() is not None)


def test_a_stuck_main_thread_leaves_its_stack_when_it_is_aborted() -> None:
    """As by systemd's watchdog."""
    with process(STUCK) as running:
        assert line(running) == "stuck"
        running.send_signal(signal.SIGABRT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == -signal.SIGABRT
    assert re.search(r"Thread MainThread \(most recent call last\):\n(?s:.*) in waits_for_ever\n", err)


def test_a_path_that_is_not_utf_8_is_written_all_the_same() -> None:
    with process(NOT_UTF_8) as running:
        assert line(running) == "ready"
        running.send_signal(signal.SIGABRT)
        _, err = running.communicate(timeout=20)
    assert running.returncode == -signal.SIGABRT
    assert re.search(r'"/not/utf-8/\\udcff.py", line [23], in waits', err)


def test_stacks_that_cannot_be_written_do_not_keep_the_process_from_being_aborted() -> None:
    with process(CANNOT) as running:
        assert line(running) == "ready"
        running.send_signal(signal.SIGABRT)
        assert running.wait(20) == -signal.SIGABRT


def test_the_thread_that_writes_stacks_is_known_to_be_dead() -> None:
    with process(CANNOT) as running:
        assert line(running) == "ready"
        running.send_signal(signal.SIGUSR1)
        assert line(running) == "dead"


@pytest.mark.parametrize(("name", "told"), [("SIGUSR1", "never"), ("SIGHUP", "reloaded")])
def test_signals_at_every_step_of_the_handlers_themselves_do_no_harm(name: str, told: str) -> None:
    """Neither by recursion nor by a lock that the interrupted step holds."""
    with process(FLOODED.format(name=name), terminal=False) as running:
        out, err = running.communicate(timeout=40)
    assert (out.strip(), running.returncode) == (told, 0), err[-2000:]


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1"])
def test_what_ends_after_its_work_is_done_is_not_changed_by_a_signal(name: str) -> None:
    with process(ENDING, terminal=False) as running:
        assert line(running) == "ended"
        running.send_signal(getattr(signal, name))
        _, err = running.communicate("\n", timeout=30)
    assert (running.returncode, err) == (0, "")


def test_an_event_is_seen_by_every_thread_that_waits_until_it_is_cleared() -> None:
    event = SignalEvent()
    assert not event.wait(0.0)
    assert not event.wait(-1.0)
    with ThreadPoolExecutor() as threads:
        waiting = [threads.submit(event.wait) for _ in range(3)]
        event.set()
        assert [each.result(10) for each in waiting] == [True, True, True]
    event.set()
    assert event.is_set()
    assert event.wait(0.0)
    event.clear()
    assert not event.is_set()
    assert not event.wait(0.0)


@pytest.mark.parametrize("name", ["hub", "demo"])
def test_an_interrupt_at_any_moment_of_the_start_ends_the_command(name: str) -> None:
    """Early ones meet imports, later ones the start of a server."""
    command = [sys.executable, "-c", MAIN, name, *(["--port", "0"] if name == "hub" else [])]
    for moment in (0.0, 0.1, 0.2, 0.4, 0.8, 1.6):
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**surroundings(), "PYTHONPATH": str(ROOT)},
        ) as running:
            assert line(running) == "begun"
            try:
                running.wait(moment)
            except subprocess.TimeoutExpired:
                running.send_signal(signal.SIGINT)
            _, err = running.communicate(timeout=40)
        assert running.returncode in {0, 130}, err
