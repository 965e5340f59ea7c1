"""Processes of the benchmark that answer requests: whoever measures is never the one who is measured."""

import multiprocessing
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

import psutil

_SPAWN = multiprocessing.get_context("spawn")


class PeerFailed(Exception):
    """The other process ended with a traceback, or did not answer in time."""


@dataclass(frozen=True, slots=True)
class _Failure:
    text: str


class Pipe:
    """The end in the child: `receive` requests, `send` answers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def receive(self) -> Any:
        """The next request. Raises EOFError when the parent has gone."""
        return self._connection.recv()

    def has_request(self) -> bool:
        """Whether a request waits."""
        return self._connection.poll(0)

    def send(self, answer: object) -> None:
        self._connection.send(answer)


class Peer:
    """A child process that runs `main(pipe, *arguments)` until it is stopped."""

    def __init__(self, main: Callable[..., None], *arguments: object) -> None:
        self._name = main.__name__
        self._connection, child = _SPAWN.Pipe()
        self._process = _SPAWN.Process(target=_run, args=(child, main, arguments), daemon=True)
        self._process.start()
        child.close()

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def call(self, request: object, timeout: float = 60.0) -> Any:
        """Send a request and wait for its answer."""
        self.tell(request)
        return self.answer(timeout)

    def tell(self, request: object) -> None:
        self._connection.send(request)

    def answer(self, timeout: float = 60.0) -> Any:
        """The next answer.

        Raises:
            PeerFailed: with the child's traceback, or after `timeout` seconds.
        """
        if not self._connection.poll(timeout):
            raise PeerFailed(f"{self._name} said nothing for {timeout:g} s")
        try:
            answer = self._connection.recv()
        except EOFError:
            raise PeerFailed(f"{self._name} has ended") from None
        if isinstance(answer, _Failure):
            raise PeerFailed(f"{self._name} failed:\n{answer.text}")
        return answer

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        return cpu_of(self.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


def cpu_of(pid: int) -> float:
    """User and system seconds of one process."""
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _run(connection: Connection, main: Callable[..., None], arguments: tuple[object, ...]) -> None:
    try:
        main(Pipe(connection), *arguments)
    except (EOFError, BrokenPipeError, KeyboardInterrupt):
        return  # the parent has gone
    except BaseException:  # noqa: BLE001 - sent to the parent, which fails with it
        connection.send(_Failure(traceback.format_exc()))
