"""One attempt at the hub: its session id, its threads, its socket, and its queue of what happened."""

import queue
import secrets
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from ingestor.adapters.hub.causes import ASKED, LinkCause, LinkFailure
from ingestor.adapters.hub.connection import OneShotConnection
from ingestor.adapters.hub.negotiate import Target, fits_a_header, negotiate, without
from ingestor.adapters.hub.options import LinkOptions
from ingestor.adapters.hub.protocol import Receiver
from ingestor.adapters.hub.states import LinkEvent
from ingestor.adapters.hub.tcp import SocketConnection
from ingestor.adapters.hub.websocket import OneShotWebSocket
from ingestor.domain.errors import IngestorError
from ingestor.domain.records import Record
from ingestor.domain.scrub import scrub
from ingestor.pipeline.ports import Clock, LinkListener

_REASON_SECONDS = 0.5
_MOST_CLEANED = 10_000
"""Texts of the hub are cut to this before masking; fewer characters of them are kept in any case."""


class Attempt:
    """One generation: its session id, its connector thread, its socket, and its queue of what happened."""

    def __init__(self, options: LinkOptions, listener: LinkListener, clock: Clock) -> None:
        self._options = options
        self._listener = listener
        self._clock = clock
        self.session = _uuid7(clock.now())
        self.events: queue.SimpleQueue[LinkEvent | BaseException] = queue.SimpleQueue()
        self.opened = threading.Event()
        """Set once the listener knows of the session, or the attempt was cut: then records may be
        delivered."""
        self.up_since: float | None = None
        self.received_at = self._clock.monotonic()
        """When the last bytes of any kind were received."""
        self.delivering = False
        self.last_delivered_ordinal = 0
        """The ordinal of the last record that the listener was given."""
        self.answered = False
        """Whether the hub completed a command without an error."""
        self.pings = 0
        """How many keep-alive pings were sent."""
        self.key = ""
        self._credential: str | None = None
        """Sent as bearer token: the key, or the token of a redirect."""
        self._gate = threading.Lock()
        self._muted = False
        self._ended = False
        self._tcp: SocketConnection | None = None
        self._socket: OneShotWebSocket | None = None
        self.connection: OneShotConnection
        """Set from the upgrade on."""
        self.receiver = Receiver(
            self.session,
            self._clock.now,
            options.limits,
            on_handshake=self._handshake_answered,
            on_records=self._deliver,
            on_completion=self._complete,
        )
        self._connector = threading.Thread(target=self._connect, name="hub connector", daemon=True)

    def start(self) -> None:
        self._connector.start()

    def next_event(self, seconds: float) -> LinkEvent | None:
        """The next event; None if there was none in this time. Raises what ended the attempt: LinkFailure,
        or a bug."""
        try:
            event = self.events.get(timeout=seconds)
        except queue.Empty:
            return None
        if isinstance(event, LinkFailure) and event.cause == LinkCause.SEND_FAILED:
            # The receive thread may be about to report why the connection ended.
            with suppress(queue.Empty):
                reason = self.events.get(timeout=_REASON_SECONDS)
                asked = isinstance(reason, LinkFailure) and reason.cause in ASKED
                event = event if asked else reason
        if isinstance(event, BaseException):
            raise event
        return event

    def ping(self) -> None:
        """Send a keep-alive ping."""
        try:
            self.connection.ping()
        except OSError as error:
            self.send_failed(error)
        self.pings += 1

    def send_failed(self, error: OSError) -> None:
        """A message could not be sent: the link is down."""
        self.events.put(LinkFailure(LinkCause.SEND_FAILED, str(error)[:200]))

    def clean(self, text: str) -> str:
        """A text of the hub without this attempt's key, and without what looks like a credential."""
        return scrub(without(self._credential, without(self.key, text[:_MOST_CLEANED])))

    def key_has_changed(self) -> bool:
        """Whether another key than this attempt's can be read now."""
        try:
            return self._read_key() != self.key
        except LinkFailure:
            return False

    def send_close(self) -> None:
        """Send a close frame, if that is possible at once."""
        if self._socket is not None:
            self._socket.send_close()

    def cut(self) -> None:
        """End this attempt, from any thread, even while it waits."""
        with self._gate:
            self._ended = True
            tcp = self._tcp
        self.opened.set()
        if tcp is not None:
            tcp.cut()

    def end(self, seconds: float, keep_waiting: Callable[[], bool]) -> list[threading.Thread]:
        """Cut everything; returns the threads that did not end in time.

        A receive thread that waits for the listener is waited for while `keep_waiting` returns True: its
        records have been received, and must be delivered before the end of the session.
        """
        self.cut()
        self._connector.join(seconds)
        receiver: threading.Thread | None = None if self._socket is None else self._socket.recv_thread
        if receiver is not None:
            receiver.join(seconds)
            while receiver.is_alive() and self.delivering and keep_waiting():
                receiver.join(seconds / 4)
        with self._gate:
            self._muted = True
        if self._tcp is not None:
            self._tcp.close()
        return [each for each in (self._connector, receiver) if each is not None and each.is_alive()]

    # --- in the connector thread ---

    def _connect(self) -> None:
        try:
            self.key = self._credential = self._read_key()
            target = self._target()
            self._credential = target.credential
            self.events.put(LinkEvent.NEGOTIATED)
            self._open(target)
        except BaseException as end:  # noqa: BLE001 - what is no LinkFailure ends the process, in the supervisor
            self.events.put(end)

    def _read_key(self) -> str:
        try:
            key = self._options.key()
        except (IngestorError, OSError, UnicodeError) as error:
            reason = next(iter(str(error).splitlines()), type(error).__name__)
            raise LinkFailure(LinkCause.NO_KEY, reason[:200]) from None
        if not fits_a_header(key):
            raise LinkFailure(
                LinkCause.NO_KEY, "the key is empty, or has characters that an HTTP header cannot contain"
            )
        return key

    def _target(self) -> Target:
        options = self._options
        directly = Target(options.url, self.key)
        if options.negotiation == "never":
            return directly
        try:
            return negotiate(options.url, self.key, options.timing.negotiate_seconds, self._new_connection)
        except LinkFailure as failure:
            if failure.cause == "http_404" and options.negotiation == "auto":
                return directly
            raise

    def _open(self, target: Target) -> None:
        """Open the WebSocket. Raises LinkFailure."""
        try:
            self._start(target)
        except LinkFailure as failure:
            if not (failure.cause == "http_404" and target.token and self._options.negotiation == "auto"):
                raise
            # Another server than the one that negotiated may have answered; without a token any server can.
            try:
                self._start(replace(target, token=None))
            except LinkFailure as second:
                if second.cause == "http_404":
                    raise failure from None
                raise

    def _start(self, target: Target) -> None:
        tcp = self._new_connection(target.url)
        self._socket = OneShotWebSocket(
            tcp, target, self._options, self.receiver, self._note_received, self.events.put
        )
        self.connection = OneShotConnection(self._socket)
        self.connection.start()

    def _new_connection(self, url: str) -> SocketConnection:
        """The next TCP connection of this attempt; closes the previous one. Raises LinkFailure once cut."""
        with self._gate:
            if self._ended:
                raise LinkFailure(LinkCause.STOPPED)
            if self._tcp is not None:
                self._tcp.close()
            self._tcp = SocketConnection(url, self._options.tls)
            return self._tcp

    # --- in the receive thread ---

    def _note_received(self) -> None:
        self.received_at = self._clock.monotonic()
        self.receiver.received()

    def _handshake_answered(self) -> None:
        self.events.put(LinkEvent.HANDSHAKE_ANSWERED)
        self.opened.wait()  # set when the session is announced, or when the attempt is cut
        if self._ended:
            raise LinkFailure(LinkCause.STOPPED)

    def _deliver(self, records: Sequence[Record]) -> None:
        self._report(lambda: self._listener.records(records), records[-1].ordinal)

    def _complete(self, request_id: str, error: str | None) -> None:
        self.answered |= error is None
        text = None if error is None else self.clean(error)
        self._report(
            lambda: self._listener.completed(self.session, request_id, text), self.last_delivered_ordinal
        )

    def _report(self, report: Callable[[], None], last_ordinal: int) -> None:
        with self._gate:
            if self._muted:
                return  # the session has been closed without it: its records count as never received
            self.last_delivered_ordinal = last_ordinal
            self.delivering = True  # while we do not read, nothing can be received: no sign of a silent hub
        try:
            report()
        finally:
            self.received_at = self._clock.monotonic()
            self.delivering = False


def _uuid7(now: datetime) -> UUID:
    """RFC 9562: 48 bits of Unix milliseconds, then random bits; sorts by time."""
    milliseconds = int(now.timestamp() * 1000)
    high = (milliseconds << 16) | 0x7000 | secrets.randbits(12)
    return UUID(int=(high << 64) | (0b10 << 62) | secrets.randbits(62))
