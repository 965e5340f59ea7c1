"""signalrcore's WebSocket client, with what RFC 6455 asks for and a daemon needs.

It replaces the parts that cost the connection or the process: pings are answered, whatever they carry, also
between fragments; the upgrade is really checked, and bytes glued behind it are kept; frames are read through
a buffer; a message above the limit is read and thrown away while it is hashed; text is handed on as bytes, so
that invalid UTF-8 costs a record and not the link. One lock stands before the socket for all senders.
"""

import base64
import hashlib
import os
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from signalrcore.transport.websockets.websocket_client import WebSocketClient

from ingestor.adapters.hub.causes import LinkCause, LinkFailure
from ingestor.adapters.hub.negotiate import cause_of

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_CHUNK = 256 * 1024
_MOST_HEADER_BYTES = 64 * 1024
_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


@dataclass(frozen=True, slots=True)
class Oversized:
    """A message above the limit: its head, and what proves the rest."""

    head: bytes
    size: int
    sha256: bytes


class OneShotWebSocket(WebSocketClient):  # type: ignore[misc] # the library is untyped
    """Opened once by `connect`, read by signalrcore's receive thread, ended by `cut`."""

    def __init__(
        self,
        *,
        message_limit: int,
        head_limit: int,
        connect_seconds: float,
        on_frame: Callable[[bytes | Oversized], None],
        on_idle: Callable[[], None],
        on_heard: Callable[[], None],
        on_end: Callable[[LinkFailure], None],
        **signalrcore: object,
    ) -> None:
        super().__init__(**signalrcore)
        self._message_limit = message_limit
        self._head_limit = head_limit
        self._connect_seconds = connect_seconds
        self._on_frame = on_frame
        self._on_idle = on_idle
        self._on_heard = on_heard
        self._on_end = on_end
        self._buffer = bytearray()
        self._send_lock = threading.Lock()
        self._ended = threading.Event()
        self.sock: socket.socket | None = None

    # --- opening ---

    def connect(self) -> None:
        """Open and upgrade. Raises LinkFailure."""
        try:
            self.sock = self._open()
            self._upgrade(self.sock)
            # Silence is for the supervisor to judge, who knows how often a hub pings; a hub that does
            # not take what we send is another matter.
            self.sock.settimeout(None)
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self._connect_seconds))
        except LinkFailure:
            raise
        except TimeoutError:
            raise LinkFailure(LinkCause.TIMEOUT_UPGRADE, "the hub did not answer the upgrade") from None
        except OSError as error:
            raise LinkFailure(cause_of(error), str(error)[:200]) from None
        self.running = True
        self.recv_thread = threading.Thread(target=self.run, name="hub receiver", daemon=True)
        self.recv_thread.start()

    def _open(self) -> socket.socket:
        parts = urlsplit(self.url)
        secure = parts.scheme in {"wss", "https"}
        address = (parts.hostname, parts.port or (443 if secure else 80))
        raw = socket.create_connection(address, self._connect_seconds)
        self.sock = raw  # so that `cut` can reach it while TLS is being agreed
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if not secure:
            return raw
        context: ssl.SSLContext = self.ssl_context
        return context.wrap_socket(raw, server_hostname=parts.hostname)

    def _upgrade(self, sock: socket.socket) -> None:
        parts = urlsplit(self.url)
        nonce = base64.b64encode(os.urandom(16)).decode()
        host = parts.netloc.rpartition("@")[2]
        lines = [
            f"GET {parts.path}{'?' + parts.query if parts.query else ''} HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {nonce}",
            "Sec-WebSocket-Version: 13",
            *(f"{name}: {value}" for name, value in self.headers.items() if name != "Content-Type"),
        ]
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        while b"\r\n\r\n" not in self._buffer:
            piece = sock.recv(_CHUNK)
            if not piece:
                raise LinkFailure(LinkCause.UPGRADE_REFUSED, "the hub hung up during the upgrade")
            self._buffer += piece
            if len(self._buffer) > _MOST_HEADER_BYTES:
                raise LinkFailure(LinkCause.UPGRADE_REFUSED, "the answer to the upgrade has no end")
        head, _, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        self._buffer = bytearray(rest)
        _check_upgrade(head.decode("latin-1"), nonce)

    # --- sending ---

    def send(self, message: str | bytes, opcode: int = _TEXT) -> None:
        """Send one frame. Raises OSError."""
        payload = message.encode() if isinstance(message, str) else message
        sock = self.sock
        if sock is None:
            raise OSError("the socket is not open")
        frame = _masked(payload, opcode)
        with self._send_lock:
            sock.sendall(frame)

    # --- receiving, in the receive thread ---

    def run(self) -> None:
        """Read until the connection ends, and say how it ended."""
        try:
            self.on_open()  # sends the handshake
            while True:
                self._receive()
        except LinkFailure as failure:
            self._end(failure)
        except (OSError, ValueError) as error:
            # TimeoutError cannot come: the watch decides about silence, not the socket.
            self._end(LinkFailure(cause_of(error), str(error)[:200]))

    def _receive(self) -> None:
        """One message, whole or oversized; control frames on the way are dealt with."""
        message: list[bytes] = []
        size = 0
        digest = None
        while True:
            fin, opcode, length = self._header()
            if opcode >= _CLOSE:
                self._control(opcode, self._exactly(length))
                continue
            size += length
            if size > self._message_limit or digest is not None:
                if digest is None:
                    digest = hashlib.sha256(b"".join(message))
                    message = [b"".join(message)[: self._head_limit]]
                self._swallow(length, digest.update, message)
            else:
                message.append(self._exactly(length))
            if fin:
                break
        if digest is not None:
            self._on_frame(Oversized(b"".join(message), size, digest.digest()))
        else:
            self._on_frame(message[0] if len(message) == 1 else b"".join(message))

    def _header(self) -> tuple[bool, int, int]:
        first, second = self._exactly(2)
        if second & 0x80 or first & 0x70:
            raise LinkFailure(LinkCause.BAD_FRAME, "a masked frame, or an extension that was not agreed")
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self._exactly(2 if length == 126 else 8), "big")
        opcode = first & 0x0F
        if opcode not in {_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG}:
            raise LinkFailure(LinkCause.BAD_FRAME, f"unknown opcode {opcode}")
        if opcode >= _CLOSE and length > 125:
            raise LinkFailure(LinkCause.BAD_FRAME, "a control frame longer than 125 bytes")
        return bool(first & 0x80), opcode, length

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self.send(payload, _PONG)
        elif opcode == _CLOSE:
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005
            raise LinkFailure(LinkCause.CLOSED_BY_HUB, f"WebSocket close {code}")

    def _exactly(self, count: int) -> bytes:
        buffer = self._buffer
        if len(buffer) < count:
            self._fill(count)
        taken = bytes(buffer[:count])
        del buffer[:count]
        return taken

    def _fill(self, count: int) -> None:
        buffer = self._buffer
        while len(buffer) < count:
            buffer += self._more(max(_CHUNK, min(count - len(buffer), 4 * _CHUNK)))

    def _more(self, most: int) -> bytes:
        assert self.sock is not None  # noqa: S101 - set before this thread was started
        self._on_idle()  # what has been read so far goes on before we wait for more
        piece = self.sock.recv(most)
        if not piece:
            raise LinkFailure(LinkCause.EOF, "the hub closed the connection")
        self._on_heard()
        return piece

    def _swallow(self, length: int, digest: Callable[[bytes], None], kept: list[bytes]) -> None:
        left = length
        have = sum(map(len, kept))
        while left:
            if not self._buffer:
                self._buffer += self._more(_CHUNK)
            piece = bytes(self._buffer[:left])
            del self._buffer[: len(piece)]
            left -= len(piece)
            digest(piece)
            if have < self._head_limit:
                kept.append(piece[: self._head_limit - have])
                have += len(kept[-1])

    # --- ending ---

    def cut(self) -> None:
        """Wake whoever reads or writes. signalrcore's own close can wait for ever."""
        self.running = False
        sock = self.sock
        if sock is None:
            return
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it was down already

    def release(self, seconds: float) -> bool:
        """After `cut`: join the receive thread and give the descriptor back. False if the thread hangs on."""
        thread: threading.Thread | None = self.recv_thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)
        sock = self.sock
        if sock is not None:
            sock.close()
        return thread is None or not thread.is_alive()

    def _end(self, failure: LinkFailure) -> None:
        self.running = False
        self._on_idle()
        if not self._ended.is_set():
            self._ended.set()
            self._on_end(failure)


