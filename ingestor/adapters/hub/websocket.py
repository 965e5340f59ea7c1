"""signalrcore's WebSocket client, corrected according to RFC 6455 by the `websockets` library.

It replaces parts whose faults end the connection or the process: pings are answered, with any payload and
also between fragments; the answer to the upgrade is checked, and bytes after it are kept; messages are
limited in size. One lock orders all senders.
"""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

from signalrcore.transport.websockets.websocket_client import WebSocketClient
from websockets.client import ClientProtocol
from websockets.exceptions import WebSocketException
from websockets.frames import OP_CLOSE, OP_PING, OP_PONG, OP_TEXT, Frame, Opcode
from websockets.http11 import Response
from websockets.streams import StreamReader
from websockets.uri import parse_uri

from ingestor.adapters.hub.causes import LinkCause, LinkFailure, cause_of, http_failure
from ingestor.adapters.hub.messages import MessageReader
from ingestor.adapters.hub.negotiate import Target
from ingestor.adapters.hub.options import LinkOptions
from ingestor.adapters.hub.protocol import Receiver
from ingestor.adapters.hub.states import LinkEvent
from ingestor.adapters.hub.tcp import SocketConnection

_CHUNK = 64 * 1024
_CLOSE_SECONDS = 0.2
_NO_CODE = 1005
"""RFC 6455's number for a close frame without a code."""


class OneShotWebSocket(WebSocketClient):  # type: ignore[misc] # the library is untyped
    """Opened once by `connect`, read by its receive thread, ended by cutting its TCP connection.

    Args:
        receiver: gets the messages, in the receive thread.
        on_bytes: called in that thread when bytes of any kind were received.
        report: called with UPGRADED, and with what ended it: a LinkFailure, or a bug of ours.
    """

    def __init__(
        self,
        tcp: SocketConnection,
        target: Target,
        options: LinkOptions,
        receiver: Receiver,
        on_bytes: Callable[[], None],
        report: Callable[[LinkEvent | BaseException], None],
    ) -> None:
        super().__init__(url=target.url)  # the rest is for its own connecting
        self._tcp = tcp
        self._target = target
        self._timing = options.timing
        self._receiver = receiver
        self._on_bytes = on_bytes
        self._report = report
        limits = options.limits
        self._reader = MessageReader(
            limits.message_bytes, limits.head_bytes, receiver.messages, self._control
        )
        self._after_upgrade = b""
        self._send_lock = threading.Lock()
        self._send_failed = False

    # --- opening ---

    def connect(self) -> None:
        """Open and upgrade. Raises LinkFailure."""
        try:
            sock = self._tcp.open(self._timing.start_seconds)
            self._after_upgrade = _upgrade(sock, self._target)
            self._tcp.establish()
        except TimeoutError:
            raise LinkFailure(LinkCause.TIMEOUT_UPGRADE, "the hub did not answer the upgrade") from None
        except (OSError, ValueError) as error:  # ValueError: a host name that no DNS can hold
            raise LinkFailure(cause_of(error), str(error)[:200]) from None
        self._report(LinkEvent.UPGRADED)  # before the receive thread exists, whose reports come after it
        self.running = True
        self.recv_thread = threading.Thread(target=self.run, name="hub receiver", daemon=True)
        self.recv_thread.start()

    # --- sending ---

    def send(self, message: str | bytes, opcode: int = OP_TEXT, hurry_seconds: float | None = None) -> None:
        """Send one frame. Raises OSError, with `hurry_seconds` also when another sender takes that long."""
        payload = message.encode() if isinstance(message, str) else message
        data = Frame(Opcode(opcode), payload).serialize(mask=True)
        if not self._send_lock.acquire(timeout=hurry_seconds or -1):
            raise OSError("another message is being sent")
        try:
            self._send_whole(data, hurry_seconds or self._timing.send_seconds)
        finally:
            self._send_lock.release()

    def _send_whole(self, data: bytes, seconds: float) -> None:
        if self._send_failed:
            raise OSError("an earlier message was not sent whole")
        try:
            self._tcp.send(data, seconds)
        except OSError:
            self._send_failed = True  # a part of the frame may be sent: other bytes would be read as its rest
            raise

    def send_close(self, payload: bytes = (1000).to_bytes(2, "big")) -> None:
        """Send a close frame if that is possible at once; errors are ignored."""
        with suppress(OSError):
            self.send(payload, OP_CLOSE, _CLOSE_SECONDS)

    # --- receiving, in the receive thread ---

    def run(self) -> None:
        """Read until the connection ends, and report what ended it: a LinkFailure, or a bug of ours."""
        try:
            try:
                self._read()
            finally:
                self._receiver.finish()  # what was read before the end is delivered
        except BaseException as end:  # noqa: BLE001 - for the supervisor, which ends the process with it
            self._report(end)

    def _read(self) -> None:
        try:
            self.on_open()  # sends the handshake
        except OSError as error:
            raise LinkFailure(LinkCause.SEND_FAILED, str(error)[:200]) from None
        self._on_bytes()
        self._reader.feed(self._after_upgrade)
        while True:
            self._receiver.flush()  # what has been read so far is delivered before a wait for more
            try:
                piece = self._tcp.receive()
            except OSError as error:
                raise LinkFailure(cause_of(error), str(error)[:200]) from None
            if not piece:
                raise LinkFailure(LinkCause.EOF, "the hub closed the connection")
            self._on_bytes()
            self._reader.feed(piece)

    def _control(self, frame: Frame) -> None:
        payload = bytes(frame.data)
        if frame.opcode is OP_PING and not self._send_failed:
            try:
                self.send(payload, OP_PONG)
            except OSError as error:  # keep reading: received bytes count, and may contain the reason
                self._report(LinkFailure(LinkCause.SEND_FAILED, str(error)[:200]))
        elif frame.opcode is OP_CLOSE:
            self.send_close(payload[:2])
            code = int.from_bytes(payload[:2], "big") if len(payload) >= 2 else _NO_CODE
            reason = payload[2:].decode(errors="replace")
            raise LinkFailure(LinkCause.CLOSED_BY_HUB, f"WebSocket close {code} {reason}".rstrip())


