"""Signals end a command in good order: they set an event, which the command looks at.

An exception raised by a handler can be lost: where it lands in a finaliser or a weakref's callback, Python
prints it and goes on. Importing modules is full of those.
"""

import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]


@contextmanager
def interrupt_remembered(stop: threading.Event) -> Iterator[None]:
    """For every command, from its first moment: ^C raises KeyboardInterrupt as ever, and sets `stop` too, for
    the case that the exception is lost."""

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        raise KeyboardInterrupt

    kept = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with _handled(interrupted, [] if kept else [signal.SIGINT]):
        yield


@contextmanager
def stop_on_signals(stop: threading.Event, insist: Callable[[], None] = lambda: None) -> Iterator[None]:
    """For a command that runs until it is asked to stop: the first SIGTERM, SIGINT or SIGHUP (a terminal that
    was closed) sets `stop`, the second calls `insist` and exits. SIGUSR1 writes the stacks of all threads to
    standard error, and so does what kills the process: systemd's watchdog sends SIGABRT."""

    def asked(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            insist()
            raise SystemExit(128 + number)
        stop.set()

    numbers = [signal.SIGTERM, signal.SIGINT]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
        numbers.append(signal.SIGHUP)
    stderr = _standard_error()
    faulthandler.enable(stderr)
    faulthandler.register(signal.SIGUSR1, stderr)
    with _handled(asked, numbers):
        yield


@contextmanager
def _handled(handler: _Handler, numbers: list[signal.Signals]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in numbers}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _standard_error() -> int:
    """Opened anew where that can be: a pipe that nobody reads must not hold the thread that writes stacks."""
    try:
        return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # a socket, as the journal's, or not Linux
        return 2