def _timeval(seconds: float) -> bytes:
    whole = int(seconds)
    return struct.pack("@ll", whole, int((seconds - whole) * 1_000_000))


def _check_upgrade(head: str, nonce: str) -> None:
    status, *lines = head.split("\r\n")
    fields = {
        name.strip().lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)
    }
    words = status.split(" ", 2)
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
        raise LinkFailure(LinkCause.UPGRADE_REFUSED, "the answer to the upgrade is not HTTP")
    if words[1] != "101":
        raise LinkFailure(f"http_{words[1]}", f"the upgrade was answered {words[1]}")
    expected = base64.b64encode(
        hashlib.sha1((nonce + _GUID).encode(), usedforsecurity=False).digest()
    ).decode()
    if fields.get("sec-websocket-accept") != expected:
        raise LinkFailure(LinkCause.UPGRADE_REFUSED, "the answer to the upgrade does not fit the question")


def _masked(payload: bytes, opcode: int) -> bytes:
    length = len(payload)
    if length < 126:
        header = bytes((0x80 | opcode, 0x80 | length))
    elif length < 65536:
        header = bytes((0x80 | opcode, 0x80 | 126)) + length.to_bytes(2, "big")
    else:
        header = bytes((0x80 | opcode, 0x80 | 127)) + length.to_bytes(8, "big")
    mask = os.urandom(4)
    stream = int.from_bytes((mask * (length // 4 + 1))[:length], "big")
    return header + mask + (int.from_bytes(payload, "big") ^ stream).to_bytes(length, "big")
