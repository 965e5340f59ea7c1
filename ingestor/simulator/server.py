"""The hub's HTTP side: negotiation and the WebSocket upgrade, as ASP.NET Core answers them.

Listens on 127.0.0.1 only. It can go away as a killed process does, and come back on the same port. Lives in
one event loop.
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
from ingestor.simulator.commands import Methods, client_id_of
from ingestor.simulator.config import PATH, HubConfig
from ingestor.simulator.connection import Connection
from ingestor.simulator.faults import Fault, FaultQueue, FaultSpec, Stage
from ingestor.simulator.journal import ChannelRecord, JournalWriter
from ingestor.simulator.outbound import Frame, Ready
from ingestor.simulator.protocol import to_json

HOST: Final = "127.0.0.1"

_OWN_PORTS: Final = range(20_000, 32_000)
"""Below the ports that Linux and macOS give to outgoing connections. A hub that is away must not find its
port taken by one of those, and a client that dials a closed port of that range could reach itself."""
_PORT_TRIES: Final = 50

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_TRANSPORTS: Final = [
    {"transport": "WebSockets", "transferFormats": ["Text", "Binary"]},
    {"transport": "ServerSentEvents", "transferFormats": ["Text"]},
    {"transport": "LongPolling", "transferFormats": ["Text", "Binary"]},
]
_MAINTENANCE_PAGE: Final = b"<!DOCTYPE html><html><body><h1>Scheduled maintenance</h1></body></html>"


class Server:
    """Listens, authorizes clients, and keeps the list of connections."""

    def __init__(
        self,
        config: HubConfig,
        methods: Methods,
        faults: FaultQueue,
        journal: JournalWriter,
        on_change: Callable[[], None],
    ) -> None:
        self._config = config
        self._methods = methods
        self._faults = faults
        self._journal = journal
        self._on_change = on_change
        self._ids: set[str] = set()
        self._runner: web.AppRunner | None = None
        self._listening = asyncio.Lock()
        """Held while it starts or stops to listen: restarts may overlap."""
        self.port = config.port
        """The port in use once listening; it stays the same from then on."""
        self.connections: list[Connection] = []
        """Those whose handshake was answered, oldest first."""
        self.connections_seen = 0
        self.first_connection = asyncio.Event()
        """Set from the first handshake on."""
        self.requests: Counter[str] = Counter()
        """HTTP requests: `negotiate`, `upgrade`."""
        self.targets_seen: Counter[str] = Counter()
        """Hub methods that clients called, as they wrote them."""
        self.errors: list[BaseException] = []
        """Internal errors of this program."""

    @property
    def listening(self) -> bool:
        return self._runner is not None

    async def listen(self) -> None:
        """Listen, unless it does. Raises OSError if the port is taken, or none is free."""
        async with self._listening:
            if self._runner is None:
                self._runner = await self._open()
                self._on_change()

    async def go_away(self, cause: str = "went_away") -> None:
        """Stop listening and end all connections without a Close record."""
        async with self._listening:
            for connection in list(self.connections):
                connection.cut(reset=False, cause=cause)
            if self._runner is not None:
                await self._runner.cleanup()
                self._runner = None

    async def _open(self) -> web.AppRunner:
        app = web.Application(middlewares=[self._keep_errors])
        app.router.add_route("*", PATH, self._upgrade)
        app.router.add_route("*", f"{PATH}/negotiate", self._negotiate)
        runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.0)
        await runner.setup()
        failure = OSError(f"no free port on {HOST}")
        for port in [self.port] if self.port else sample(_OWN_PORTS, _PORT_TRIES):
            try:
                await web.TCPSite(runner, HOST, port, reuse_address=True).start()
            except OSError as error:
                failure = error
            else:
                self.port = port
                return runner
        await runner.cleanup()
        raise failure

    def send_to_all(self, item: Frame) -> None:
        for connection in self.connections:
            connection.enqueue(item)

    # --- HTTP --------------------------------------------------------------------------------------------

    @web.middleware
    async def _keep_errors(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Errors of ours, for `stop()` to raise: aiohttp would only log them."""
        try:
            return await handler(request)
        except ConnectionError:  # the client left during the answer; nobody receives this one
            return web.Response(status=499)
        except web.HTTPException:
            raise
        except Exception as error:
            self.errors.append(error)
            raise

    def _authorized(self, request: web.Request) -> bool:
        """Bearer header, or the `access_token` that browsers must use for WebSockets."""
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            key = request.query.get("access_token", "")
        return hmac.compare_digest(key.encode(), self._faults.api_key.encode())

    async def _negotiate(self, request: web.Request) -> web.StreamResponse:
        self.requests["negotiate"] += 1
        self._on_change()
        spec = self._faults.take(Stage.NEGOTIATE)
        if spec is not None:
            return await _faulty_negotiate(spec)
        if not self._authorized(request):
            return web.Response(status=401)
        if request.method != "POST":
            return web.Response(status=405, headers={"Allow": "POST"})
        version = 1 if request.query.get("negotiateVersion", "0") not in {"", "0"} else 0
        connection_id, token = token_urlsafe(16), token_urlsafe(16)  # of 22 characters, as ASP.NET Core makes
        body: dict[str, object] = {"negotiateVersion": version, "connectionId": connection_id}
        if version:
            body["connectionToken"] = token
        self._ids.add(token if version else connection_id)
        answer = to_json({**body, "availableTransports": _TRANSPORTS})
        return web.Response(body=answer, content_type="application/json")

    async def _upgrade(self, request: web.Request) -> web.StreamResponse:
        self.requests["upgrade"] += 1
        self._on_change()
        spec = self._faults.take(Stage.UPGRADE)
        if spec is not None and spec.fault is Fault.UPGRADE_HANG:
            return await _hang()
        if spec is not None:
            return web.Response(status=spec.status, headers=spec.headers)
        if not self._authorized(request):
            return web.Response(status=401)
        connection_id = request.query.get("id")
        if connection_id is not None and connection_id not in self._ids:
            return web.Response(status=404, text="No Connection with that ID")
        if request.headers.get("Upgrade", "").lower() != "websocket":
            return web.Response(status=400, text="Connection ID required")
        self._ids.discard(connection_id or "")
        return await self._host(request)

    # --- WebSocket ---------------------------------------------------------------------------------------

    async def _host(self, request: web.Request) -> web.StreamResponse:
        connection = Connection(token_urlsafe(16), self._config, self._faults, self._journal, self._invoked)
        try:
            if not await connection.open(request):
                return connection.response
        except ConnectionError:  # the client left during its handshake, as it may
            return connection.response
        self._journal.write("opened", connection=connection.name)
        self.connections.append(connection)
        self.first_connection.set()
        self.connections_seen += 1
        self._on_change()
        try:
            await connection.run()
        finally:
            self.connections.remove(connection)
            self._journal.write("closed", connection=connection.name, cause=connection.cause)
            self._on_change()
        return connection.response

    def _invoked(self, connection: Connection, call: protocol.Invocation) -> None:
        self._journal.write(
            "command",
            connection=connection.name,
            target=call.target,
            client_id=client_id_of(call.arguments),
            invocation_id=call.invocation_id,
        )
        spec = self._faults.take(Stage.COMMAND, call.target)
        records = self._methods.answer(call, spec)
        self.targets_seen[call.target] += 1  # once the answer's content is fixed
        self._on_change()
        lag = self._config.answer_lag_seconds
        if lag:
            asyncio.get_running_loop().call_later(lag, _send, connection, records)
        else:
            _send(connection, records)


def _send(connection: Connection, records: list[ChannelRecord | bytes]) -> None:
    for record in records:
        connection.enqueue(Ready(record) if isinstance(record, bytes) else Frame((record,)))


async def _faulty_negotiate(spec: FaultSpec) -> web.StreamResponse:
    match spec.fault:
        case Fault.NEGOTIATE_HANG:
            return await _hang()
        case Fault.NEGOTIATE_REDIRECT:
            return web.Response(status=spec.status, headers={"Location": spec.url})
        case Fault.NEGOTIATE_PAGE:
            return web.Response(body=_MAINTENANCE_PAGE, content_type="text/html")
        case _:
            return web.Response(status=spec.status, headers=spec.headers)


async def _hang() -> web.Response:
    """No answer until the client or the hub goes."""
    return await asyncio.Future()
