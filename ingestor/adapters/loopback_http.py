"""Small HTTP servers for one machine: pages by path, one connection at a time, in one thread.

They implement what a scrape, a probe or a command needs: no request body, no keep-alive. Each connection has
one deadline, and few may wait, so a client that is slow or never stops delays only the next client.
"""

import errno
import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import structlog
from typing_extensions import override

from ingestor.pipeline.ports import Clock

log = structlog.get_logger()

_DEADLINE_SECONDS = 2.0
_WAITING = 4
_REQUEST_BYTES = 8 * 1024
_ANSWER_BYTES = 1024 * 1024
_RETRY_SECONDS = 5.0


class Page(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    content_type: str = "text/plain; charset=utf-8"


Pages = Mapping[str, Callable[[str], Page]]
"""By method and path, `GET /metrics`; each is given the query string."""


class LoopbackServer:
    """`start` and `stop` once. If the address is in use, it is tried again until it is free."""

    name = "metrics"
    """Of its thread."""

    def __init__(self, host: str, port: int, pages: Pages, clock: Clock) -> None:
        """`port`: 0 for any free one, which `metrics_listening` logs."""
        self._address = (host, port)
        self._pages = pages
        self._clock = clock
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._failing = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        """Begin to listen; never waits and never raises."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Stop listening. The connection that is being answered gets its answer."""
        self._stopping.set()
        if self._listener is not None:
            with suppress(OSError):  # it has ended already
                self._listener.shutdown(socket.SHUT_RDWR)  # which ends `accept`
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def alive(self) -> bool:
        """False once its thread has ended, for whatever reason."""
        return self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                with self._listening() as listener:
                    self._serve(listener)
            except OSError as error:
                self._failed(str(error))
                self._stopping.wait(_RETRY_SECONDS)

    def _listening(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        listener = socket.create_server(self._address, family=family, backlog=_WAITING)
        self._listener = listener
        self._failing = False
        host, port = listener.getsockname()[:2]
        log.info("metrics_listening", address=f"{host}:{port}")
        return listener

    def _serve(self, listener: socket.socket) -> None:
        while not self._stopping.is_set():
            connection, _ = listener.accept()
            with connection:
                try:
                    self._answer(connection)
                except OSError:
                    continue  # the client was too slow, or has gone

    def _answer(self, connection: socket.socket) -> None:
        head, deadline = b"", self._clock.monotonic() + _DEADLINE_SECONDS
        while b"\r\n\r\n" not in head and len(head) < _REQUEST_BYTES:
            connection.settimeout(max(0.001, deadline - self._clock.monotonic()))
            piece = connection.recv(_REQUEST_BYTES)
            if not piece:
                return
            head += piece
        page = self._page(head)
        lines = (
            f"HTTP/1.1 {page.status} {HTTPStatus(page.status).phrase}",
            f"Content-Type: {page.content_type}",
            f"Content-Length: {len(page.body)}",
            "Connection: close",
        )
        connection.settimeout(max(0.001, deadline - self._clock.monotonic()))  # for all of it
        connection.sendall("\r\n".join((*lines, "", "")).encode() + page.body)

    def _page(self, head: bytes) -> Page:
        match head.partition(b"\r\n")[0].decode("latin-1").split(" "):
            case [method, target, "HTTP/1.0" | "HTTP/1.1"]:
                path, _, query = target.partition("?")
            case _:
                return Page(400, b"this is not HTTP/1.1\n")
        page = self._pages.get(f"{method} {path}")
        if page is None and method != "GET":
            return Page(405, b"only GET\n")
        if page is None:
            return Page(404, "".join(f"{each}\n" for each in self._pages).encode())
        try:
            return page(query)
        except Exception as error:  # noqa: BLE001 - a page that fails must not end the process
            self._failed(f"{type(error).__name__}: {error}")
            return Page(503, b"this page failed; see " + self.name.encode() + b"_failed in the log\n")

    def _failed(self, error: str) -> None:
        if not (self._failing or self._stopping.is_set()):
            self._warn(error)
        self._failing = True

    def _warn(self, error: str) -> None:
        log.warning("metrics_failed", error=error)


class ControlServer(LoopbackServer):
    """The same on a socket file for its user and its group."""

    name = "control"

    def __init__(self, path: Path, pages: Pages, clock: Clock) -> None:
        super().__init__("", 0, pages, clock)
        self._path = path

    @override
    def stop(self, timeout: float) -> None:
        super().stop(timeout)
        if self._listener is not None:  # asked now: it may have begun to listen meanwhile
            self._path.unlink(missing_ok=True)

    @override
    def _listening(self) -> socket.socket:
        if _answers(self._path):  # a standby waits until the other process has ended
            raise OSError(errno.EADDRINUSE, f"another process listens on {self._path}")
        self._path.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        # Nobody can connect before the mode is set; the rename also replaces the socket of a killed process.
        making = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        making.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(str(making))
            making.chmod(0o660)
            listener.listen(_WAITING)
            making.rename(self._path)
        except OSError:
            listener.close()
            making.unlink(missing_ok=True)
            raise
        self._listener = listener
        self._failing = False
        log.info("control_listening", path=str(self._path))
        return listener

    @override
    def _warn(self, error: str) -> None:
        log.warning("control_failed", error=error)


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(_DEADLINE_SECONDS)
        try:
            asking.connect(str(path))
        except TimeoutError:
            return True
        except OSError:
            return False
    return True


def ask(path: Path, method: str, target: str, timeout: float) -> bytes | None:
    """A control server's answer; None without one within `timeout` seconds for each step.

    Raises:
        PermissionError: the socket is for another user and group.
    """
    answer = b""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.settimeout(timeout)
        try:
            asking.connect(str(path))
            asking.sendall(f"{method} {target} HTTP/1.1\r\n\r\n".encode())
            while (piece := asking.recv(65_536)) and len(answer) < _ANSWER_BYTES:
                answer += piece
        except PermissionError:
            raise
        except OSError:
            return None
    head, _, body = answer.partition(b"\r\n\r\n")
    return body if head.startswith(b"HTTP/1.1 200 ") else None
