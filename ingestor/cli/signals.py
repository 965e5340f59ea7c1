"""Signals end a command in good order: they set an event, which the command checks.

An exception raised by a handler can be lost: in a finaliser or a callback of a weak reference, Python prints
it and continues. Importing modules runs many of those.
"""

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

_Handler = Callable[[int, FrameType | None], None]


@contextmanager
def interrupt_remembered(stop: threading.Event) -> Iterator[None]:
    """For every command, from its start: ^C raises KeyboardInterrupt as usual, and also sets `stop`, in case
    the exception is lost."""

    def interrupted(_number: int, _frame: FrameType | None) -> None:
        stop.set()
        raise KeyboardInterrupt

    kept = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    with _handled({} if kept else {signal.SIGINT: interrupted}):
        yield


@contextmanager
def stop_on_signals(
    stop: threading.Event, insist: Callable[[], None] = lambda: None, reload: threading.Event | None = None
) -> Iterator[None]:
    """For a command that runs until it is asked to stop: the first SIGTERM, SIGINT or SIGHUP sets `stop`, the
    second calls `insist` and exits. SIGUSR1 writes the stacks of all threads to standard error. So does what
    kills the process: systemd's watchdog sends SIGABRT.

    Args:
        reload: set by SIGHUP instead, if there is no terminal whose end the signal would mean.
    """

    def asked(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            insist()
            raise SystemExit(128 + number)
        stop.set()

    def hung_up(_number: int, _frame: FrameType | None) -> None:
        if reload is not None:
            reload.set()

    handlers: dict[signal.Signals, _Handler] = {signal.SIGTERM: asked, signal.SIGINT: asked}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
        handlers[signal.SIGHUP] = asked if reload is None or _has_terminal() else hung_up
    stderr = _standard_error()
    faulthandler.enable(stderr)
    # Not by `faulthandler`: it reads the stacks of threads that run meanwhile, which can end the process.
    handlers[signal.SIGUSR1] = lambda _number, _frame: _write_stacks(stderr)
    with _handled(handlers):
        yield


def _write_stacks(file: int) -> None:
    """Write as much as the file takes without blocking. Called with the interpreter's lock, under which the
    stack of another thread can be read."""
    names = {each.ident: each.name for each in threading.enumerate()}
    rest = b""
    for ident, frame in sys._current_frames().items():  # noqa: SLF001 - documented
        stack = "".join(traceback.format_stack(frame))
        rest += f"Thread {names.get(ident, ident)} (most recent call last):\n{stack}\n".encode()
    with suppress(OSError):
        while rest:
            rest = rest[os.write(file, rest) :]


@contextmanager
def _handled(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _has_terminal() -> bool:
    """Whether one controls this process, as it does not under systemd."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError:
        return False
    return True


def _standard_error() -> int:
    """Opened again without blocking if possible: a pipe that nobody reads must not block the thread that
    writes stacks."""
    try:
        return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # a socket, as the journal's, or not Linux
        return 2
