"""Life of the process: start in order, watch, drain, stop in reverse order, and say how it ended.

READY means that database and schema are known to be good and all threads run: a hub that is away is a state
to report, not a reason to fail a start. The watchdog is fed only while every thread that matters comes round,
so a stuck one is restarted. Any thread that dies ends the process; systemd starts it again. Deadlines nest:
statement < transaction < drain < systemd's TimeoutStopSec.
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
"""Or sooner, where systemd's watchdog wants it."""
_START_TURN_SECONDS = 60.0
"""More than one turn of a start that waits may take."""
_SWITCH_SECONDS = 0.0002


def run(
    daemon: Ingestor,
    notifier: Notifier,
    drain_seconds: float,
    stop: threading.Event,
    each_turn: Callable[[], object] = lambda: None,
) -> int:
    """Run until `stop` is set or something dies. Returns the exit code.

    Args:
        each_turn: called every two seconds or sooner, by this thread.

    Raises:
        Fatal: nothing that waiting could cure; its `exit_code` says which sort.
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
    """Until asked to stop: pass the threads' turns on to systemd, and notice the stuck and the dead."""
    looks: dict[str, int] = {}
    tick = min(_TICK_SECONDS, notifier.watchdog_interval_seconds or _TICK_SECONDS)
    while not stop.wait(tick):
        dead = daemon.dead()
        if dead is not None:
            raise _as_fatal(dead, daemon.failure())
        each_turn()
        late = stuck(daemon.turns())
        looks = {name: looks.get(name, 0) + 1 for name in late}
        for name, times in looks.items():
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
    """Once all that lives as long as the process is there."""
    # What stays need not be looked through again: it would cost a quiet stream tens of milliseconds at times.
    gc.collect()
    gc.freeze()
    # The committer comes back from each wait for Postgres to a busy writer; Python's 5 ms until it gets its
    # turn would be as long as Postgres itself needs (decision 0008 has the figures).
    sys.setswitchinterval(_SWITCH_SECONDS)
