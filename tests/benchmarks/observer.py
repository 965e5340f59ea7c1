"""When committed rows became visible to others: a process and a connection of its own that only polls."""

import time
from bisect import bisect_left
from dataclasses import dataclass

import psutil
import psycopg

from tests.benchmarks.peers import Peer, Pipe

COMMITTED_RECORDS = (
    "SELECT committed_ordinal FROM ingest.session WHERE account = 'main' AND closed_at IS NULL"
)
"""The daemon moves it in the transaction that writes the rows of those records: one page to look at."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Poll `query` (one growing number) until it reaches `until`."""

    dsn: str
    query: str
    until: int
    pause: float
    """Seconds between polls: 0.0005 for latency, more where only the end matters."""
    timeout: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Each moment (monotonic nanoseconds) at which the number was seen to have grown, and its value."""

    moments: list[int]
    values: list[int]
    polling_cpu: float
    """Seconds that the server spent on our questions: not the contender's."""
    complete: bool

    def at(self, value: int) -> int:
        """When `value` was first visible."""
        return self.moments[bisect_left(self.values, value)]

    @property
    def end(self) -> int:
        return self.moments[-1]


def observe(pipe: Pipe) -> None:
    """Main of the process: says True once it watches, then what it saw."""
    while True:
        watch: Watch = pipe.receive()
        with psycopg.connect(watch.dsn, autocommit=True, prepare_threshold=0) as connection:
            _watch(pipe, connection, watch)


def _watch(pipe: Pipe, connection: psycopg.Connection, watch: Watch) -> None:
    backend = psutil.Process(connection.info.backend_pid)
    before = backend.cpu_times()
    query = watch.query.encode()
    moments: list[int] = []
    values: list[int] = []
    newest = -1
    deadline = time.monotonic() + watch.timeout
    reported = False
    with connection.cursor() as cursor:
        while newest < watch.until and time.monotonic() < deadline:
            row = cursor.execute(query).fetchone()
            now = time.monotonic_ns()
            number = -1 if row is None or row[0] is None else int(row[0])
            if number > newest:
                newest = number
                moments.append(now)
                values.append(number)
            if not reported:
                pipe.send(True)
                reported = True
            time.sleep(watch.pause)
    after = backend.cpu_times()
    cpu = after.user + after.system - before.user - before.system
    pipe.send(Seen(moments, values, float(cpu), newest >= watch.until))


class Observer(Peer):
    """The observer's process as seen by the rest."""

    def __init__(self) -> None:
        super().__init__(observe)

    def watch(self, watch: Watch) -> None:
        """Begin; returns once the first look was taken."""
        self._timeout = watch.timeout
        self.call(watch)

    def seen(self) -> Seen:
        """Wait for the end.

        Raises:
            TimeoutError: the number was not reached in time.
        """
        seen: Seen = self.answer(self._timeout + 10)
        if not seen.complete:
            raise TimeoutError(f"only {seen.values[-1] if seen.values else 'nothing'} became visible in time")
        return seen
