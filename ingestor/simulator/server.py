"""The hub's door: HTTP negotiation and the WebSocket upgrade, as ASP.NET Core answers them.

Listens on 127.0.0.1 only. It can go away without a word, as a terminated process does, and come back on the
same port. Lives in one event loop.
"""

import asyncio
import hmac
from collections import Counter
from collections.abc import Awaitable, Callable
from random import sample
from secrets import token_urlsafe
from typing import Final

from aiohttp import web

from ingestor.simulator import protocol
from ingestor.simulator.account import Account
from ingestor.simulator.commands import answer, client_id_of
from ingestor.simulator.config import PATH, HubConfig
from ingestor.simulator.connection import Connection
from ingestor.simulator.exact_json import Json, dumps
from ingestor.simulator.faults import BodyKind, Fault, FaultDesk, Stage, Trouble, describe
from ingestor.simulator.journal import CommandLine, JournalWriter, utc_now
from ingestor.simulator.outbound import Control, Frame, Goodbye

HOST: Final = "127.0.0.1"

_OWN_PORTS: Final = range(20_000, 32_000)
"""Below the ports that Linux and macOS give to outgoing connections. A hub that is away must not find its
port taken by one of those, and a client that dials a closed port of that range could reach itself."""
_PORT_TRIES: Final = 50

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_TRANSPORTS: Final[Json] = [
    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
]
_LOGIN_PAGE: Final = b"<!DOCTYPE html><html><body><h1>Scheduled maintenance</h1></body></html>"
_HUGE_CHUNKS: Final = 4096
_CHUNK: Final = b'{"connectionId":"' + b"x" * (64 * 1024 - 17)


