"""The stacks of all threads, written to standard error when a signal asks for them.

A thread of its own writes them: the main thread, which runs the handlers of signals, may be stuck. The
interpreter writes the number of each signal into a pipe (`signal.set_wakeup_fd`), whatever its threads do.
`faulthandler` needs no lock of the interpreter, so it reads stacks of threads that run meanwhile, which ends
the process now and then. It is used for crashes only, which end the process anyway.
"""

import faulthandler
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def stacks_on_signals() -> Iterator[Callable[[], bool]]:
    """SIGUSR1 writes the stacks. SIGABRT, which systemd's watchdog sends, then ends the process.

    Yields:
        Whether the thread that does this is alive.
    """
    stderr = _standard_error()
    faulthandler.enable(stderr)
    asked, wake = os.pipe()
    os.set_blocking(wake, False)
    thread = threading.Thread(target=_write_when_asked, args=(asked, stderr), name="stacks", daemon=True)
    thread.start()
    woken_before = signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    before = {number: signal.signal(number, _wakes_only) for number in (signal.SIGUSR1, signal.SIGABRT)}
    try:
        yield thread.is_alive
    finally:
        for number, former in before.items():
            if signal.getsignal(number) is not signal.SIG_IGN:  # as `ignored_afterwards` has it
                signal.signal(number, former)
        signal.set_wakeup_fd(woken_before)
        os.close(wake)
        thread.join(1.0)  # it may be writing to what nobody reads
        os.close(asked)


def _wakes_only(_number: int, _frame: object) -> None:
    """Without a handler, the interpreter would not write the signal's number."""


def _write_when_asked(asked: int, file: int) -> None:
    while numbers := os.read(asked, 4096):
        try:
            if signal.SIGUSR1 in numbers or signal.SIGABRT in numbers:
                _write_stacks(file)
        finally:
            if signal.SIGABRT in numbers:
                os.abort()


def _write_stacks(file: int) -> None:
    """Write as much as the file takes without blocking."""
    names = {each.ident: each.name for each in threading.enumerate()}
    rest = b""
    for ident, innermost in sys._current_frames().items():  # noqa: SLF001 - documented
        stack = traceback.format_stack(innermost)
        text = f"Thread {names.get(ident, ident)} (most recent call last):\n{''.join(stack)}\n"
        rest += text.encode(errors="backslashreplace")  # a path may not be UTF-8
    with suppress(OSError):
        while rest:
            rest = rest[os.write(file, rest) :]


def _standard_error() -> int:
    """Opened again without blocking if possible: a pipe that nobody reads must not block the thread that
    writes stacks."""
    try:
        return os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError:  # a socket, as the journal's, or not Linux
        return 2
