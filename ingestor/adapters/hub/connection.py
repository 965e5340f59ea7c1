"""signalrcore's hub connection, once: with our socket, our protocol, and nothing that reconnects."""

import ssl
from collections.abc import Callable

from signalrcore.hub.base_hub_connection import BaseHubConnection
from signalrcore.hub.errors import HubConnectionError
from signalrcore.messages.ping_message import PingMessage
from signalrcore.transport.base_transport import TransportState
from signalrcore.transport.websockets.websocket_transport import WebsocketTransport

from ingestor.adapters.hub.protocol import HubProtocol
from ingestor.adapters.hub.websocket import OneShotWebSocket
from ingestor.domain.commands import Command

MakeSocket = Callable[..., OneShotWebSocket]


class _Transport(WebsocketTransport):  # type: ignore[misc] # the library is untyped
    """The library's transport around our socket."""

    def __init__(self, make_socket: MakeSocket, **signalrcore: object) -> None:
        super().__init__(**signalrcore)
        self._make_socket = make_socket

    def create_client(self) -> OneShotWebSocket:
        return self._make_socket(
            url=self.url,
            headers=self.headers,
            ssl_context=self.ssl_context,
            on_open=self.on_socket_open,
        )

    def send(self, message: object) -> None:
        """Send one message. Raises OSError, which the library's own would turn into a ValueError."""
        self._client.send(self.protocol.encode(message))


class OneShotConnection(BaseHubConnection):  # type: ignore[misc] # the library is untyped
    """Started once; ended by cutting `socket`. `invoke` is for `ask` alone."""

    def __init__(self, url: str, key: str, tls: ssl.SSLContext, make_socket: MakeSocket) -> None:
        super().__init__(
            url=url,
            headers={},  # these would be repeated in every message
            skip_negotiation=True,
            ssl_context=tls,
        )
        self.protocol = HubProtocol()
        self.transport = _Transport(
            make_socket,
            url=url,
            protocol=self.protocol,
            headers={"Authorization": f"Bearer {key}"},
            skip_negotiation=True,
            ssl_context=tls,
            on_open=lambda: None,
            on_close=lambda: None,
            on_reconnect=lambda: None,
            on_message=lambda _: None,
        )

    def start(self) -> bool:
        """Connect, upgrade and send the handshake. Raises LinkFailure."""
        started: bool = self.transport.start()
        return started

    def handshaken(self) -> None:
        """The hub has accepted the handshake: invocations may follow."""
        self.transport.handshake_received = True
        self.transport.state = TransportState.connected

    @property
    def socket(self) -> OneShotWebSocket | None:
        """The live socket, once there is one."""
        client: OneShotWebSocket | None = self.transport._client  # noqa: SLF001 - pinned by the contract test
        return client

    def ping(self) -> None:
        """Send a SignalR ping. Raises OSError."""
        self.transport.send(PingMessage())

    def ask(self, command: Command, command_id: str, arguments: list[object]) -> None:
        """Send one invocation: the only place from which anything is ever asked of a hub. Raises OSError."""
        try:
            self.invoke(command.value, arguments, invocation_id=command_id)
        except HubConnectionError as error:  # signalrcore's word for a transport that is not up
            raise OSError(str(error)) from error
