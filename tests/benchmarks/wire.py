"""As much of HTTP and WebSocket (RFC 6455) as a hub on loopback needs, on blocking sockets."""

import base64
import hashlib
import socket
from typing import NamedTuple

_MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
TEXT, BINARY, CLOSE, PING = 0x1, 0x2, 0x8, 0x9


class Request(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]


class Stream:
    """Exact reads from a socket. Raises EOFError where the peer has gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held = bytearray()

    def exactly(self, count: int) -> bytes:
        while len(self._held) < count:
            self._more()
        return self._cut(count)

    def until(self, number: bytes) -> bytes:
        while (at := self._held.find(number)) < 0:
            self._more()
        return self._cut(at + len(number))

    def _more(self) -> None:
        piece = self._sock.recv(65536)
        if not piece:
            raise EOFError
        self._held += piece

    def _cut(self, count: int) -> bytes:
        piece = bytes(self._held[:count])
        del self._held[:count]
        return piece


def read_request(stream: Stream) -> Request:
    """One HTTP request; its body is read and dropped."""
    first, *lines = stream.until(b"\r\n\r\n").decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)
    }
    stream.exactly(int(headers.get("content-length", "0")))
    return Request(method, target, headers)


def json_response(body: bytes) -> bytes:
    return (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def upgrade_response(request: Request) -> bytes:
    key = request.headers["sec-websocket-key"].encode()
    accept = base64.b64encode(hashlib.sha1(key + _MAGIC).digest())
    return (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: %s\r\n\r\n" % accept
    )


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """An unmasked frame, as servers send them."""
    size = len(payload)
    if size < 126:
        head = bytes((0x80 | opcode, size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 127)) + size.to_bytes(8, "big")
    return head + payload


def read_frame(stream: Stream) -> tuple[int, bytes]:
    """(opcode, payload) of a client's frame. Fragments do not occur: our clients say little at a time."""
    first, second = stream.exactly(2)
    size = second & 0x7F
    if size >= 126:
        size = int.from_bytes(stream.exactly(2 if size == 126 else 8), "big")
    mask = stream.exactly(4) if second & 0x80 else b"\0\0\0\0"
    payload = stream.exactly(size)
    if size:
        key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        payload = (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")
    return first & 0x0F, payload
