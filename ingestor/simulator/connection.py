"""One WebSocket connection: handshake, the records it receives, the records it sends, and how it ends.

All that is sent goes through one queue and one sender task, which owns the order and the journal's numbers.
The sender takes all queued messages, applies faults, writes the journal, and only then writes to the socket.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from math import inf

from aiohttp import ClientConnectionResetError, WSMsgType, web

from ingestor.simulator import protocol
from ingestor.simulator.config import HubConfig
from ingestor.simulator.faults import Fault, FaultQueue, FaultSpec, Stage
from ingestor.simulator.journal import ChannelRecord, JournalWriter
from ingestor.simulator.outbound import Closing, Frame, Outbound, Outgoing, Ready

_BATCH = 256
_CLOSE_ANSWER_TIMEOUT_S = 1.0
_SEND_TIMEOUT_S = 10.0
"""A client that does not drain its socket for this long is cut, as Kestrel does."""
_MOST_RECORD_BYTES = 32 * 1024


class Connection:
    """A client whose request was authorized. Lives in the hub's event loop."""

    def __init__(
        self,
        name: str,
        config: HubConfig,
        faults: FaultQueue,
        journal: JournalWriter,
        on_invocation: Callable[["Connection", protocol.Invocation], None],
    ) -> None:
        self.name = name
        """Unique for this hub; the journal's `connection`."""
        self._config = config
        self._faults = faults
        self._journal = journal
        self._on_invocation = on_invocation
        self.response = web.WebSocketResponse(
            autoclose=False,  # a silent hub answers neither close frames
            autoping=False,  # nor pings
            compress=False,  # off by default at ASP.NET Core
            decode_text=False,
            max_msg_size=0,
            timeout=_CLOSE_ANSWER_TIMEOUT_S,
        )
        """What the HTTP handler returns in the end."""
        self._transport: asyncio.Transport | None = None
        self._queue: asyncio.Queue[Outgoing] = asyncio.Queue()
        self._outbound = Outbound(faults, self._silenced, self._send_later)
        self._silent_until = 0.0
        self._client_pinged = False
        self._cause: str | None = None
        self._leaving = False
        self._ended = asyncio.Event()
        self._received = b""

    @property
    def cause(self) -> str:
        """Why it ended; `client` unless the hub did it."""
        return self._cause or "client"

    async def open(self, request: web.Request) -> bool:
        """Upgrade and handshake. False: refused or abandoned, and closed."""
        await self.response.prepare(request)
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return False
        self._transport = transport
        try:
            async with asyncio.timeout(self._config.handshake_timeout_s):
                record = await self._handshake_record()
            if record is None:
                return False
            refusal = protocol.handshake_refusal(record)
        except TimeoutError:
            refusal = protocol.HANDSHAKE_TIMED_OUT
        spec = self._faults.take(Stage.HANDSHAKE)
        if spec is not None and spec.fault is Fault.HANDSHAKE_HANG:
            await self._read_until_end()
            return False
        if spec is not None:
            refusal = spec.error or "The hub is not taking connections."
        if refusal is not None:
            await self._leave(Closing("refused", protocol.handshake_error(refusal)))
            return False
        await self._send(protocol.HANDSHAKE_OK)
        return True

    async def run(self) -> None:
        """Receive and send until one side ends it."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._send_queued())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if self._leaving:  # the reader ends first; the sender still waits for the client's close frame
                await asyncio.wait(tasks, timeout=2 * _CLOSE_ANSWER_TIMEOUT_S)
        finally:
            self._ended.set()
            for task in tasks:
                task.cancel()
            for outcome in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(outcome, Exception) and not isinstance(outcome, ConnectionError):
                    raise outcome

    def enqueue(self, item: Outgoing) -> None:
        """Send it after all that was queued before."""
        self._queue.put_nowait(item)

    async def drained(self) -> None:
        """Return when all that was queued has been sent, or the connection is gone."""
        waits = [asyncio.create_task(self._queue.join()), asyncio.create_task(self._ended.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def cut(self, *, reset: bool, cause: str) -> None:
        """End it now, without Close record or frame: RST, or FIN after what the kernel already has."""
        self._cause = self._cause or cause
        if self._transport is None:
            return
        if not reset:
            self._transport.close()
            return
        raw = self._transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._transport.abort()

    async def suffer(self, spec: FaultSpec) -> None:
        """A fault that occurs at once, on each connection there is."""
        match spec.fault:
            case Fault.CLOSE:
                record = protocol.close(spec.error, allow_reconnect=spec.allow_reconnect)
                self.enqueue(Closing("close", record))
            case Fault.WEBSOCKET_CLOSE:
                self.enqueue(Closing("websocket_close", None, spec.code))
            case Fault.RST | Fault.FIN:
                self.cut(reset=spec.fault is Fault.RST, cause=spec.fault)
            case Fault.SILENCE:
                self._silent_until = inf if spec.seconds is None else _now() + spec.seconds
            case _:  # WEBSOCKET_PING
                with suppress(ConnectionError):  # it is ending
                    await self.response.ping(spec.payload)

    # --- receiving ---------------------------------------------------------------------------------------

    async def _handshake_record(self) -> bytes | None:
        while protocol.RECORD_END not in self._received:
            data = await self._receive()
            if data is None:
                return None
            self._received += data
        record, _, self._received = self._received.partition(protocol.RECORD_END)
        return record

    async def _receive(self) -> bytes | None:
        """The bytes of the next message, text or binary alike; None at the end."""
        while True:
            message = await self.response.receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    data: bytes = message.data
                    return data
                case WSMsgType.PING if not self._silenced():
                    await self.response.pong(message.data)
                case WSMsgType.PING | WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE if not self._silenced():
                    await self.response.close()
                    return None
                case WSMsgType.CLOSE:
                    await self._ended.wait()  # as if it had not come, until TCP is gone and cancels us
                case _:
                    return None

    async def _read_until_end(self) -> None:
        while await self._receive() is not None:
            pass

    async def _read(self) -> None:
        """Receive until the client has gone; an end that the hub decides on goes through the queue."""
        try:
            while self._handle_received():
                silence_allowed = self._config.client_timeout_s if self._client_pinged else None
                async with asyncio.timeout(silence_allowed):
                    data = await self._receive()
                if data is None:
                    return
                self._received += data
        except (TimeoutError, protocol.ProtocolViolation) as error:
            cause = "timeout" if isinstance(error, TimeoutError) else "violation"
            self.enqueue(Closing(cause, protocol.close(protocol.CLOSED_WITH_ERROR, allow_reconnect=True)))
        await self._read_until_end()

    def _handle_received(self) -> bool:
        """False once the client has sent a Close record."""
        *records, self._received = self._received.split(protocol.RECORD_END)
        for record in [*records, self._received]:
            if len(record) > _MOST_RECORD_BYTES:
                raise protocol.ProtocolViolation("a record above the size limit")
        for record in records:
            match protocol.parse_client_record(record):
                case protocol.Invocation() as call:
                    self._on_invocation(self, call)
                case protocol.PING_TYPE:
                    self._client_pinged = True
                case protocol.CLOSE_TYPE:
                    self.enqueue(Closing("client", protocol.close()))
                    return False
                case _:
                    pass
        return True

    # --- sending -----------------------------------------------------------------------------------------

    async def _send_queued(self) -> None:
        while True:
            batch = await self._next_batch()
            try:
                if not await self._send_batch(batch):
                    return
            finally:
                for _ in batch:
                    self._queue.task_done()

    async def _next_batch(self) -> list[Outgoing]:
        """All that waits; after a silence a ping, which is not queued."""
        try:
            async with asyncio.timeout(self._config.ping_interval_s):
                batch = [await self._queue.get()]
        except TimeoutError:
            await self._send(protocol.PING)
            return []
        while len(batch) < _BATCH and not self._queue.empty():
            batch.append(self._queue.get_nowait())
        return batch

    async def _send_batch(self, batch: list[Outgoing]) -> bool:
        """False once the connection has been closed."""
        entries: list[ChannelRecord] = []
        ready = [self._outbound.prepare(item, entries) if isinstance(item, Frame) else item for item in batch]
        self._journal.records(self.name, entries)
        handed: list[int] = []
        try:
            for item in ready:
                match item:
                    case Closing() if not self._silenced():
                        await self._leave(item)
                        return False
                    case Ready() if item.message and await self._send(item.message, binary=item.binary):
                        handed += item.numbers
        finally:
            self._journal.handed(self.name, handed)
        return True

    def _send_later(self, seconds: float, give: Callable[[], Ready]) -> None:
        asyncio.get_running_loop().call_later(seconds, lambda: self._queue.put_nowait(give()))

    def _silenced(self) -> bool:
        """Nothing is sent, pings included; what would have been sent is lost."""
        return _now() < self._silent_until

    async def _leave(self, closing: Closing) -> None:
        self._cause = self._cause or closing.cause
        self._leaving = True
        if closing.record is not None:
            await self._send(closing.record)
        await self.response.close(code=closing.code)

    async def _send(self, message: bytes, *, binary: bool = False) -> bool:
        """Give one message to the socket; False while silenced. A client that does not drain is cut."""
        if self._silenced():
            return False
        if self._transport is None or self._transport.is_closing():
            raise ClientConnectionResetError("the connection is closing")
        try:
            async with asyncio.timeout(_SEND_TIMEOUT_S):
                await self.response.send_frame(message, WSMsgType.BINARY if binary else WSMsgType.TEXT)
        except TimeoutError:
            self.cut(reset=True, cause="send_timeout")
            raise ClientConnectionResetError("the client does not drain its socket") from None
        return True


def _now() -> float:
    return asyncio.get_running_loop().time()
