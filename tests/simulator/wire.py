"""A client that knows WebSocket and nothing of SignalR: it shows the hub's bytes as they are."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from typing_extensions import override
from websockets.sync.client import ClientConnection, connect

from ingestor.simulator import SimulatedHub

END = b"\x1e"
HANDSHAKE = b'{"protocol":"json","version":1}\x1e'


class Wire:
    """One WebSocket to a hub. Waits at most 10 s for anything."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self._waiting: list[bytes] = []

    def send(self, message: bytes) -> None:
        self.socket.send(message, text=True)

    def call(self, target: str, *arguments: Any, invocation_id: str | None = "1", kind: int = 1) -> None:
        message = {"type": kind, "target": target, "arguments": list(arguments)}
        if invocation_id is not None:
            message["invocationId"] = invocation_id
        self.send(json.dumps(message).encode() + END)

    def frame(self, timeout: float = 10.0) -> bytes:
        """The next message as it came."""
        return self.socket.recv(timeout=timeout, decode=False)

    def record(self, timeout: float = 10.0) -> bytes:
        """The next record without its terminator."""
        while not self._waiting:
            message = self.frame(timeout)
            assert message.endswith(END), message
            self._waiting += message.split(END)[:-1]
        return self._waiting.pop(0)

    def json(self, timeout: float = 10.0) -> dict[str, Any]:
        """The next record, read."""
        record: dict[str, Any] = json.loads(self.record(timeout))
        return record

    def sequence(self) -> int:
        """Of the next record, which must be a balance snapshot."""
        return sequence_of(self.record())


def sequence_of(record: bytes) -> int:
    sequence: int = json.loads(json.loads(record)["arguments"][0]["data"])["sequence"]
    return sequence


@contextmanager
def dial(hub: SimulatedHub, *, query: str = "", key: str | None = None, **options: Any) -> Iterator[Wire]:
    """A WebSocket without handshake. Raises websockets' InvalidStatus where the hub refuses."""
    with dial_url(hub.url + query, hub.config.api_key if key is None else key, **options) as wire:
        yield wire


@contextmanager
def dial_url(url: str, key: str, **options: Any) -> Iterator[Wire]:
    """The same for a hub that may live in another process."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with connect(
        url.replace("http:", "ws:"),
        additional_headers=headers,
        proxy=None,
        ping_interval=None,
        close_timeout=0.5,
        max_size=None,
        **options,
    ) as socket:
        assert isinstance(socket, ClientConnection)
        yield Wire(socket)


@contextmanager
def join(hub: SimulatedHub, **options: Any) -> Iterator[Wire]:
    """A WebSocket that has shaken hands and that the hub counts as connected."""
    seen = hub.connections_seen
    with dial(hub, **options) as wire:
        wire.send(HANDSHAKE)
        assert wire.frame() == b"{}" + END
        assert hub.wait_until(lambda one: one.connections_seen > seen)
        yield wire


def post(
    url: str, key: str, *, method: str = "POST", timeout: float = 5.0
) -> tuple[int, bytes, dict[str, str]]:
    """(status, body, headers) of a request; redirects are not followed."""
    request = urllib.request.Request(url, method=method, headers={"Authorization": f"Bearer {key}"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _Stay)
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as refusal:
        with refusal:
            return refusal.code, refusal.read(), dict(refusal.headers)


class _Stay(urllib.request.HTTPRedirectHandler):
    @override
    def redirect_request(self, *_: Any) -> None:
        return None
