"""signalrcore's hub connection, used once: with our socket, without its negotiate and its reconnecting."""

from signalrcore.hub.base_hub_connection import BaseHubConnection
from signalrcore.hub.errors import HubConnectionError
from signalrcore.messages.ping_message import PingMessage
from signalrcore.protocol.json_hub_protocol import JsonHubProtocol
from signalrcore.transport.base_transport import TransportState
from signalrcore.transport.websockets.websocket_transport import WebsocketTransport

from ingestor.adapters.hub.websocket import OneShotWebSocket
from ingestor.domain.requests import Command


class _Protocol(JsonHubProtocol):  # type: ignore[misc] # the library is untyped
    """The library's protocol without its copy of the HTTP headers in each invocation."""

    def encode(self, message: object) -> str:
        vars(message).pop("headers", None)
        return f"{self.encoder.encode(message)}{self.record_separator}"


class _Transport(WebsocketTransport):  # type: ignore[misc] # the library is untyped
    """The library's transport around our socket."""

    def __init__(self, socket: OneShotWebSocket) -> None:
        # Version 1 explicitly: the library's default is 0, which older hubs refuse.
        super().__init__(url=socket.url, protocol=_Protocol(version=1))
        self._socket = socket

    def create_client(self) -> OneShotWebSocket:
        self._socket.on_open = self.on_socket_open
        return self._socket

    def send(self, message: object) -> None:
        """Send one message. Raises OSError, which the library's own would turn into a ValueError."""
        self._client.send(self.protocol.encode(message))


class OneShotConnection(BaseHubConnection):  # type: ignore[misc] # the library is untyped
    """Started once; ended by cutting the connection under `socket`. `invoke` is for `request` alone."""

    def __init__(self, socket: OneShotWebSocket) -> None:
        super().__init__(url=socket.url, headers={})
        self.transport = _Transport(socket)

    def start(self) -> None:
        """Connect, upgrade and send the handshake. Raises LinkFailure."""
        self.transport.start()

    def handshake_done(self) -> None:
        """The hub has accepted the handshake: invocations may follow."""
        self.transport.handshake_received = True
        self.transport.state = TransportState.connected

    def ping(self) -> None:
        """Send a SignalR ping. Raises OSError."""
        self.transport.send(PingMessage())

    def request(self, command: Command, request_id: str, arguments: list[object]) -> None:
        """Send one invocation: the only place from which a command is ever sent to a hub. Raises OSError."""
        try:
            self.invoke(command.value, arguments, invocation_id=request_id)
        except HubConnectionError as error:  # signalrcore raises it if the transport is not connected
            raise OSError(str(error)) from error
