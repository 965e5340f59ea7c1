"""signalrcore's hub connection, used once: with our socket and our protocol, and without its reconnecting."""

import ssl

from signalrcore.hub.base_hub_connection import BaseHubConnection
from signalrcore.hub.errors import HubConnectionError
from signalrcore.messages.ping_message import PingMessage
from signalrcore.transport.base_transport import TransportState
from signalrcore.transport.websockets.websocket_transport import WebsocketTransport

from ingestor.adapters.hub.protocol import HubProtocol
from ingestor.adapters.hub.websocket import OneShotWebSocket
from ingestor.domain.requests import Command


class _Transport(WebsocketTransport):  # type: ignore[misc] # the library is untyped
    """The library's transport around our socket."""

    def __init__(self, socket: OneShotWebSocket, **signalrcore: object) -> None:
        super().__init__(**signalrcore)
        self._socket = socket

    def create_client(self) -> OneShotWebSocket:
        self._socket.on_open = self.on_socket_open
        return self._socket

    def send(self, message: object) -> None:
        """Send one message. Raises OSError, which the library's own would turn into a ValueError."""
        self._client.send(self.protocol.encode(message))


class OneShotConnection(BaseHubConnection):  # type: ignore[misc] # the library is untyped
    """Started once; ended by cutting the connection under `socket`. `invoke` is for `request` alone."""

    def __init__(self, url: str, tls: ssl.SSLContext, socket: OneShotWebSocket) -> None:
        # Headers would be repeated in every message; our socket knows its own.
        common = {"url": url, "headers": {}, "skip_negotiation": True, "ssl_context": tls}
        super().__init__(**common)
        self.protocol = HubProtocol()
        self.transport = _Transport(
            socket,
            **common,
            protocol=self.protocol,
            on_open=lambda: None,
            on_close=lambda: None,
            on_reconnect=lambda: None,
            on_message=lambda _: None,
        )

    def start(self) -> bool:
        """Connect, upgrade and send the handshake. Raises LinkFailure."""
        started: bool = self.transport.start()
        return started

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
        except HubConnectionError as error:  # signalrcore's word for a transport that is not up
            raise OSError(str(error)) from error
