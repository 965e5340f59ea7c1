"""Frames taken apart: the raw tap, and the few records that the link itself must understand.

Every record that is, or may be, meant for the application (an invocation of any target, and whatever cannot
be read as a hub message) becomes a `Record` with its place in the session, untouched. Pings, completions and
Close records are the link's own. One unreadable record costs itself and nothing around it.
"""

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import UUID

import msgspec
from signalrcore.protocol.json_hub_protocol import JsonHubProtocol

from ingestor.adapters.hub.causes import LinkCause, LinkFailure
from ingestor.adapters.hub.websocket import Oversized
from ingestor.domain.records import Record

_END = b"\x1e"
_INVOCATION_HEAD = b'{"type":1,'
"""How System.Text.Json begins every invocation: seen so, no look inside is needed."""

_COMPLETION, _CLOSE = 3, 7
_OWN_TYPES = range(2, 10)
"""Everything but an invocation: stream items, completions, pings, Close, acks."""


class HubProtocol(JsonHubProtocol):  # type: ignore[misc] # the library is untyped
    """What signalrcore writes: version 1, said explicitly, and no credentials inside messages."""

    def __init__(self) -> None:
        super().__init__(version=1)

    def encode(self, message: object) -> str:
        """One record. signalrcore would copy the Authorization header into each invocation."""
        vars(message).pop("headers", None)
        return f"{self.encoder.encode(message)}{self.record_separator}"


class _Handshake(msgspec.Struct):
    error: str | None = None
    type: int | None = None
    """Not in an answer: it tells a message that came too early."""


class _Outer(msgspec.Struct, rename="camel"):
    """What the link needs of a record; msgspec passes over the rest without building it."""

    type: int
    invocation_id: str | None = None
    error: str | None = None
    allow_reconnect: bool | None = None


_handshake = msgspec.json.Decoder(_Handshake).decode
_outer = msgspec.json.Decoder(_Outer).decode


def _is_readable(piece: bytes) -> bool:
    try:
        _outer(piece)
    except (msgspec.MsgspecError, RecursionError, UnicodeError):
        return False
    return True


class Receiver:
    """One session's incoming side. Lives in signalrcore's receive thread."""

    def __init__(
        self,
        session: UUID,
        now: Callable[[], datetime],
        record_limit: int,
        head_limit: int,
        *,
        on_handshake: Callable[[], None],
        on_records: Callable[[Sequence[Record]], None],
        on_completion: Callable[[str, str | None], None],
    ) -> None:
        self._session = session
        self._now = now
        self._record_limit = record_limit
        self._head_limit = head_limit
        self._on_handshake = on_handshake
        self._on_records = on_records
        self._on_completion = on_completion
        self._shaken = False
        self._pending: list[Record] = []
        self._begun = b""
        """The beginning of a record whose end has not come."""
        self.ordinal = 0
        """The last one given."""
        self.ignored = 0
        """Records of a type that the protocol does not know, or that we have no use for."""

    def frame(self, frame: bytes | Oversized) -> None:
        """Take one message apart. Raises LinkFailure on a refused handshake or a Close record."""
        if not self._shaken:
            if isinstance(frame, Oversized):
                raise LinkFailure(LinkCause.HANDSHAKE_ERROR, "the answer to the handshake is too long")
            frame = self._shake(frame)
        now = self._now()
        if isinstance(frame, Oversized):
            self._give_begun(now)
            self._give(frame.head, frame.size, frame.sha256, now)
            return
        if frame.find(_END) == len(frame) - 1 > 0 and not self._begun:  # one record, as hubs mostly send them
            self._piece(frame[:-1], now)
            return
        *whole, rest = frame.split(_END)
        if self._begun:
            rest = self._join(whole, rest, now)
        for piece in whole:
            if piece:
                self._piece(piece, now)
        if rest:
            self._begin(rest, now)

    def finish(self) -> None:
        """Hand over everything, a record without its end too: nothing more will come."""
        self._give_begun(self._now())
        self.flush()

    def flush(self) -> None:
        """Hand over what has been taken apart so far: called before the socket is waited for."""
        if self._pending:
            pending, self._pending = self._pending, []
            self._on_records(pending)

    def _begin(self, rest: bytes, now: datetime) -> None:
        """No terminator: either the hub left it out, or the rest of the record is in the next message."""
        if len(rest) > self._record_limit or _is_readable(rest):
            self._piece(rest, now)
        else:
            self._begun = rest

    def _join(self, whole: list[bytes], rest: bytes, now: datetime) -> bytes:
        """Put the begun record and its continuation together, if they fit; gives the new rest."""
        if not whole:
            begun, self._begun = self._begun, b""
            return begun + rest
        joined = self._begun + whole[0]
        if _is_readable(joined):
            self._begun = b""
            whole[0] = joined
        else:
            self._give_begun(now)
        return rest

    def _give_begun(self, now: datetime) -> None:
        if self._begun:
            begun, self._begun = self._begun, b""
            self._record(begun, now)

    def _shake(self, frame: bytes) -> bytes:
        head, _, rest = frame.partition(_END)
        try:
            answer = _handshake(head)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            raise LinkFailure(
                LinkCause.HANDSHAKE_ERROR, "the answer to the handshake is unreadable"
            ) from None
        if answer.error:
            raise LinkFailure(LinkCause.HANDSHAKE_ERROR, answer.error[:200])
        if answer.type is not None:
            raise LinkFailure(LinkCause.HANDSHAKE_ERROR, "a message came before the answer to the handshake")
        self._shaken = True
        self._on_handshake()
        return rest

    def _piece(self, piece: bytes, now: datetime) -> None:
        if piece.startswith(_INVOCATION_HEAD):
            self._record(piece, now)
            return
        try:
            outer = _outer(piece)
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            self._record(piece, now)  # the writer will say what is wrong with it
            return
        if outer.type == _COMPLETION and outer.invocation_id is not None:
            self.flush()  # in the order in which it came
            self._on_completion(outer.invocation_id, outer.error)
        elif outer.type == _CLOSE:
            again = "" if outer.allow_reconnect is None else f", allowReconnect {outer.allow_reconnect}"
            raise LinkFailure(
                LinkCause.CLOSED_BY_HUB, f"Close record{again}: {outer.error or 'no error'}"[:200]
            )
        elif outer.type in _OWN_TYPES:
            self.ignored += 1
        else:
            self._record(piece, now)

    def _record(self, piece: bytes, now: datetime) -> None:
        if len(piece) > self._record_limit:
            self._give(piece[: self._head_limit], len(piece), hashlib.sha256(piece).digest(), now)
        else:
            self._give(piece, len(piece), None, now)

    def _give(self, raw: bytes, size: int, sha256: bytes | None, now: datetime) -> None:
        self.ordinal += 1
        self._pending.append(Record(self._session, self.ordinal, now, raw, size, sha256))
