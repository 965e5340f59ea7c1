"""A SignalR hub that nobody here wrote: PyPI's aiosignalr, in a thread of its own, on aiohttp or uvicorn.

As shipped it sends its JSON in binary frames, which Microsoft's client rejects; the text adapters below make
it send text, as ASP.NET Core does.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from unittest.mock import patch

import uvicorn
from aiohttp import web
from aiosignalr.server import Hub, ServerOptions, SignalRServer, aiohttp_server, asgi
from typing_extensions import override
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from tests.support.items import envelope

CHANNEL = "executionEvents"
BALANCES = """{"userId":"1e0f2e3d-4c5e-4a6e-8e7f-0123456789ab","sequence":123,"assets":[
{"name":"BTC","available":0.5,"allocated":0,"currentExposure":30,"maxExposure":1500},
{"name":"ETH","available":5,"allocated":0,"currentExposure":1150,"maxExposure":1500},
{"name":"USDT","available":1000,"allocated":250,"currentExposure":250,"maxExposure":1500}],
"baseCurrency":"EUR","totalCurrentExposure":1430,"totalMaxExposure":1500,"deleted":false}"""
"""The payload of `account.balances.snapshot`, as the vendor's reference page has it."""
PAIRS = """[
{"name":"BTCUSDT","asset":"BTC","currency":"USDT",
"minSize":0.0001,"maxSize":5,"minQuoteSize":100,"maxQuoteSize":1000000},
{"name":"ETHUSDT","asset":"ETH","currency":"USDT",
"minSize":0.001,"maxSize":5,"minQuoteSize":1000,"maxQuoteSize":1000000}]"""
"""The payload of `execution.pairs`, as the vendor's reference page has it."""


@dataclass
class Account:
    """The account that the hub serves, and the commands it received; outlives the hub's restart."""

    balances: str = BALANCES
    pairs: str | None = PAIRS
    """None: GetPairs is refused."""
    commands: list[tuple[str, str]] = field(default_factory=list)
    """Command and client id."""


@dataclass(frozen=True)
class Running:
    """A hub that listens."""

    url: str
    port: int
    push: Callable[[str], None]
    """Send this balance payload to every client, unasked."""


def _hub_of(account: Account) -> type[Hub]:
    class AccountHub(Hub):  # type: ignore[misc] # untyped
        """Answers the two commands with an event and a Completion, as the vendor's hub does."""

        async def GetBalances(self, client_id: str) -> None:  # noqa: N802 - the hub method's name
            account.commands.append(("GetBalances", client_id))
            await self._answer("account.balances.snapshot", account.balances, client_id)

        async def GetPairs(self, client_id: str) -> None:  # noqa: N802 - the hub method's name
            account.commands.append(("GetPairs", client_id))
            if account.pairs is None:
                raise RuntimeError("permission denied")
            await self._answer("execution.pairs", account.pairs, client_id)

        async def _answer(self, subject: str, data: str, client_id: str) -> None:
            await self.clients.caller.send(CHANNEL, envelope(subject, data, client_id))

    return AccountHub


class Pings(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket: pings with a payload, cuts who does not send it back, and counts the answers."""

    answered = 0

    @override
    def handle_pong(self, event: Any) -> None:
        awaited = self.pending_ping_payload is not None
        super().handle_pong(event)
        Pings.answered += awaited and self.pending_ping_payload is None


async def _send_text(socket: Any, data: bytes) -> None:
    await socket._ws.send_str(data.decode())


async def _send_asgi_text(socket: Any, data: bytes) -> None:
    await socket._accept()
    await socket._send({"type": "websocket.send", "text": data.decode()})


Listening = Callable[[int], None]
Main = Callable[[SignalRServer, int, asyncio.Event, Listening], Coroutine[Any, Any, None]]


@contextmanager
def _in_a_thread(main: Main, account: Account, port: int) -> Iterator[Running]:
    """Run `main` in an event loop until the block ends."""
    ready = threading.Event()
    runner = asyncio.Runner()
    loop = runner.get_loop()
    stop = asyncio.Event()
    ports: list[int] = []
    options = ServerOptions(keep_alive_interval=1.0, enable_detailed_errors=True)
    server = SignalRServer(_hub_of(account), options=options)

    def listening(bound: int) -> None:
        ports.append(bound)
        ready.set()

    def run() -> None:
        try:
            with runner:
                runner.run(main(server, port, stop, listening))
        finally:
            ready.set()

    def push(balances: str) -> None:
        event = envelope("account.balances.snapshot", balances)
        sending = server.lifetime.send_all(CHANNEL, (event,))
        asyncio.run_coroutine_threadsafe(sending, loop).result(10)

    thread = threading.Thread(target=run, name="third-party hub")
    thread.start()
    try:
        assert ready.wait(20)
        yield Running(f"http://127.0.0.1:{ports[0]}/hub", ports[0], push)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()


async def _aiohttp(server: SignalRServer, port: int, stop: asyncio.Event, listening: Listening) -> None:
    runner = web.AppRunner(aiohttp_server.build_aiohttp_app(server), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    listening(runner.addresses[0][1])
    await stop.wait()
    await runner.cleanup()


async def _uvicorn(
    server: SignalRServer, port: int, stop: asyncio.Event, listening: Listening, ping_seconds: float
) -> None:
    config = uvicorn.Config(
        asgi.asgi_app(server),
        host="127.0.0.1",
        port=port,
        lifespan="off",
        ws=Pings,
        ws_ping_interval=ping_seconds,
        ws_ping_timeout=ping_seconds,
        log_level="critical",
        timeout_graceful_shutdown=1,
    )
    running = uvicorn.Server(config)
    serving = asyncio.create_task(running._serve())
    while not running.started:
        await asyncio.sleep(0.01)
    listening(running.servers[0].sockets[0].getsockname()[1])
    await stop.wait()
    running.should_exit = True
    await serving


@contextmanager
def on_aiohttp(account: Account, port: int = 0) -> Iterator[Running]:
    """Served by aiohttp."""
    with (
        patch.object(aiohttp_server._AiohttpSocket, "send_bytes", _send_text),
        _in_a_thread(_aiohttp, account, port) as running,
    ):
        yield running


@contextmanager
def on_uvicorn(account: Account, port: int = 0, ping_seconds: float = 0.3) -> Iterator[Running]:
    """Served by uvicorn, which pings on the WebSocket's own level, with a payload."""
    with (
        patch.object(asgi._AsgiSocket, "send_bytes", _send_asgi_text),
        _in_a_thread(partial(_uvicorn, ping_seconds=ping_seconds), account, port) as running,
    ):
        yield running
