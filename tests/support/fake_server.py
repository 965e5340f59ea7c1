"""A server that speaks just enough of Postgres' protocol to say what a real one cannot be brought to say."""

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

Answer = Callable[[socket.socket], None]

_SSL_REQUEST, _GSS_REQUEST = 80877103, 80877104


def message(kind: bytes, body: bytes) -> bytes:
    """One message of the protocol, version 3."""
    return kind + struct.pack("!i", len(body) + 4) + body


def refusal(sqlstate: str, text: str, severity: str = "FATAL") -> Answer:
    """An ErrorResponse: text and `severity` in whatever language, the rest as the protocol has it."""
    fields = {"S": severity, "V": "FATAL", "C": sqlstate, "M": text, "F": "auth.c", "L": "1", "R": "f"}
    body = b"".join(name.encode() + value.encode() + b"\0" for name, value in fields.items()) + b"\0"
    return lambda peer: peer.sendall(message(b"E", body))


def logged_in(peer: socket.socket) -> None:
    """AuthenticationOk, what a client must know, ReadyForQuery; and nothing ever again."""
    parameters = {"server_encoding": "UTF8", "client_encoding": "UTF8", "server_version": "15.0"}
    peer.sendall(
        message(b"R", struct.pack("!i", 0))
        + b"".join(message(b"S", f"{name}\0{value}\0".encode()) for name, value in parameters.items())
        + message(b"K", struct.pack("!ii", 1, 1))
        + message(b"Z", b"I")
    )
    while peer.recv(4096):
        pass


class FakeServer:
    """Listens on loopback while the block lasts, and answers each startup message; gives its URL."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._peers: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="fake server")

    @property
    def url(self) -> str:
        return f"postgresql+psycopg://somebody:secret@127.0.0.1:{self._listener.getsockname()[1]}/some"

    def __enter__(self) -> str:
        self._thread.start()
        return self.url

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for each in (self._listener, *self._peers):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._peers.append(peer)
                with suppress(OSError, struct.error):  # it has hung up, at TLS say
                    self._greet(peer)

    def _greet(self, peer: socket.socket) -> None:
        while True:
            length, code = struct.unpack("!ii", peer.recv(8, socket.MSG_WAITALL))
            peer.recv(length - 8, socket.MSG_WAITALL) if length > 8 else b""
            if code not in {_SSL_REQUEST, _GSS_REQUEST}:
                break
            peer.sendall(b"N")
        self._answer(peer)
        peer.close()
