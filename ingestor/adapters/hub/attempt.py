"""One attempt at the hub: its session id, its threads, its socket, and its queue of what happened."""

import queue
import secrets
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from ingestor.adapters.hub.causes import LinkCause, LinkFailure
from ingestor.adapters.hub.connection import OneShotConnection
from ingestor.adapters.hub.negotiate import negotiate, websocket_url
from ingestor.adapters.hub.protocol import Receiver
from ingestor.adapters.hub.states import LinkEvent
from ingestor.adapters.hub.websocket import OneShotWebSocket
from ingestor.domain.errors import IngestorError
from ingestor.domain.records import Record
from ingestor.pipeline.ports import Clock, LinkListener


@dataclass(frozen=True, slots=True)
class LinkTiming:
    """Deadlines and pauses, in seconds."""

    negotiate_seconds: float = 10.0
    start_seconds: float = 10.0
    handshake_seconds: float = 15.0
    receive_seconds: float = 35.0
    """Silence for longer means that the link is dead: a hub pings every 15 s."""
    ping_seconds: float = 10.0
    backoff_base_seconds: float = 1.0
    backoff_cap_seconds: float = 60.0
    refused_seconds: float = 300.0
    """Around this long after 401 or 403; the key is read again before each attempt."""
    healthy_seconds: float = 60.0
    """A session that lived this long resets the back-off; one that merely opened does not."""


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """Sizes, in bytes."""

    message_bytes: int = 16 * 1024 * 1024
    record_bytes: int = 1024 * 1024
    head_bytes: int = 64 * 1024
    """What is kept of a message or record above its limit, beside its SHA-256."""


@dataclass(frozen=True, slots=True)
class Way:
    """How to get to the hub."""

    url: str
    key: Callable[[], str]
    """Read anew for each attempt, so that a rotated key needs no restart."""
    negotiation: str
    """`always`, `never`, or `auto`: without, where the hub has no such page."""
    tls: ssl.SSLContext
    timing: LinkTiming
    limits: LinkLimits


class Attempt:
    """One generation: its session id, its connector thread, its socket, and its queue of what happened."""

    def __init__(self, way: Way, listener: LinkListener, clock: Clock) -> None:
        self._way = way
        self._listener = listener
        self._clock = clock
        self.session = _uuid7(clock.now())
        self.events: queue.SimpleQueue[LinkEvent | LinkFailure | None] = queue.SimpleQueue()
        self.opened = threading.Event()
        self.up_since: float | None = None
        self.heard = self._clock.monotonic()
        self.heard_at: datetime | None = None
        self.delivering = False
        self._ended = False
        self._connection: OneShotConnection | None = None
        self.receiver = Receiver(
            self.session,
            self._clock.now,
            way.limits.record_bytes,
            way.limits.head_bytes,
            on_handshake=self._handshake_answered,
            on_records=self._deliver,
            on_completion=lambda command_id, error: listener.completed(self.session, command_id, error),
        )
        self._connector = threading.Thread(target=self._connect, name="hub connector", daemon=True)

    def start(self) -> None:
        self._connector.start()

    def connection(self) -> OneShotConnection:
        """Raises OSError while there is none."""
        if self._connection is None:
            raise OSError("not connected")
        return self._connection

    def end(self, seconds: float) -> list[threading.Thread]:
        """Cut everything; gives the threads that did not end in time."""
        self._ended = True
        self.opened.set()
        socket = None if self._connection is None else self._connection.socket
        left: list[threading.Thread] = []
        if socket is not None:
            socket.cut()
            if not socket.release(seconds):
                left.append(socket.recv_thread)
        self._connector.join(seconds)
        if self._connector.is_alive():
            left.append(self._connector)
        return left

    # --- in the connector thread ---

    def _connect(self) -> None:
        try:
            key = self._read_key()
            url = self._target(key)
            self.events.put(LinkEvent.NEGOTIATED)
            self._connection = OneShotConnection(url, key, self._way.tls, self._make_socket)
            self._connection.start()
        except LinkFailure as failure:
            self.events.put(failure)
            return
        if self._ended and self._connection.socket is not None:
            self._connection.socket.cut()  # nobody waits for it any more
        self.events.put(LinkEvent.UPGRADED)

    def _read_key(self) -> str:
        try:
            return self._way.key()
        except (IngestorError, OSError) as error:
            raise LinkFailure(LinkCause.NO_KEY, str(error).splitlines()[0][:200]) from None

    def _target(self, key: str) -> str:
        way = self._way
        if way.negotiation == "never":
            return websocket_url(way.url)
        try:
            return negotiate(way.url, key, way.timing.negotiate_seconds, way.tls)
        except LinkFailure as failure:
            if failure.cause == "http_404" and way.negotiation == "auto":
                return websocket_url(way.url)
            raise

    def _make_socket(self, **signalrcore: object) -> OneShotWebSocket:
        return OneShotWebSocket(
            message_limit=self._way.limits.message_bytes,
            head_limit=self._way.limits.head_bytes,
            connect_seconds=self._way.timing.start_seconds,
            on_frame=self.receiver.frame,
            on_idle=self.receiver.flush,
            on_heard=self._hear,
            on_end=self.events.put,
            **signalrcore,
        )

    # --- in the receive thread ---

    def _hear(self) -> None:
        self.heard = self._clock.monotonic()
        self.heard_at = self._clock.now()

    def _handshake_answered(self, _error: str | None) -> None:
        self.events.put(LinkEvent.HANDSHAKEN)
        self.opened.wait()  # set when the session is announced, or when the attempt ends
        if self._ended:
            raise LinkFailure(LinkCause.STOPPED)

    def _deliver(self, records: Sequence[Record]) -> None:
        self.delivering = True  # our own back-pressure must not look like the hub's silence
        try:
            self._listener.records(records)
        finally:
            self.heard = self._clock.monotonic()
            self.delivering = False


def _uuid7(now: datetime) -> UUID:
    """RFC 9562: 48 bits of Unix milliseconds, then chance; sorts by time."""
    milliseconds = int(now.timestamp() * 1000)
    high = (milliseconds << 16) | 0x7000 | secrets.randbits(12)
    return UUID(int=(high << 64) | (0b10 << 62) | secrets.randbits(62))
