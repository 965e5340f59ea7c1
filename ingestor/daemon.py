"""The process from start to end: start in order, watch, drain, stop in reverse order, return the exit code.

READY means that the database can be used, its schema fits, and all threads run. The hub need not be
connected: that is reported as a state, and does not fail the start. The watchdog is notified only while every
thread makes progress, so systemd restarts a daemon with a stuck thread. If a thread ends unexpectedly, the
process ends, and systemd starts it again. Each deadline is shorter than the next: statement, transaction,
drain, systemd's TimeoutStopSec.
"""

import gc
import sys
import threading
from collections.abc import Callable

import structlog

from ingestor.app.daemon_status import stuck
from ingestor.app.wiring import Ingestor, Notifier
from ingestor.domain.errors import Fatal, IngestorError

log = structlog.get_logger()

_TICK_SECONDS = 2.0
"""Shorter if systemd's watchdog requires it."""
_START_TURN_SECONDS = 60.0
"""Longer than one turn of a start that waits for the database."""
_SWITCH_SECONDS = 0.0002


def run(
    daemon: Ingestor,
    notifier: Notifier,
    drain_seconds: float,
    stop: threading.Event,
    each_turn: Callable[[], object] = lambda: None,
) -> int:
    """Run until `stop` is set or a thread ends unexpectedly. Returns the exit code.

    Args:
        each_turn: called every two seconds or sooner, by this thread.

    Raises:
        Fatal: waiting would not help; its `exit_code` is the kind of error.
    """

    def waiting(reason: str) -> None:
        notifier.status(reason)
        notifier.extend_timeout(_START_TURN_SECONDS)
        each_turn()

    try:
        daemon.start(stop, waiting)
    except BaseException:
        daemon.stop(0.0)
        raise
    _tune_the_interpreter()
    try:
        if not stop.is_set():
            notifier.ready(daemon.status_line())
        _watch(daemon, notifier, stop, each_turn)
    finally:
        notifier.stopping("writing what has been received")
        drained = daemon.stop(drain_seconds)
    log.info("daemon_stopped", drained=drained)
    return 0 if drained else 75


def _watch(
    daemon: Ingestor, notifier: Notifier, stop: threading.Event, each_turn: Callable[[], object]
) -> None:
    """Until `stop` is set: notify systemd's watchdog, log stuck threads, and raise if a thread has ended."""
    late_turns: dict[str, int] = {}
    tick = min(_TICK_SECONDS, notifier.watchdog_interval_seconds or _TICK_SECONDS)
    while not stop.wait(tick):
        dead = daemon.dead()
        if dead is not None:
            raise _as_fatal(dead, daemon.failure())
        each_turn()
        late = stuck(daemon.turns())
        late_turns = {name: late_turns.get(name, 0) + 1 for name in late}
        for name, times in late_turns.items():
            if times == 2:  # after a stop of the whole process (SIGSTOP, a frozen machine) all are late once
                log.error("thread_stuck", thread=name, seconds=round(late[name], 1))
        notifier.status(daemon.status_line())
        if not late:
            notifier.watchdog()


def _as_fatal(name: str, failure: BaseException | None) -> BaseException:
    if isinstance(failure, IngestorError):
        return failure
    fatal = Fatal(f"the {name} thread has ended")
    fatal.__cause__ = failure
    return fatal


def _tune_the_interpreter() -> None:
    """Called after the start, when all long-lived objects exist."""
    # Long-lived objects are left out of later garbage collections, which would delay records by tens of
    # milliseconds at times.
    gc.collect()
    gc.freeze()
    # After each answer of Postgres, the committer waits for the interpreter lock, which the busy writer holds
    # for Python's default of 5 ms: as long as Postgres itself needs (decision 0008 has the figures).
    sys.setswitchinterval(_SWITCH_SECONDS)
