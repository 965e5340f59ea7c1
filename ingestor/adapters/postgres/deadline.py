"""A limit for the time that a database may take.

A frozen server still acknowledges packets, so neither keepalives nor TCP timeouts detect it, and libpq waits
for ever. This guard shuts the socket down instead; the waiting thread then gets a lost connection and tries
again.
"""

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from ingestor.pipeline.ports import Clock

_LONGEST_TURN_SECONDS = 5.0


class DeadlineGuard:
    """Has one thread as long as its owner exists; watching a block only sets and clears two fields.

    The thread sleeps until the deadline, and without a watched block for at most the limit, because a block
    that begins meanwhile has a later deadline. Only a block with a shorter limit wakes it.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._watched: tuple[float, psycopg.Connection] | None = None
        self.has_cut = False
        """Whether the watched block, or the last one, took too long."""
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        self.turned_at = clock.monotonic()
        """Monotonic time of the last turn of the thread."""

    @contextmanager
    def watch(self, connection: psycopg.Connection, seconds: float | None = None) -> Iterator[None]:
        """Cut this connection if the block takes longer than `seconds`, by default the guard's limit.

        One block at a time.
        """
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="database deadline", daemon=True)
            self._thread.start()
        limit = self._seconds if seconds is None else seconds
        with self._lock:
            self._watched = (self._clock.monotonic() + limit, connection)
            self.has_cut = False
        if limit < self._seconds:
            self._wake.set()
        try:
            yield
        finally:
            with self._lock:
                self._watched = None

    def alive(self) -> bool:
        """False once the thread has ended."""
        return self._thread is None or self._thread.is_alive()

    def close(self) -> None:
        """End the thread."""
        self._closed = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._closed:
            self._wake.wait(self._turn())
            self._wake.clear()

    def _turn(self) -> float:
        """Cut a connection whose deadline has passed. Returns the seconds until the next check."""
        now = self.turned_at = self._clock.monotonic()
        pause = min(self._seconds, _LONGEST_TURN_SECONDS)
        with self._lock:
            if self._watched is None:
                return pause
            deadline, connection = self._watched
            if now < deadline:
                return min(pause, deadline - now)
            self._watched = None
            if not connection.closed:
                self.has_cut = True
                _cut(connection)
        return pause


def _cut(connection: psycopg.Connection) -> None:
    """Shut the socket down under libpq, so that a waiting thread gets an error."""
    # If it has ended by itself meanwhile, the error must not end the guard.
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
