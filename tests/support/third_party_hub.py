"""A SignalR hub that nobody here wrote: PyPI's aiosignalr, in a thread of its own, on aiohttp or uvicorn.

As shipped it sends its JSON in binary frames, which Microsoft's client refuses; the text adapters below make
it send text, as ASP.NET Core does.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import uvicorn
from aiohttp import web
from aiosignalr.server import Hub, ServerOptions, SignalRServer, aiohttp_server, asgi


class AccountHub(Hub):  # type: ignore[misc] # untyped
    """Answers the two commands with an event and a Completion, as the vendor's hub does."""

    asked: ClassVar[list[tuple[str, str]]] = []

    async def GetBalances(self, client_id: str) -> None:  # noqa: N802 - the hub method's name
        self.asked.append(("GetBalances", client_id))
        await self.clients.caller.send("executionEvents", {"clientId": client_id})

    async def GetPairs(self, client_id: str) -> None:  # noqa: N802 - the hub method's name
        self.asked.append(("GetPairs", client_id))
        raise RuntimeError("permission denied")


async def _send_text(socket: Any, data: bytes) -> None:
    await socket._ws.send_str(data.decode())


async def _send_asgi_text(socket: Any, data: bytes) -> None:
    await socket._accept()
    await socket._send({"type": "websocket.send", "text": data.decode()})


def _server() -> SignalRServer:
    return SignalRServer(
        AccountHub, options=ServerOptions(keep_alive_interval=1.0, enable_detailed_errors=True)
    )


@contextmanager
def _in_a_thread(main: Callable[[asyncio.Event, Callable[[int], None]], Awaitable[None]]) -> Iterator[int]:
    """Run `main` in an event loop until the block ends; yields the port that it reports."""
    ready = threading.Event()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    ports: list[int] = []

    def listening(port: int) -> None:
        ports.append(port)
        ready.set()

    def run() -> None:
        try:
            loop.run_until_complete(main(stop, listening))
        finally:
            ready.set()
            loop.close()

    thread = threading.Thread(target=run, name="third-party hub")
    thread.start()
    try:
        assert ready.wait(20)
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()


@contextmanager
def on_aiohttp(monkeypatch: Any, port: int = 0) -> Iterator[str]:
    """The hub's address, served by aiohttp."""
    monkeypatch.setattr(aiohttp_server._AiohttpSocket, "send_bytes", _send_text)

    async def main(stop: asyncio.Event, listening: Callable[[int], None]) -> None:
        runner = web.AppRunner(aiohttp_server.build_aiohttp_app(_server()), shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        listening(runner.addresses[0][1])
        await stop.wait()
        await runner.cleanup()

    with _in_a_thread(main) as bound:
        yield f"http://127.0.0.1:{bound}/hub"


@contextmanager
def on_uvicorn(monkeypatch: Any, ping_seconds: float) -> Iterator[str]:
    """The hub's address, served by uvicorn, which pings on the WebSocket's own level, with a payload."""
    monkeypatch.setattr(asgi._AsgiSocket, "send_bytes", _send_asgi_text)

    async def main(stop: asyncio.Event, listening: Callable[[int], None]) -> None:
        config = uvicorn.Config(
            asgi.asgi_app(_server()),
            host="127.0.0.1",
            port=0,
            lifespan="off",
            ws="websockets-sansio",
            ws_ping_interval=ping_seconds,
            ws_ping_timeout=ping_seconds,
            log_level="critical",
            timeout_graceful_shutdown=1,
        )
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server._serve())
        while not server.started:
            await asyncio.sleep(0.01)
        listening(server.servers[0].sockets[0].getsockname()[1])
        await stop.wait()
        server.should_exit = True
        await serving

    with _in_a_thread(main) as bound:
        yield f"http://127.0.0.1:{bound}/hub"
