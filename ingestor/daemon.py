"""Life of the process: start in order, watch, drain, stop in reverse order, and say how it ended.

READY means that database and schema are known to be good and all threads run: a hub that is away is a state
to report, not a reason to fail a start. The watchdog is fed only while every thread that matters comes round,
so a stuck one is restarted. Any thread that dies ends the process; systemd starts it again. Deadlines nest:
statement < transaction < drain < systemd's TimeoutStopSec.
"""

import threading
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from ingestor.app import Notifier
from ingestor.app.health import stuck
from ingestor.domain.errors import Fatal, IngestorError

log = structlog.get_logger()

_TICK_SECONDS = 0.5
_START_TURN_SECONDS = 60.0
"""More than one turn of a start that waits may take."""


class Daemon(Protocol):
    """What runs. `start` once, `stop` once."""

    def start(self, stop: threading.Event, waiting: Callable[[str], object]) -> None:
        """Start all threads. Waits until `stop` is set for what is away, and says so at each turn."""

    def stop(self, drain_seconds: float) -> bool:
        """Write what has been received. False if not all was written."""
        raise NotImplementedError

    def dead(self) -> str | None:
        """The name of a thread that has ended although nobody asked it to."""

    def failure(self) -> BaseException | None:
        """What ended it, where it is known."""

    def turns(self) -> Mapping[str, float]:
        """Of each thread that matters the seconds since it last came round its loop. One that waits for work
        comes round all the same."""
        raise NotImplementedError

    def status_line(self) -> str:
        """For `systemctl status`."""
        raise NotImplementedError


def run(daemon: Daemon, notifier: Notifier, drain_seconds: float, stop: threading.Event) -> int:
    """Run until `stop` is set or something dies. Returns the exit code.

    Raises:
        Fatal: nothing that waiting could cure; its `exit_code` says which sort.
    """

    def waiting(reason: str) -> None:
        notifier.status(reason)
        notifier.extend_timeout(_START_TURN_SECONDS)

    daemon.start(stop, waiting)
    try:
        if not stop.is_set():
            notifier.ready(daemon.status_line())
        _watch(daemon, notifier, stop)
    finally:
        notifier.stopping("writing what has been received")
        drained = daemon.stop(drain_seconds)
    log.info("daemon_stopped", drained=drained)
    return 0 if drained else 75


def _watch(daemon: Daemon, notifier: Notifier, stop: threading.Event) -> None:
    """Until asked to stop: pass the threads' turns on to systemd, and notice the stuck and the dead."""
    known: set[str] = set()
    while not stop.wait(_TICK_SECONDS):
        dead = daemon.dead()
        if dead is not None:
            raise _as_fatal(dead, daemon.failure())
        late = stuck(daemon.turns())
        for name in late.keys() - known:
            log.error("thread_stuck", thread=name, seconds=round(late[name], 1))
        known = set(late)
        worst = "".join(f"{name} stuck for {age:.0f} s · " for name, age in late.items())
        notifier.status(worst + daemon.status_line())
        if not late:
            notifier.watchdog()


def _as_fatal(name: str, failure: BaseException | None) -> BaseException:
    if isinstance(failure, IngestorError):
        return failure
    fatal = Fatal(f"the {name} thread has ended")
    fatal.__cause__ = failure
    return fatal
