"""WebSocket frames joined to messages. The frames themselves are read by the `websockets` library (decision
0009).

The library would buffer a message whole or fail the connection; here one above the limit is read to its end
without being kept: its head and the SHA-256 of all its bytes remain. Text stays bytes, so that invalid
UTF-8 costs one record and not the link.
"""

import hashlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass

from websockets.exceptions import ProtocolError
from websockets.frames import OP_BINARY, OP_CONT, OP_TEXT, Frame

from ingestor.adapters.hub.causes import LinkCause, LinkFailure

_OTHER_DATA = (OP_CONT, OP_BINARY)
_LONGEST_CONTROL = 125
"""RFC 6455, section 5.5. Also more than any part of a frame's header."""
_MOST_TIMES_THE_LIMIT = 64
"""A message of more than this many times its limit ends the link: its length is wrong, or never ends."""
_MOST_BYTES = 2**31 - 1
"""So does one of more bytes than an `integer` column can hold."""
_NOT_KEPT = bytes(_LONGEST_CONTROL + 1)
"""Replaces a payload that was only added to the digest. Too long for a control frame, so that one is an
error."""
_END = b"\x1e"

_WHOLE_TEXT, _16_BITS_FOLLOW, _PLAIN_HEADER = 0x81, 126, 4
"""RFC 6455, section 5.2: FIN and opcode 1, an unmasked length, and the longest header that is read here."""


@dataclass(frozen=True, slots=True)
class Oversized:
    """A message above the limit, without its terminator."""

    head: bytes
    size: int
    sha256: bytes
    """Of the whole message."""


class MessageReader:
    """The incoming side of one WebSocket, without its socket.

    Args:
        on_messages: called with the data messages, in order.
        on_control: called with each ping, pong and close frame, also between the fragments of a message.
    """

    def __init__(
        self,
        message_limit: int,
        head_limit: int,
        on_messages: Callable[[Sequence[bytes | Oversized]], None],
        on_control: Callable[[Frame], None],
    ) -> None:
        self._limit = message_limit
        self._most = min(_MOST_TIMES_THE_LIMIT * message_limit, _MOST_BYTES)
        self._head_limit = head_limit
        self._on_messages = on_messages
        self._on_control = on_control
        self._buffer = bytearray()
        self._parts: list[bytes] = []
        self._size = 0
        self._overflow: _Overflow | None = None
        self._begun = False
        self._frames = self._read_frames()
        next(self._frames)

    def feed(self, data: bytes) -> None:
        """Read bytes that were received. Raises LinkFailure for bad frames, and what the callbacks raise."""
        self._buffer += data
        next(self._frames)

    def _take_plain_texts(self) -> None:
        """Nearly all frames are short texts that have arrived whole; they need no parser (decision 0009)."""
        at, end, limit, texts = 0, len(self._buffer), self._limit, list[bytes]()
        with memoryview(self._buffer) as data:
            while at + _PLAIN_HEADER <= end and data[at] == _WHOLE_TEXT:
                length, begin = data[at + 1], at + 2
                if length == _16_BITS_FOLLOW:
                    length, begin = data[at + 2] << 8 | data[at + 3], at + _PLAIN_HEADER
                elif length > _16_BITS_FOLLOW:  # longer, or masked
                    break
                if length > limit or begin + length > end:
                    break
                at = begin + length
                texts.append(bytes(data[begin:at]))
        del self._buffer[:at]
        self._on_messages(texts)

    def _read_frames(self) -> Generator[None, None, None]:
        while True:
            if not self._begun:
                self._take_plain_texts()
            try:
                frame = yield from Frame.parse(self._read, mask=False)
            except ProtocolError as error:
                raise LinkFailure(LinkCause.BAD_FRAME, str(error)[:200]) from None
            if frame.opcode is OP_TEXT or frame.opcode in _OTHER_DATA:
                self._add(frame)
            else:
                self._on_control(frame)

    def _read(self, count: int) -> Generator[None, None, bytes]:
        """Called by the library to read bytes: parts of a header, and then the payload."""
        buffer = self._buffer
        if count > _LONGEST_CONTROL and self._size + count > self._limit:
            yield from self._digest(count)
            return _NOT_KEPT
        while len(buffer) < count:
            yield
        taken = bytes(buffer[:count])
        del buffer[:count]
        return taken

    def _digest(self, count: int) -> Generator[None, None, None]:
        self._size += count
        if self._size > self._most:
            raise LinkFailure(LinkCause.FRAME_TOO_LARGE, f"a message of at least {self._size} bytes")
        overflow = self._begin_overflow()
        left = count
        while left:
            while not self._buffer:
                yield
            piece = bytes(self._buffer[:left])
            del self._buffer[: len(piece)]
            left -= len(piece)
            overflow.add(piece)

    def _add(self, frame: Frame) -> None:
        if (frame.opcode is OP_CONT) is not self._begun:
            raise LinkFailure(LinkCause.BAD_FRAME, f"opcode {frame.opcode.value} out of turn")
        data = frame.data
        assert isinstance(data, bytes)  # noqa: S101 - `_read` returns nothing else
        if data is not _NOT_KEPT:
            self._size += len(data)
            if self._overflow is not None or self._size > self._limit:
                self._begin_overflow().add(data)
            else:
                self._parts.append(data)
        self._begun = not frame.fin
        if frame.fin:
            parts, overflow = self._parts, self._overflow
            self._parts, self._overflow, self._size = [], None, 0
            self._on_messages([b"".join(parts) if overflow is None else overflow.end()])

    def _begin_overflow(self) -> "_Overflow":
        if self._overflow is None:
            self._overflow = _Overflow(self._head_limit)
            for part in self._parts:
                self._overflow.add(part)
            self._parts = []
        return self._overflow


class _Overflow:
    """A message that is not kept. The last byte is added late: it may be the terminator."""

    def __init__(self, head_limit: int) -> None:
        self._digest = hashlib.sha256()
        self._head = bytearray()
        self._head_limit = head_limit
        self._size = 0
        self._last = b""

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
