"""A limit on how long a database may keep us waiting.

A frozen server still acknowledges packets, so neither keepalives nor TCP timeouts notice it, and libpq waits
for ever. This guard cuts the socket instead; whoever waits then sees a lost connection and tries again.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from ingestor.pipeline.ports import Clock

_LONGEST_TICK_SECONDS = 0.5


class DeadlineGuard:
    """One thread for the life of its owner; a watched block only sets and clears two fields."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._watched: tuple[float, psycopg.Connection] | None = None
        self.has_cut = False
        """Whether the block that is watched, or was last, took too long."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.turned_at = clock.monotonic()
        """Monotonic time at which the thread last came round."""

    @contextmanager
    def watch(self, connection: psycopg.Connection, seconds: float | None = None) -> Iterator[None]:
        """Cut this connection if the block takes longer than `seconds`, by default the guard's own limit.

        One block at a time.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="database deadline", daemon=True)
            self._thread.start()
        limit = self._seconds if seconds is None else seconds
        with self._lock:
            self._watched = (self._clock.monotonic() + limit, connection)
            self.has_cut = False
        try:
            yield
        finally:
            with self._lock:
                self._watched = None

    def alive(self) -> bool:
        """False once the thread has ended, for whatever reason."""
        return self._thread is None or self._thread.is_alive()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(min(self._seconds / 10, _LONGEST_TICK_SECONDS)):
            self.turned_at = self._clock.monotonic()
            with self._lock:
                if self._watched is None:
                    continue
                deadline, connection = self._watched
                if self._clock.monotonic() < deadline or connection.closed:
                    continue
                self._watched = None
                self.has_cut = True
                _cut(connection)


def _cut(connection: psycopg.Connection) -> None:
    """Shut the socket down under libpq: whoever waits on it wakes with an error."""
    # One that has gone down by itself meanwhile needs no cut, and must not end the guard.
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
