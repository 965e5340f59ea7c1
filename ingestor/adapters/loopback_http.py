"""A small HTTP server for one machine: pages by path, one connection at a time, in one thread.

It does no more than a scrape or a probe needs: GET, without keep-alive. Each connection has a deadline for
all of it, and few may wait, so a client that is slow or never stops delays nothing but the next client.
"""

import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import NamedTuple

import structlog

from ingestor.pipeline.ports import Clock

log = structlog.get_logger()

_DEADLINE_SECONDS = 2.0
_WAITING = 4
_REQUEST_BYTES = 8 * 1024
_RETRY_SECONDS = 5.0
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    503: "Service Unavailable",
}
_PLAIN = "text/plain; charset=utf-8"


class Page(NamedTuple):
    """An answer."""

    status: int
    body: bytes
    content_type: str = _PLAIN


class LoopbackServer:
    """`start` and `stop` once. An address that is taken is tried again until it is free."""

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]], clock: Clock) -> None:
        """
        Args:
            port: 0 takes a free one, which `metrics_listening` names.
            pages: by path.
        """
        self._address = (host, port)
        self._pages = pages
        self._clock = clock
        self._stopping = threading.Event()
        self._listener: socket.socket | None = None
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="metrics", daemon=True)

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
            f"HTTP/1.1 {page.status} {_REASONS[page.status]}",
            f"Content-Type: {page.content_type}",
            f"Content-Length: {len(page.body)}",
            "Connection: close",
        )
        connection.settimeout(max(0.001, deadline - self._clock.monotonic()))  # for all of it
        connection.sendall("\r\n".join((*lines, "", "")).encode() + page.body)

    def _page(self, head: bytes) -> Page:
        match head.partition(b"\r\n")[0].decode("latin-1").split(" "):
            case ["GET", target, "HTTP/1.0" | "HTTP/1.1"]:
                page = self._pages.get(target.partition("?")[0])
            case [_, _, "HTTP/1.0" | "HTTP/1.1"]:
                return Page(405, b"only GET\n")
            case _:
                return Page(400, b"this is not HTTP/1.1\n")
        if page is None:
            return Page(404, "".join(f"{path}\n" for path in self._pages).encode())
        try:
            return page()
        except Exception as error:  # noqa: BLE001 - a page that fails must not end what it tells of
            self._failed(f"{type(error).__name__}: {error}")
            return Page(503, b"this page failed; see metrics_failed in the log\n")

    def _failed(self, error: str) -> None:
        if not (self._failing or self._stopping.is_set()):
            log.warning("metrics_failed", error=error)
        self._failing = True