def _upgrade(sock: socket.socket, target: Target) -> bytes:
    """Send the request and check the answer; returns the bytes that were received after the answer.

    Raises:
        LinkFailure: the hub refused, or the server is not a WebSocket server.
        OSError: the connection broke or took too long.
    """
    protocol = ClientProtocol(parse_uri(target.url))
    request = protocol.connect()
    request.headers.update(target.headers)
    sock.sendall(request.serialize())
    received = StreamReader()
    response = _response(sock, received)
    if response.status_code != 101:
        raise http_failure(target.step, response.status_code, response.headers, bytes(received.buffer))
    try:
        protocol.process_response(response)
    except WebSocketException as error:
        raise LinkFailure(
            LinkCause.UPGRADE_REFUSED, f"the answer does not fit the request: {error}"
        ) from None
    return bytes(received.buffer)


def _response(sock: socket.socket, received: StreamReader) -> Response:
    # `proxy` leaves the body unread, which may be long or have no end.
    parser = Response.parse(received.read_line, received.read_exact, received.read_to_eof, proxy=True)
    try:
        while True:
            next(parser)
            piece = sock.recv(_CHUNK)
            if piece:
                received.feed_data(piece)
            else:
                received.feed_eof()
    except StopIteration as end:
        response: Response = end.value
        return response
    except EOFError:
        raise LinkFailure(
            LinkCause.UPGRADE_REFUSED, "the hub closed the connection during the upgrade"
        ) from None
    except (ValueError, WebSocketException) as error:  # raised by the library for what is not HTTP
        text = f"the answer to the upgrade is not HTTP: {error}"[:200]
        raise LinkFailure(LinkCause.UPGRADE_REFUSED, text) from None
