"""signalrcore's WebSocket client, with what RFC 6455 asks for and a daemon needs.

It replaces the parts that cost the connection or the process: pings are answered, whatever they carry, also
between fragments; the upgrade is really checked, and bytes glued behind it are kept; frames are read through
a buffer; a message above the limit is read and thrown away while it is hashed; text is handed on as bytes, so
that invalid UTF-8 costs a record and not the link. One lock stands before the line for all senders.
"""

import hashlib
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from signalrcore.transport.websockets.websocket_client import WebSocketClient

from ingestor.adapters.hub.causes import LinkCause, LinkFailure
from ingestor.adapters.hub.line import Line
from ingestor.adapters.hub.negotiate import cause_of
from ingestor.adapters.hub.upgrade import upgrade

_CONTINUATION, _TEXT, _BINARY, _CLOSE, _PING, _PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_WHOLE_TEXT = 0x80 | _TEXT
"""The first byte of a text message of one frame."""
_TWO_BYTES_OF_LENGTH = 126
_PLAIN_HEAD = 4
_HOPELESS = 64
"""A message this many times its limit is not waited for: its length is a lie, or nothing else will follow."""
_COUNTABLE = 2**31 - 1
"""Nor one of more bytes than the store's `integer` can count."""
_GOODBYE_SECONDS = 0.2
_END = b"\x1e"


@dataclass(frozen=True, slots=True)
class Oversized:
    """A message above the limit: its head, and what proves the rest; all without the terminator."""

    head: bytes
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Reports:
    """Whom the socket tells; all but the first are called from the receive thread."""

    upgraded: Callable[[], None]
    """Before there is a receive thread."""
    heard: Callable[[], None]
    """Bytes of any kind came in."""
    frame: Callable[[bytes | Oversized], None]
    """One whole message."""
    idle: Callable[[], None]
    """What came in has been taken apart; now we wait for more."""
    last: Callable[[], None]
    """Nothing more will come."""
    end: Callable[[BaseException], None]
    """A LinkFailure, or a bug of ours."""


