"""Messages split into hub records, and the few records that the link itself must understand.

Every record that is, or may be, meant for the application (an invocation of any target, a result, and
whatever cannot be read as a hub message) becomes a `Record` with its place in the session and its bytes as
received. Pings, completions without a result and Close records are handled by the link. An unreadable record
does not affect others.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from ingestor.adapters.hub.causes import LinkCause, LinkFailure
from ingestor.adapters.hub.messages import Oversized
from ingestor.adapters.hub.options import LinkLimits
from ingestor.domain.records import Record

_END = b"\x1e"
_INVOCATION_HEAD = b'{"type":1,'
"""How System.Text.Json begins every invocation: the rest of such a record need not be read here."""

_STREAM_ITEM, _COMPLETION, _CLOSE = 2, 3, 7
_OWN_TYPES = range(2, 10)
"""Everything but an invocation: stream items, completions, pings, Close, acks."""
_NULL = msgspec.Raw(b"null")


class _Envelope(msgspec.Struct, rename="camel"):
    """The fields of a record that the link needs; msgspec skips the rest."""

    type: int | None = None
    """Missing in the answer to the handshake, and in what is no hub message."""
    invocation_id: str | None = None
    error: str | None = None
    allow_reconnect: bool | None = None
    result: msgspec.Raw = _NULL
    item: msgspec.Raw = _NULL

    @property
    def carries_value(self) -> bool:
        value = {_STREAM_ITEM: self.item, _COMPLETION: self.result}.get(self.type or 0, _NULL)
        return bytes(value) != b"null"


_decode = msgspec.json.Decoder(_Envelope).decode


def _read(piece: bytes) -> _Envelope | None:
    try:
        return _decode(piece)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return None


class Receiver:
    """The incoming side of one session. Used in signalrcore's receive thread only."""

    def __init__(
        self,
        session: UUID,
        now: Callable[[], datetime],
        limits: LinkLimits,
        *,
        on_handshake: Callable[[], None],
        on_records: Callable[[Sequence[Record]], None],
        on_completion: Callable[[str, str | None], None],
    ) -> None:
        self._session = session
        self._now = now
        self._received_at = now()
        self._limits = limits
        self._on_handshake = on_handshake
        self._on_records = on_records
        self._on_completion = on_completion
        self._handshake_done = False
        self._pending: list[Record] = []
        self._begun = b""
        """The beginning of a record whose end has not been received."""
        self.ordinal = 0
        """The last one assigned."""
        self.last_message_at: datetime | None = None
        """When the last whole hub record of any type was received; the handshake's answer counts."""

    def received(self) -> None:
        """Bytes were received: the messages that they complete get this time."""
        self._received_at = self._now()

    def messages(self, frames: Sequence[bytes | Oversized]) -> None:
        """Split messages. Raises LinkFailure on a refused handshake or a Close record."""
        session, at, longest = self._session, self._received_at, self._limits.record_bytes
        for frame in frames:
            if (
                self._handshake_done
                and not self._begun
                and isinstance(frame, bytes)
                and frame.startswith(_INVOCATION_HEAD)
                and frame.find(_END) == (size := len(frame) - 1) <= longest
            ):  # one invocation, as nearly all are
                self.last_message_at = at
                self.ordinal += 1
                self._pending.append(Record(session, self.ordinal, at, frame[:-1], size))
            else:
                self._message(frame)

    def _message(self, frame: bytes | Oversized) -> None:
        if not self._handshake_done:
            if isinstance(frame, Oversized):
                raise LinkFailure(LinkCause.HANDSHAKE_ERROR, "the answer to the handshake is too long")
            frame = self._read_handshake(frame)
        if isinstance(frame, Oversized):
            self._give_begun()
            self.last_message_at = self._received_at
            self._give(frame.head, frame.size, frame.sha256)
            return
        *whole, rest = frame.split(_END)
        if self._begun:
            rest = self._join(whole, rest)
        for piece in whole:
            if piece:
                self._piece(piece)
        if rest:
            self._begin(rest)

    def finish(self) -> None:
        """Deliver everything, even a record without its end: nothing more will be received."""
        self._give_begun()
        self.flush()

    def flush(self) -> None:
        """Deliver what has been read so far: called before a wait for the socket."""
        if self._pending:
            pending, self._pending = self._pending, []
            self._on_records(pending)

    def _begin(self, rest: bytes) -> None:
        """No terminator: either the hub left it out, or the rest of the record is in the next message."""
        if len(rest) > self._limits.record_bytes or _read(rest) is not None:
            self._piece(rest)
        else:
            self._begun = rest

    def _join(self, whole: list[bytes], rest: bytes) -> bytes:
        """Join the begun record and its continuation, if they are one record; returns the new rest."""
        if not whole:
            begun, self._begun = self._begun, b""
            return begun + rest
        joined = self._begun + whole[0]
        if _read(joined) is not None:
            self._begun = b""
            whole[0] = joined
        else:
            self._give_begun()
        return rest

    def _give_begun(self) -> None:
        if self._begun:
            begun, self._begun = self._begun, b""
            self._record(begun)

    def _read_handshake(self, frame: bytes) -> bytes:
        head, _, rest = frame.partition(_END)
        answer = _read(head)
        if answer is None:
            raise LinkFailure(LinkCause.HANDSHAKE_ERROR, "the answer to the handshake is unreadable")
        if answer.error:
            raise LinkFailure(LinkCause.HANDSHAKE_ERROR, answer.error[:200])
        if answer.type is not None:
            raise LinkFailure(LinkCause.HANDSHAKE_ERROR, "a message came before the answer to the handshake")
        self._handshake_done = True
        self.last_message_at = self._received_at
        self._on_handshake()
        return rest

    def _piece(self, piece: bytes) -> None:
        self.last_message_at = self._received_at
        if piece.startswith(_INVOCATION_HEAD):
            self._record(piece)
            return
        read = _read(piece)
        if read is None or read.type not in _OWN_TYPES or read.carries_value:
            self._record(piece)  # the decoder finds out what is wrong with it, if anything
        if read is None:
            return
        if read.type == _COMPLETION and read.invocation_id is not None:
            self.flush()  # in the order in which it came
            self._on_completion(read.invocation_id, read.error)
        elif read.type == _CLOSE:
            again = "" if read.allow_reconnect is None else f", allowReconnect {read.allow_reconnect}"
            text = f"Close record{again}: {read.error or 'no error'}"
            raise LinkFailure(LinkCause.CLOSED_BY_HUB, text[:200])

    def _record(self, piece: bytes) -> None:
        if len(piece) > self._limits.record_bytes:
            self._give(piece[: self._limits.head_bytes], len(piece), hashlib.sha256(piece).digest())
        else:
            self._give(piece, len(piece), None)

    def _give(self, raw: bytes, size: int, sha256: bytes | None) -> None:
        self.ordinal += 1
        self._pending.append(Record(self._session, self.ordinal, self._received_at, raw, size, sha256))
