"""Signals end a command in good order: they set an event, which the command checks.

An exception raised by a handler can be lost: in a finaliser or a callback of a weak reference, Python prints
it and continues. Importing modules runs many of those.

A handler can interrupt the main thread at any step, also in another handler. So it waits for no lock that the
main thread may hold.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType

from typing_extensions import override

_Handler = Callable[[int, FrameType | None], None]


class SignalEvent(threading.Event):
    """An event that a signal handler can set.

    `threading.Event` has a lock. If a handler interrupted `wait` while the main thread held it, `set` would
    wait for it for ever. Here the lock is locked while the event is not set, and only `wait` waits for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._set = False
        self._unset = threading.Lock()
        self._unset.acquire()

    @override
    def is_set(self) -> bool:
        return self._set

    @override
    def set(self) -> None:
        self._set = True
        with suppress(RuntimeError):  # not locked
            self._unset.release()

    @override
    def clear(self) -> None:
        self._set = False
        self._unset.acquire(blocking=False)

    @override
    def wait(self, timeout: float | None = None) -> bool:
        seconds = -1.0 if timeout is None else max(0.0, timeout)
        if not self.is_set() and self._unset.acquire(timeout=seconds) and self.is_set():
            with suppress(RuntimeError):
                self._unset.release()  # for the other threads that wait
        return self._set


@contextmanager
def interrupt_remembered(stop: SignalEvent) -> Iterator[None]:
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
    stop: SignalEvent, insist: Callable[[], None] = lambda: None, reload: SignalEvent | None = None
) -> Iterator[None]:
    """For a command that runs until it is asked to stop: the first SIGTERM, SIGINT or SIGHUP sets `stop`, the
    second calls `insist` and exits.

    Args:
        reload: set by SIGHUP instead, if there is no terminal whose end the signal would mean.
    """

    insisted = False

    def asked(number: int, _frame: FrameType | None) -> None:
        nonlocal insisted
        if not stop.is_set():
            stop.set()
            return
        if not insisted:
            insisted = True
            insist()
        raise SystemExit(128 + number)

    def hung_up(_number: int, _frame: FrameType | None) -> None:
        if reload is not None:
            reload.set()

    handlers: dict[signal.Signals, _Handler] = {signal.SIGTERM: asked, signal.SIGINT: asked}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as `nohup` has it
        handlers[signal.SIGHUP] = asked if reload is None or _has_terminal() else hung_up
    with _handled(handlers):
        yield


@contextmanager
def ignored_afterwards() -> Iterator[None]:
    """For the daemon: once the block has ended, none of these signals changes how the process ends. Enter it
    after the contexts that handle them."""
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def _handled(handlers: Mapping[signal.Signals, _Handler]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, former in before.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `ignored_afterwards` has it
                signal.signal(number, former)


def _has_terminal() -> bool:
    """Whether one controls this process, as it does not under systemd."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY))
    except OSError:
        return False
    return True