class OneShotWebSocket(WebSocketClient):  # type: ignore[misc] # the library is untyped
    """Opened once by `connect`, read by signalrcore's receive thread, ended by cutting its line."""

    def __init__(
        self,
        *,
        line: Line,
        message_limit: int,
        head_limit: int,
        connect_seconds: float,
        send_seconds: float,
        reports: Reports,
        **signalrcore: object,
    ) -> None:
        super().__init__(**signalrcore)
        self._line = line
        self._message_limit = message_limit
        self._head_limit = head_limit
        self._connect_seconds = connect_seconds
        self._send_seconds = send_seconds
        self._tell = reports
        self._buffer = bytearray()
        self._send_lock = threading.Lock()
        self._broken_off = False

    # --- opening ---

    def connect(self) -> None:
        """Open and upgrade. Raises LinkFailure."""
        try:
            sock = self._line.open(self._connect_seconds)
            self._buffer += upgrade(sock, self.url, self.headers)
            self._line.establish()
        except TimeoutError:
            raise LinkFailure(LinkCause.TIMEOUT_UPGRADE, "the hub did not answer the upgrade") from None
        except (OSError, ValueError) as error:  # ValueError: a host name that no DNS can hold
            raise LinkFailure(cause_of(error), str(error)[:200]) from None
        self._tell.upgraded()  # before there is a thread that could say more
        self.running = True
        self.recv_thread = threading.Thread(target=self.run, name="hub receiver", daemon=True)
        self.recv_thread.start()

    # --- sending ---

    def send(self, message: str | bytes, opcode: int = _TEXT) -> None:
        """Send one frame. Raises OSError."""
        frame = _masked(message.encode() if isinstance(message, str) else message, opcode)
        with self._send_lock:
            if self._broken_off:
                raise OSError("an earlier message broke off")
            try:
                self._line.send(frame, self._send_seconds)
            except OSError:
                self._broken_off = True  # half a frame may be on its way: whatever follows would be its rest
                raise

    def say_goodbye(self, payload: bytes = (1000).to_bytes(2, "big")) -> None:
        """Send a close frame if that is possible right now: it is a courtesy, and nobody waits for it."""
        if self._send_lock.acquire(timeout=_GOODBYE_SECONDS):
            try:
                if self._broken_off:
                    return
                with suppress(OSError):
                    self._line.send(_masked(payload, _CLOSE), _GOODBYE_SECONDS)
            finally:
                self._send_lock.release()

    # --- receiving, in the receive thread ---

    def run(self) -> None:
        """Read until the connection ends, and say how it ended: a LinkFailure, or else a bug of ours."""
        try:
            try:
                self._read()
            finally:
                self._tell.last()  # what was read before the end counts
        except BaseException as end:  # noqa: BLE001 - told to the supervisor, which ends the process with it
            self._tell.end(end)

    def _read(self) -> None:
        try:
            self.on_open()  # sends the handshake
        except OSError as error:
            raise LinkFailure(LinkCause.SEND_FAILED, str(error)[:200]) from None
        while True:
            self._receive_ready()
            self._receive()

    def _receive_ready(self) -> None:
        """Plain messages that lie in the buffer whole: the usual case, in a flood nearly the only one."""
        ready = bytes(self._buffer)
        at, size = 0, len(ready)
        while at + _PLAIN_HEAD <= size and ready[at] == _WHOLE_TEXT:
            length, begin = ready[at + 1], at + 2
            if length == _TWO_BYTES_OF_LENGTH:
                length, begin = ready[at + 2] << 8 | ready[at + 3], at + _PLAIN_HEAD
            elif length > _TWO_BYTES_OF_LENGTH:
                break
            end = begin + length
            if end > size or length > self._message_limit:
                break
            self._tell.frame(ready[begin:end])
            at = end
        del self._buffer[:at]

    def _receive(self) -> None:
        """One message, whole or oversized; control frames on the way are dealt with."""
        message: list[bytes] = []
        overflow: _Overflow | None = None
        size = 0
        begun = False
        while True:
            fin, opcode, length = self._header(begun=begun)
            if opcode >= _CLOSE:
                self._control(opcode, self._exactly(length))
                continue
            begun = True
            size += length
            if size > self._message_limit:
                if size > min(_HOPELESS * self._message_limit, _COUNTABLE):
                    raise LinkFailure(LinkCause.FRAME_TOO_LARGE, f"a message of at least {size} bytes")
                overflow = overflow or _Overflow(message, self._head_limit)
                self._swallow(length, overflow)
            else:
                message.append(self._exactly(length))
            if fin:
                break
        if overflow is not None:
            self._tell.frame(overflow.end())
        else:
            self._tell.frame(message[0] if len(message) == 1 else b"".join(message))

    def _header(self, *, begun: bool) -> tuple[bool, int, int]:
        first, second = self._exactly(2)
        if second & 0x80 or first & 0x70:
            raise LinkFailure(LinkCause.BAD_FRAME, "a masked frame, or an extension that was not agreed")
        length = second & 0x7F
        if length >= 126:
            length = int.from_bytes(self._exactly(2 if length == 126 else 8), "big")
        fin, opcode = bool(first & 0x80), first & 0x0F
        if opcode >= _CLOSE:
            if opcode > _PONG or length > 125 or not fin:
                raise LinkFailure(LinkCause.BAD_FRAME, f"a control frame that cannot be: opcode {opcode}")
        elif opcode != _CONTINUATION if begun else opcode not in {_TEXT, _BINARY}:
            raise LinkFailure(LinkCause.BAD_FRAME, f"opcode {opcode} out of turn")
        return fin, opcode, length

    def _control(self, opcode: int, payload: bytes) -> None:
        if opcode == _PING:
            self._pong(payload)
        elif opcode == _CLOSE:
            self.say_goodbye(payload[:2])
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else 1005  # 1005: no code given
            reason = payload[2:].decode(errors="replace")
            raise LinkFailure(LinkCause.CLOSED_BY_HUB, f"WebSocket close {code} {reason}".rstrip())

    def _pong(self, payload: bytes) -> None:
        if self._broken_off:
            return
        try:
            self.send(payload, _PONG)
        except OSError as error:  # no reason to stop reading: what has come in counts, and may say why
            self._tell.end(LinkFailure(LinkCause.SEND_FAILED, str(error)[:200]))

    def _exactly(self, count: int) -> bytes:
        buffer = self._buffer
        while len(buffer) < count:
            buffer += self._more()
        taken = bytes(buffer[:count])
        del buffer[:count]
        return taken

    def _more(self) -> bytes:
        self._tell.idle()  # what has been read so far goes on before we wait for more
        try:
            piece = self._line.receive()
        except OSError as error:
            raise LinkFailure(cause_of(error), str(error)[:200]) from None
        if not piece:
            raise LinkFailure(LinkCause.EOF, "the hub closed the connection")
        self._tell.heard()
        return piece

    def _swallow(self, length: int, overflow: "_Overflow") -> None:
        left = length
        while left:
            if not self._buffer:
                self._buffer += self._more()
            piece = bytes(self._buffer[:left])
            del self._buffer[: len(piece)]
            left -= len(piece)
            overflow.add(piece)


class _Overflow:
    """A message that is not kept. The last byte is held back: it may be the terminator."""

    def __init__(self, begun: list[bytes], head_limit: int) -> None:
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._head_limit = head_limit
        self._size = 0
        self._last = b""
        for piece in begun:
            self.add(piece)

    def add(self, piece: bytes) -> None:
        if piece:
            self._take(self._last)
            self._take(piece[:-1])
            self._last = piece[-1:]

    def end(self) -> Oversized:
        if self._last != _END:
            self._take(self._last)
        return Oversized(bytes(self._head), self._size, self._digest.digest())

    def _take(self, piece: bytes) -> None:
        self._digest.update(piece)
        self._size += len(piece)
        if len(self._head) < self._head_limit:
            self._head += piece[: self._head_limit - len(self._head)]


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
