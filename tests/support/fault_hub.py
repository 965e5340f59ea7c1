"""A hub made of bare sockets that misbehaves on demand: standard library only, one thread for each
connection.

It shares nothing with the code under test. A test gives it one act for each negotiate and one for each
WebSocket request; the last act of a list is repeated for ever.
"""

import base64
import hashlib
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

END = b"\x1e"
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass(slots=True)
class Request:
    """One HTTP request as it came in."""

    line: str
    headers: dict[str, str]


def invocation(number: int, padding: int = 0) -> bytes:
    """A small channel record that can be told from all others."""
    record = {"type": 1, "target": "executionEvents", "arguments": [{"n": number, "pad": "x" * padding}]}
    return json.dumps(record, separators=(",", ":")).encode()


def http_answer(status: str, body: bytes = b"", *headers: str) -> bytes:
    """A whole HTTP answer with its length."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def frame(payload: bytes, opcode: int = TEXT, *, fin: bool = True) -> bytes:
    """One unmasked WebSocket frame."""
    first = (0x80 if fin else 0) | opcode
    if len(payload) < 126:
        head = bytes((first, len(payload)))
    elif len(payload) < 65536:
        head = bytes((first, 126)) + struct.pack(">H", len(payload))
    else:
        head = bytes((first, 127)) + struct.pack(">Q", len(payload))
    return head + payload


class Peer:
    """One accepted connection, seen from the hub."""

    def __init__(self, sock: socket.socket, hub: "FaultHub") -> None:
        self.sock = sock
        self.hub = hub
        self.buffer = b""
        self.request = Request("", {})

    # --- HTTP ---

    def read_request(self) -> bool:
        """False if the client went away first."""
        while b"\r\n\r\n" not in self.buffer:
            piece = self.sock.recv(65536)
            if not piece:
                return False
            self.buffer += piece
        head, _, self.buffer = self.buffer.partition(b"\r\n\r\n")
        line, *fields = head.decode("latin-1").split("\r\n")
        pairs = (each.partition(":") for each in fields)
        self.request = Request(line, {name.lower(): value.strip() for name, _, value in pairs})
        return True

    def negotiate(self, **answer: object) -> None:
        """Answer as ASP.NET Core does, with these fields instead or besides."""
        body: dict[str, object] = {
            "negotiateVersion": 1,
            "connectionId": "public-id",
            "connectionToken": "private-token",
            "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}],
        }
        body.update(answer)
        self.raw(http_answer("200 OK", json.dumps(body).encode(), "Content-Type: application/json"))

    def accept_answer(self, accept: str | None = None) -> bytes:
        """The 101 answer that fits the request, or one with this `Sec-WebSocket-Accept`."""
        nonce = self.request.headers["sec-websocket-key"].encode()
        right = base64.b64encode(hashlib.sha1(nonce + _GUID).digest()).decode()
        return (
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept or right}\r\n\r\n"
        ).encode()

    # --- WebSocket ---

    def shake(self, *, glued: bytes = b"") -> None:
        """Upgrade, read the handshake request, accept it; `glued` rides in the same segment."""
        self.raw(self.accept_answer())
        self.hub.handshakes.append(self.message()[1])
        self.raw(frame(b"{}" + END) + glued)

    def raw(self, data: bytes) -> None:
        self.sock.sendall(data)

    def records(self, *records: bytes) -> None:
        """All of them in one frame."""
        self.raw(frame(b"".join(record + END for record in records)))

    def message(self) -> tuple[int, bytes]:
        """The next frame of the client: opcode and unmasked payload. OSError if it went away."""
        first, second = self._exactly(2)
        size = second & 0x7F
        if size == 126:
            size = struct.unpack(">H", self._exactly(2))[0]
        elif size == 127:
            size = struct.unpack(">Q", self._exactly(8))[0]
        mask = self._exactly(4)
        payload = bytes(byte ^ mask[place % 4] for place, byte in enumerate(self._exactly(size)))
        return first & 0x0F, payload

    def listen(self) -> None:
        """Read until the client goes away, and keep every frame in `hub.received`."""
        while True:
            self.hub.received.append(self.message())

    def until_gone(self) -> None:
        """Read and drop bytes until the client goes away."""
        while self.sock.recv(65536):
            pass

    def reset(self) -> None:
        """Go away with an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def _exactly(self, count: int) -> bytes:
        while len(self.buffer) < count:
            piece = self.sock.recv(65536)
            if not piece:
                raise ConnectionResetError("the client went away")
            self.buffer += piece
        taken, self.buffer = self.buffer[:count], self.buffer[count:]
        return taken


Act = Callable[[Peer], None]


def negotiated(peer: Peer) -> None:
    peer.negotiate()


def stay(peer: Peer) -> None:
    """A session that opens and stays, mute."""
    peer.shake()
    peer.listen()


@dataclass
class FaultHub:
    """Listens on loopback while it is entered; cuts everything at the end."""

    sessions: Sequence[Act] = (stay,)
    negotiations: Sequence[Act] = (negotiated,)
    tls: ssl.SSLContext | None = None
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    handshakes: list[bytes] = field(default_factory=list)
    received: list[tuple[int, bytes]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)
    """What went wrong in an act itself: a test that ends with one has proven nothing."""

    def __enter__(self) -> Self:
        self._lock = threading.Lock()
        self._counts = [0, 0]
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept, name="fault hub", daemon=True)]
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        assert not self.failures, self.failures

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/ExecutionLiveServer/v1"

    @property
    def upgrades(self) -> list[Request]:
        return [request for request in self.requests if request.line.startswith("GET ")]

    def close(self) -> None:
        """Stop listening and cut every connection, as a killed server does."""
        _cut(self._listener)
        with self._lock:
            for sock in self._open:
                _cut(sock)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive(), "an act of the fault hub hangs"

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self._open.append(sock)
            thread = threading.Thread(target=self._serve, args=(sock,), name="fault hub", daemon=True)
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        plain = sock
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
                with self._lock:
                    self._open.append(sock)
            peer = Peer(sock, self)
            if not peer.read_request():
                return
            with self._lock:
                self.requests.append(peer.request)
                kind = 0 if "/negotiate" in peer.request.line else 1
                acts = (self.negotiations, self.sessions)[kind]
                act = acts[min(self._counts[kind], len(acts) - 1)]
                self._counts[kind] += 1
            act(peer)
        except OSError:
            return  # the client, or the end of the test, cut the connection
        except BaseException as error:  # noqa: BLE001 - kept for the test, which fails with it
            self.failures.append(error)
        finally:
            with self._lock:
                self._open = [each for each in self._open if each is not sock and each is not plain]
            _cut(sock)


def _cut(sock: socket.socket) -> None:
    try:
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
    except OSError:
        pass  # it was never connected, or is down already
    finally:
        sock.close()
