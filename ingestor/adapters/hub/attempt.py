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
from ingestor.adapters.hub.credential import fits_a_header, without
from ingestor.adapters.hub.line import Line
from ingestor.adapters.hub.negotiate import negotiate, websocket_url
from ingestor.adapters.hub.protocol import Receiver
from ingestor.adapters.hub.states import LinkEvent
from ingestor.adapters.hub.websocket import OneShotWebSocket, Reports
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
    send_seconds: float = 10.0
    """For one message; a hub that takes nothing for so long is not there."""
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
        self.events: queue.SimpleQueue[LinkEvent | BaseException | None] = queue.SimpleQueue()
        self.opened = threading.Event()
        self.up_since: float | None = None
        self.heard = self._clock.monotonic()
        self.heard_at: datetime | None = None
        self.delivering = False
        self.told = 0
        """The ordinal of the last record that the listener was given."""
        self._gate = threading.Lock()
        self._muted = False
        self._ended = False
        self._key = ""
        self._line = Line(way.url, way.tls)
        self._connection: OneShotConnection | None = None
        self._receiver = Receiver(
            self.session,
            self._clock.now,
            way.limits.record_bytes,
            way.limits.head_bytes,
            on_handshake=self._handshake_answered,
            on_records=self._deliver,
            on_completion=self._complete,
        )
        self._connector = threading.Thread(target=self._connect, name="hub connector", daemon=True)

    def start(self) -> None:
        self._connector.start()

    def connection(self) -> OneShotConnection:
        """Raises OSError while there is none."""
        if self._connection is None:
            raise OSError("not connected")
        return self._connection

    def announced(self) -> None:
        """The listener knows of the session: its records may flow."""
        self.opened.set()

    def without_key(self, text: str) -> str:
        """`text` without any piece of the key that this attempt used."""
        return without(self._key, text) if self._key else text

    def say_goodbye(self) -> None:
        """Tell the hub that we leave, if that can be done at once."""
        socket = None if self._connection is None else self._connection.socket
        if socket is not None:
            socket.say_goodbye()

    def cut(self) -> None:
        """End whatever this attempt is doing, from any thread."""
        with self._gate:
            self._ended = True
            line = self._line
        self.opened.set()
        line.cut()

    def end(self, seconds: float, keep_waiting: Callable[[], bool]) -> list[threading.Thread]:
        """Cut everything; gives the threads that did not end in time.

        A receive thread that is held up in the listener is waited for as long as `keep_waiting` says: what it
        holds has been received, and belongs before the end of the session.
        """
        self.cut()
        self._connector.join(seconds)
        receiver = self._receive_thread()
        if receiver is not None:
            receiver.join(seconds)
            while receiver.is_alive() and self.delivering and keep_waiting():
                receiver.join(seconds / 4)
        with self._gate:
            self._muted = True
        self._line.close()
        return [each for each in (self._connector, receiver) if each is not None and each.is_alive()]

    def _receive_thread(self) -> threading.Thread | None:
        socket = None if self._connection is None else self._connection.socket
        thread: threading.Thread | None = None if socket is None else socket.recv_thread
        return thread

    # --- in the connector thread ---

    def _connect(self) -> None:
        try:
            self._key = self._read_key()
            url = self._target(self._key)
            self.events.put(LinkEvent.NEGOTIATED)
            self._connection = OneShotConnection(url, self._key, self._way.tls, self._make_socket)
            self._connection.start()
        except BaseException as end:  # noqa: BLE001 - what is no LinkFailure ends the process, in the supervisor
            self.events.put(end)

    def _read_key(self) -> str:
        try:
            key = self._way.key()
        except (IngestorError, OSError, UnicodeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise LinkFailure(LinkCause.NO_KEY, reason[:200]) from None
        if not fits_a_header(key):
            raise LinkFailure(LinkCause.NO_KEY, "the key is empty, or holds what no HTTP header can carry")
        return key

    def _target(self, key: str) -> str:
        way = self._way
        if way.negotiation == "never":
            return websocket_url(way.url)
        try:
            return negotiate(way.url, key, way.timing.negotiate_seconds, self._line)
        except LinkFailure as failure:
            if failure.cause == "http_404" and way.negotiation == "auto":
                return websocket_url(way.url)
            raise
        finally:
            self._renew_line()

    def _renew_line(self) -> None:
        with self._gate:
            if not self._ended:
                self._line = Line(self._way.url, self._way.tls)

    def _make_socket(self, **signalrcore: object) -> OneShotWebSocket:
        return OneShotWebSocket(
            line=self._line,
            message_limit=self._way.limits.message_bytes,
            head_limit=self._way.limits.head_bytes,
            connect_seconds=self._way.timing.start_seconds,
            send_seconds=self._way.timing.send_seconds,
            reports=Reports(
                upgraded=lambda: self.events.put(LinkEvent.UPGRADED),
                heard=self._hear,
                frame=self._receiver.frame,
                idle=self._receiver.flush,
                last=self._receiver.finish,
                end=self.events.put,
            ),
            **signalrcore,
        )

    # --- in the receive thread ---

    def _hear(self) -> None:
        self.heard = self._clock.monotonic()
        self.heard_at = self._clock.now()

    def _handshake_answered(self) -> None:
        self.events.put(LinkEvent.HANDSHAKEN)
        self.opened.wait()  # set when the session is announced, or when the attempt is cut
        if self._ended:
            raise LinkFailure(LinkCause.STOPPED)

    def _deliver(self, records: Sequence[Record]) -> None:
        with self._gate:
            if self._muted:
                return  # the session has been closed without them: they count as never received
            self.told = records[-1].ordinal
            self.delivering = True  # our own back-pressure must not look like the hub's silence
        try:
            self._listener.records(records)
        finally:
            self._delivered()

    def _complete(self, command_id: str, error: str | None) -> None:
        with self._gate:
            if self._muted:
                return
            self.delivering = True
        try:
            text = None if error is None else self.without_key(error)
            self._listener.completed(self.session, command_id, text)
        finally:
            self._delivered()

    def _delivered(self) -> None:
        self.heard = self._clock.monotonic()
        self.delivering = False


def _uuid7(now: datetime) -> UUID:
    """RFC 9562: 48 bits of Unix milliseconds, then chance; sorts by time."""
    milliseconds = int(now.timestamp() * 1000)
    high = (milliseconds << 16) | 0x7000 | secrets.randbits(12)
    return UUID(int=(high << 64) | (0b10 << 62) | secrets.randbits(62))