class Server:
    """Listens, lets clients in, and knows those who are in."""

    def __init__(
        self,
        config: HubConfig,
        account: Account,
        desk: FaultDesk,
        journal: JournalWriter,
        on_news: Callable[[], None],
    ) -> None:
        self._config = config
        self._account = account
        self._desk = desk
        self._journal = journal
        self._on_news = on_news
        self._ids: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._door = asyncio.Lock()
        """Opening and closing take turns: restarts may overlap."""
        self.port = config.port
        """The port in use once listening; it stays the same from then on."""
        self.connections: list[Connection] = []
        """Those whose handshake was answered, oldest first."""
        self.connections_seen = 0
        self.first_connection = asyncio.Event()
        """Set from the first handshake on."""
        self.api_key = config.api_key
        """The bearer key that opens the hub from now on."""
        self.requests: Counter[str] = Counter()
        """HTTP requests: `negotiate`, `upgrade`."""
        self.targets_seen: Counter[str] = Counter()
        """Hub methods that clients called, as they wrote them."""
        self.errors: list[BaseException] = []
        """Mistakes of this program: what must never happen."""

    @property
    def listening(self) -> bool:
        return self._runner is not None

    async def listen(self) -> None:
        """Open the door unless it is open. Raises OSError if the port is taken, or none is free."""
        async with self._door:
            if self._runner is None:
                self._runner = await self._open()
                self._on_news()

    async def go_away(self, cause: str = "went_away") -> None:
        """Close the door and drop everybody without a word."""
        async with self._door:
            for connection in list(self.connections):
                connection.cut(reset=False, cause=cause)
            if self._runner is not None:
                await self._runner.cleanup()
                self._runner = None

    async def _open(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_route("*", PATH, self._guarded(self._upgrade))
        app.router.add_route("*", f"{PATH}/negotiate", self._guarded(self._negotiate))
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
        await runner.setup()
        refusal = OSError(f"no free port on {HOST}")
        for port in [self.port] if self.port else sample(_OWN_PORTS, _PORT_TRIES):
            try:
                await web.TCPSite(runner, HOST, port, reuse_address=True).start()
            except OSError as error:
                refusal = error
            else:
                self.port = port
                return runner
        await runner.cleanup()
        raise refusal

    def say_to_all(self, item: Frame | Goodbye) -> None:
        for connection in self.connections:
            connection.say(item)

    # --- the door ----------------------------------------------------------------------------------------

    def _guarded(self, handler: _Handler) -> _Handler:
        """`handler`, with its mistakes kept for `stop()` to raise: aiohttp would only log them."""

        async def guarded(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except ConnectionError:  # the client left in the middle of an answer: nobody will see this one
                return web.Response(status=499)
            except Exception as error:
                self.errors.append(error)
                raise

        return guarded

    def _authorized(self, request: web.Request) -> bool:
        """Bearer header, or the `access_token` that browsers must use for WebSockets."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            key = request.query.get("access_token", "")
        return hmac.compare_digest(key.encode(), self.api_key.encode())

    async def _negotiate(self, request: web.Request) -> web.StreamResponse:
        self.requests["negotiate"] += 1
        self._on_news()
        trouble = self._bitten(Stage.NEGOTIATE)
        if trouble is not None:
            return await self._trouble_at_negotiate(request, trouble)
        if not self._authorized(request):
            return web.Response(status=401)
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"})
        version = 1 if request.query.get("negotiateVersion", "0") not in {"", "0"} else 0
        connection_id, token = _new_id(), _new_id()
        body: dict[str, Json] = {"negotiateVersion": version, "connectionId": connection_id}
        if version:
            body["connectionToken"] = token
        self._ids.add(token if version else connection_id)
        return _json({**body, "availableTransports": _TRANSPORTS})

    async def _trouble_at_negotiate(self, request: web.Request, trouble: Trouble) -> web.StreamResponse:
        match trouble.fault:
            case Fault.NEGOTIATE_HANG:
                await asyncio.Event().wait()  # until the client or the hub goes
            case Fault.NEGOTIATE_REDIRECT if trouble.status == 200:
                return _json({"url": trouble.url, "accessToken": "token-for-elsewhere"})
            case Fault.NEGOTIATE_REDIRECT:
                status = trouble.status if trouble.status in {301, 302, 303, 307, 308} else 307
                return web.Response(status=status, headers={"Location": trouble.url})
            case Fault.NEGOTIATE_BODY:
                return await _odd_body(request, BodyKind(trouble.kind or BodyKind.HTML))
            case _:
                pass
        return web.Response(status=trouble.status, headers=trouble.headers)

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        self.requests["upgrade"] += 1
        self._on_news()
        trouble = self._bitten(Stage.UPGRADE)
        if trouble is not None and trouble.fault is Fault.UPGRADE_HANG:
            await asyncio.Event().wait()  # until the client or the hub goes
        if trouble is not None:
            return web.Response(status=trouble.status, headers=trouble.headers)
        if not self._authorized(request):
            return web.Response(status=401)
        connection_id = request.query.get("id")
        if connection_id is not None and connection_id not in self._ids:
            return web.Response(status=404, text="No Connection with that ID")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=400, text="Connection ID required")
        self._ids.discard(connection_id or "")
        return await self._host(request)

    def _bitten(self, stage: Stage) -> Trouble | None:
        trouble = self._desk.take(stage)
        if trouble is not None:
            self._journal.fault(trouble.fault, describe(trouble))
        return trouble

    # --- inside ------------------------------------------------------------------------------------------

    async def _host(self, request: web.Request) -> web.StreamResponse:
        connection = Connection(_new_id(), self._config, self._desk, self._journal, self._invoked)
        try:
            if not await connection.open(request):
                return connection.response
        except ConnectionError:  # the client left in the middle of its handshake: its right
            return connection.response
        self._journal.opened(connection.name)
        if self._config.one_connection_per_key:
            self.say_to_all(Goodbye("superseded", protocol.close()))
        self.connections.append(connection)
        self.first_connection.set()
        self.connections_seen += 1
        self._on_news()
        try:
            await connection.run()
        finally:
            self.connections.remove(connection)
            self._journal.closed(connection.name, connection.cause)
            self._on_news()
        return connection.response

    def _invoked(self, connection: Connection, call: protocol.Invocation) -> None:
        self.targets_seen[call.target] += 1
        self._on_news()
        self._journal.command(
            CommandLine(
                connection.name, utc_now(), call.target, client_id_of(call.arguments), call.invocation_id
            )
        )
        trouble = self._desk.take(Stage.COMMAND, call.target)
        result = answer(call, self._account, self._config, trouble)
        items: list[Frame | Control] = []
        if result.event is not None:
            items.append(Frame((result.event,)))
        if result.completes and call.invocation_id is not None:
            items.append(Control(protocol.completion(call.invocation_id, result.error)))
        for item in items if self._config.event_before_completion else reversed(items):
            connection.say(item)


def _new_id() -> str:
    """22 characters, as ASP.NET Core makes them; never the same again, whatever the seed."""
    return token_urlsafe(16)


def _json(body: Json) -> web.Response:
    return web.Response(text=dumps(body), content_type="application/json")


async def _odd_body(request: web.Request, kind: BodyKind) -> web.StreamResponse:
    if kind is BodyKind.HTML:
        return web.Response(body=_LOGIN_PAGE, content_type="text/html")
    if kind is BodyKind.EMPTY:
        return web.Response()
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    if kind is BodyKind.HUGE:
        for _ in range(_HUGE_CHUNKS):
            await response.write(_CHUNK)
        return response
    while True:
        await response.write(b" ")
        await asyncio.sleep(0.5)
