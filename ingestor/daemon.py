"""Life of the process: start in order, watch, drain, stop in reverse order, and say how it ended.

READY means that database and schema are known to be good and all threads run: a hub that is away is a state
to report, not a reason to fail a start. The watchdog is fed by the writer's turns and by nothing else, so a
stuck writer is restarted. Any thread that dies ends the process; systemd starts it again. Deadlines nest:
statement < transaction < drain < systemd's TimeoutStopSec.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from ingestor.app import Ingestor, Notifier
from ingestor.domain.errors import Fatal, IngestorError

log = structlog.get_logger()

_TICK_SECONDS = 0.5
_TURN_PATIENCE_SECONDS = 30.0
"""A writer that has not turned for this long is stuck: longer than the longest transaction may take."""


def run(ingestor: Ingestor, notifier: Notifier, drain_seconds: float) -> int:
    """Run until a signal asks to stop or something dies. Returns the exit code.

    Raises:
        Fatal: nothing that waiting could cure; its `exit_code` says which sort.
    """
    stop = threading.Event()
    with _signals(stop, insist=ingestor.abandon):
        ingestor.start(stop, notifier.status)
        try:
            if not stop.is_set():
                notifier.ready(ingestor.status_line())
            _watch(ingestor, notifier, stop)
        finally:
            notifier.stopping("writing what is held")
            drained = ingestor.stop(drain_seconds)
    log.info("daemon_stopped", drained=drained)
    return 0 if drained else 75


def _watch(ingestor: Ingestor, notifier: Notifier, stop: threading.Event) -> None:
    """Until asked to stop: pass the writer's turns on to systemd, and notice the dead."""
    while not stop.wait(_TICK_SECONDS):
        dead = ingestor.dead()
        if dead is not None:
            raise _as_fatal(dead, ingestor.failure())
        notifier.status(ingestor.status_line())
        if ingestor.seconds_since_turn() < _TURN_PATIENCE_SECONDS:
            notifier.watchdog()


def _as_fatal(name: str, failure: BaseException | None) -> BaseException:
    if isinstance(failure, IngestorError):
        return failure
    fatal = Fatal(f"the {name} thread has ended")
    fatal.__cause__ = failure
    return fatal


@contextmanager
def _signals(stop: threading.Event, insist: Callable[[], None]) -> Iterator[None]:
    """The first SIGTERM or SIGINT asks, the second insists."""

    def asked(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            insist()
            raise SystemExit(128 + number)
        stop.set()

    numbers = (signal.SIGTERM, signal.SIGINT)
    before = {number: signal.signal(number, asked) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
