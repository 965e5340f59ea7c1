"""Writes log lines in a thread of its own, so that a slow reader of the log delays no other thread.

A pipe that nobody reads would otherwise block each thread at its next log line. The queue is bounded; a line
that does not fit, or cannot be written, is dropped and counted, and the count is logged once lines can be
written again.
"""

import atexit
import logging
import os
import select
import threading
from queue import SimpleQueue
from typing import TextIO

import structlog
from typing_extensions import override

MOST_LINES = 2000
"""In the queue; at 4 KB a line they are 8 MB at most."""
_DRAIN_SECONDS = 1.0

log: structlog.stdlib.BoundLogger = structlog.get_logger("ingestor.logs")


class LineHandler(logging.Handler):
    """A bounded queue, and the thread that writes its lines to a stream."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self.stream = stream
        # Not `queue.Queue`: a finaliser that logs may run in the middle of its `put`, and would wait for it.
        self._lines: SimpleQueue[str | threading.Event | None] = SimpleQueue()
        self._dropped = 0
        self._unwritten = 0
        self._thread = threading.Thread(target=self._write_lines, name="log writer", daemon=True)
        self._thread.start()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record)
        except Exception:  # noqa: BLE001 - the library would print the arguments with secrets in them
            line = f'{{"event":"log_record_lost","level":"error","line":{record.lineno}}}'
        if self._lines.qsize() < MOST_LINES:
            self._lines.put(f"{line}\n")
        else:
            self._dropped += 1  # under the handler's lock, like all of `emit`

    def alive(self) -> bool:
        """False once the thread has ended."""
        return self._thread.is_alive()

    def drain(self) -> None:
        """Wait until what has been logged is written, a second or two at most."""
        for _ in range(2):  # the first may be followed by the count of what was dropped
            written = threading.Event()
            self._lines.put(written)
            written.wait(_DRAIN_SECONDS)

    @override
    def close(self) -> None:
        self._lines.put(None)
        super().close()

    def _write_lines(self) -> None:
        logged = 0
        while (line := self._lines.get()) is not None:
            if isinstance(line, threading.Event):
                line.set()
            elif not self._write(line):
                self._unwritten += 1
            elif (lost := self._dropped + self._unwritten) > logged and self._lines.qsize() < MOST_LINES // 2:
                log.warning("log_records_dropped", count=lost - logged)
                logged = lost

    def _write(self, line: str) -> bool:
        """Without the stream's own buffer, whose lock would be held while the pipe is full."""
        try:
            number = _number(self.stream)
            if number is None:
                self.stream.write(line)
                return True
            data = line.encode()
            while data:
                try:
                    data = data[os.write(number, data) :]
                except BlockingIOError:  # another process that shares the pipe has made it non-blocking
                    select.select([], [number], [])
        except (OSError, ValueError):
            return False
        return True


def _number(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def is_journal(stream: TextIO | None) -> bool:
    """Whether this stream is the journal's. $JOURNAL_STREAM alone is also set where a stream is
    redirected."""
    number = None if stream is None else _number(stream)
    if number is None:
        return False
    status = os.fstat(number)
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


@atexit.register
def drain() -> None:
    """Wait until all that has been logged is written, at most a second or two."""
    for handler in _handlers():
        handler.drain()


def writer_alive() -> bool:
    """False if the thread that writes log lines has ended."""
    return all(handler.alive() for handler in _handlers())


def _handlers() -> list[LineHandler]:
    return [each for each in logging.getLogger().handlers if isinstance(each, LineHandler)]
