"""The private parts of signalrcore that the link stands on: an upgrade that moves one of them fails here."""

import inspect
import json
from importlib.metadata import version

import pytest
from signalrcore.hub.base_hub_connection import BaseHubConnection
from signalrcore.hub.errors import HubConnectionError
from signalrcore.messages.ping_message import PingMessage
from signalrcore.protocol.json_hub_protocol import JsonHubProtocol
from signalrcore.transport.base_transport import TransportState
from signalrcore.transport.websockets.websocket_client import WebSocketClient
from signalrcore.transport.websockets.websocket_transport import WebsocketTransport


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


class Wire:
    """Where a transport's client would be: keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[str] = []

    def send(self, message: str, opcode: int = 1) -> None:
        self.sent.append(message)


def transport(**changes: object) -> WebsocketTransport:
    arguments: dict[str, object] = {"url": "ws://localhost/", "protocol": JsonHubProtocol(version=1)}
    return WebsocketTransport(**(arguments | changes))


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("signalrcore") == "1.0.2"


def test_the_signatures_that_we_call_or_override() -> None:
    assert parameters(JsonHubProtocol.__init__) == ["self", "version"]
    assert parameters(JsonHubProtocol.encode) == ["self", "message"]
    assert parameters(WebsocketTransport.__init__) == ["self", "keep_alive_interval", "kwargs"]
    assert parameters(WebsocketTransport.create_client) == ["self"]
    assert parameters(WebsocketTransport.send) == ["self", "message"]
    assert parameters(WebsocketTransport.on_socket_open) == ["self"]
    assert parameters(WebSocketClient.connect) == ["self"]
    assert parameters(WebSocketClient.run) == ["self"]
    assert parameters(WebSocketClient.send) == ["self", "message", "opcode"]
    assert parameters(BaseHubConnection.invoke)[1:] == [
        "method",
        "arguments",
        "on_invocation",
        "invocation_id",
    ]
    assert {"url", "headers"} <= set(parameters(BaseHubConnection.__init__))
    assert "url" in parameters(WebSocketClient.__init__)


def test_the_attributes_that_we_read_or_set() -> None:
    client = WebSocketClient(url="ws://localhost/")
    assert (client.url, client.running, client.recv_thread) == ("ws://localhost/", False, None)
    assert client.on_open is None
    fresh = transport()
    assert fresh._client is None
    assert fresh.state is TransportState.disconnected
    assert fresh.handshake_received is False


def test_starting_a_transport_makes_a_client_and_connects_it_without_a_thread() -> None:
    """The keep-alive thread of the library must not run beside our pings."""
    made: list[str] = []

    class Client(Wire):
        def connect(self) -> None:
            made.append("connected")

    class Ours(WebsocketTransport):  # type: ignore[misc] # the library is untyped
        def create_client(self) -> Client:
            made.append("made")
            return Client()

    ours = Ours(url="ws://localhost/", protocol=JsonHubProtocol(version=1))
    assert ours.start() is True
    assert made == ["made", "connected"]
    assert ours.state is TransportState.connecting
    assert ours.connection_checker.running is False


def test_an_open_socket_sends_the_handshake_through_the_transport() -> None:
    ours = transport()
    ours._client = Wire()
    ours.on_socket_open()
    assert [json.loads(each.rstrip("\x1e")) for each in ours._client.sent] == [
        {"protocol": "json", "version": 1}
    ]


def test_an_invocation_carries_the_headers_of_its_hub_which_is_why_we_give_it_none() -> None:
    hub = BaseHubConnection(url="ws://localhost/", headers={"Authorization": "secret"}, skip_negotiation=True)
    hub.transport = transport(on_open=lambda: None)
    hub.transport._client = Wire()
    hub.transport.state = TransportState.connected
    hub.invoke("GetPairs", ["id"], invocation_id="id")
    (sent,) = hub.transport._client.sent
    assert json.loads(sent.rstrip("\x1e")) == {
        "type": 1,
        "headers": {"Authorization": "secret"},
        "invocationId": "id",
        "target": "GetPairs",
        "arguments": ["id"],
    }
    assert hub.stream_handlers == {}


def test_an_invocation_without_a_running_transport_is_refused() -> None:
    hub = BaseHubConnection(url="ws://localhost/", headers={}, skip_negotiation=True)
    hub.transport = transport()
    with pytest.raises(HubConnectionError):
        hub.invoke("GetPairs", [], invocation_id="id")


def test_a_ping_is_written_as_the_protocol_says() -> None:
    assert json.loads(JsonHubProtocol(version=1).encode(PingMessage()).rstrip("\x1e")) == {"type": 6}
