"""One WebSocket connection: handshake, the records it hears, the records it says, and how it ends.

Whatever is said goes through one outbox and one sender, so order and the journal's numbers have one owner.
The sender takes all that waits, lets faults bite, writes the journal, and only then touches the socket.
"""

import asyncio
import socket
import struct
from collections.abc import Callable

from aiohttp import ClientConnectionResetError, WSMsgType, web

from ingestor.simulator import protocol
from ingestor.simulator.config import HubConfig
from ingestor.simulator.faults import Fault, FaultDesk, Stage
from ingestor.simulator.journal import Entry, JournalWriter
from ingestor.simulator.outbound import Control, Frame, Goodbye, Outbound, Outgoing, Ready

_BATCH = 256
_REORDER_HOLD_S = 0.3
_CLOSE_ANSWER_TIMEOUT_S = 1.0


class Connection:
    """A client that has got through the door. Lives in the hub's event loop."""

    def __init__(
        self,
        name: str,
        config: HubConfig,
        desk: FaultDesk,
        journal: JournalWriter,
        on_invocation: Callable[["Connection", protocol.Invocation], None],
    ) -> None:
        self.name = name
        """Unique over the hub's life; the journal's `connection`."""
        self._config = config
        self._desk = desk
        self._journal = journal
        self._on_invocation = on_invocation
        self._socket = web.WebSocketResponse(
            autoclose=False,  # a silent hub answers neither close frames
            autoping=False,  # nor pings
            compress=False,  # off by default at ASP.NET Core
            decode_text=False,
            max_msg_size=0,
            timeout=_CLOSE_ANSWER_TIMEOUT_S,
        )
        self._transport: asyncio.Transport | None = None
        self._outbox: asyncio.Queue[Outgoing] = asyncio.Queue()
        self._outbound = Outbound(desk, self._muted, self._say_later)
        self._silent_until: float | None = None
        self._client_pinged = False
        self._cause: str | None = None
        self._leaving = False
        self._ended = asyncio.Event()
        self._received = b""

    @property
    def cause(self) -> str:
        """Why it ended; `client` unless the hub did it."""
        return self._cause or "client"

    @property
    def response(self) -> web.StreamResponse:
        """What the HTTP handler returns in the end."""
        return self._socket

    async def open(self, request: web.Request) -> bool:
        """Upgrade and handshake. False: refused or given up, and closed."""
        await self._socket.prepare(request)
        transport = request.transport
        if not isinstance(transport, asyncio.Transport):
            return False
        self._transport = transport
        try:
            async with asyncio.timeout(self._config.handshake_timeout_s):
                record = await self._handshake_record()
        except TimeoutError:
            await self._refuse(protocol.HANDSHAKE_TIMED_OUT)
            return False
        if record is None:
            return False
        trouble = self._desk.take(Stage.HANDSHAKE)
        if trouble is not None and trouble.fault is Fault.HANDSHAKE_HANG:
            await self._read_until_end()
            return False
        refusal = protocol.handshake_refusal(record)
        if trouble is not None:
            refusal = trouble.error or "The hub is not taking connections."
        if refusal is not None:
            await self._refuse(refusal)
            return False
        await self._send(protocol.HANDSHAKE_OK)
        return True

    async def run(self) -> None:
        """Talk until one side ends it."""
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._say())]
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

    def say(self, item: Frame | Control | Goodbye) -> None:
        """Queue it behind all that was said before."""
        self._outbox.put_nowait(item)

    async def drained(self) -> None:
        """All that was said so far is handed over, or the connection is gone."""
        waits = [asyncio.create_task(self._outbox.join()), asyncio.create_task(self._ended.wait())]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def cut(self, *, reset: bool, cause: str) -> None:
        """End it now and without a word: RST, or FIN after what the kernel already has."""
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

    def fall_silent(self, seconds: float | None) -> None:
        """Say nothing more, pings included; what would have been said is lost."""
        now = asyncio.get_running_loop().time()
        self._silent_until = float("inf") if seconds is None else now + seconds

    async def websocket_ping(self, payload: bytes) -> None:
        await self._socket.ping(payload)

    # --- hearing -----------------------------------------------------------------------------------------

    async def _handshake_record(self) -> bytes | None:
        while True:
            records, rest = protocol.split_records(self._received)
            if records:
                self._received = protocol.RECORD_END.join([*records[1:], rest])
                return records[0]
            data = await self._receive()
            if data is None:
                return None
            self._received += data

    async def _receive(self) -> bytes | None:
        """The bytes of the next message, text or binary alike; None at the end."""
        while True:
            message = await self._socket.receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    data: bytes = message.data
                    return data
                case WSMsgType.PING if self._muted() is None:
                    await self._socket.pong(message.data)
                case WSMsgType.PING | WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE if self._muted() is None:
                    await self._socket.close()
                    return None
                case WSMsgType.CLOSE:
                    await self._ended.wait()  # as if it had not been heard, until TCP is gone and cancels us
                case _:
                    return None

    async def _read_until_end(self) -> None:
        while await self._receive() is not None:
            pass

    async def _read(self) -> None:
        """Hear the client out; returns when it has gone. An end of our choice goes through the outbox."""
        try:
            while self._hear_records():
                silence_allowed = self._config.client_timeout_s if self._client_pinged else None
                async with asyncio.timeout(silence_allowed):
                    data = await self._receive()
                if data is None:
                    return
                self._received += data
        except TimeoutError:
            self._part("timeout")
        except protocol.ProtocolViolation:
            self._part("violation")
        await self._read_until_end()

    def _hear_records(self) -> bool:
        """False once the client has said goodbye."""
        records, self._received = protocol.split_records(self._received)
        for record in [*records, self._received]:
            if len(record) > self._config.max_client_record_bytes:
                raise protocol.ProtocolViolation("a record above the size limit")
        for record in records:
            match protocol.parse_client_record(record):
                case protocol.Invocation() as call:
                    self._on_invocation(self, call)
                case protocol.Signal.PING:
                    self._client_pinged = True
                case protocol.Signal.CLOSE:
                    self.say(Goodbye("client", protocol.close()))
                    return False
                case protocol.Signal.IGNORED:
                    pass
        return True

    def _part(self, cause: str) -> None:
        self.say(Goodbye(cause, protocol.close(protocol.CLOSED_WITH_ERROR, allow_reconnect=True)))

    # --- saying ------------------------------------------------------------------------------------------

    async def _say(self) -> None:
        while True:
            batch = await self._next_batch()
            try:
                if not await self._say_batch(batch):
                    return
            finally:
                for _ in batch:
                    self._outbox.task_done()

    async def _next_batch(self) -> list[Outgoing]:
        """All that waits; pings and records held back too long come from here as well."""
        holding = self._outbound.holds_back
        try:
            async with asyncio.timeout(_REORDER_HOLD_S if holding else self._config.ping_interval_s):
                batch = [await self._outbox.get()]
        except TimeoutError:
            for item in self._outbound.release():
                self._outbox.put_nowait(item)
            if not holding:
                await self._send(protocol.PING)
            return []
        while len(batch) < _BATCH and not self._outbox.empty():
            batch.append(self._outbox.get_nowait())
        return batch

    async def _say_batch(self, batch: list[Outgoing]) -> bool:
        """False once a goodbye has been said."""
        entries: list[Entry] = []
        ready = [self._outbound.prepare(item, entries) if isinstance(item, Frame) else item for item in batch]
        if entries:
            self._journal.meant(self.name, entries)
        handed: list[int] = []
        try:
            for item in ready:
                match item:
                    case Goodbye() if self._muted() is None:
                        await self._leave(item)
                        return False
                    case Goodbye():
                        pass
                    case Control():
                        await self._send(item.message)
                    case Ready():
                        if item.message and await self._send(item.message, binary=item.binary):
                            handed += item.numbers
        finally:
            self._journal.handed(self.name, handed)
        return True

    def _say_later(self, seconds: float, item: Ready) -> None:
        asyncio.get_running_loop().call_later(seconds, self._outbox.put_nowait, item)

    def _muted(self) -> str | None:
        if self._silent_until is None:
            return None
        if asyncio.get_running_loop().time() < self._silent_until:
            return Fault.SILENCE
        self._silent_until = None
        return None

    async def _leave(self, goodbye: Goodbye) -> None:
        self._cause = self._cause or goodbye.cause
        self._leaving = True
        if goodbye.record is not None:
            await self._send(goodbye.record)
        await self._socket.close(code=goodbye.code)

    async def _refuse(self, text: str) -> None:
        await self._send(protocol.handshake_error(text))
        await self._socket.close(code=1000)

    async def _send(self, message: bytes, *, binary: bool = False) -> bool:
        """Hand one message to the socket; False if it was kept back. A client that does not drain is cut."""
        if self._muted() is not None:
            return False
        if self._transport is None or self._transport.is_closing():
            raise ClientConnectionResetError("the connection is closing")
        fragment = self._config.fragment_bytes
        try:
            async with asyncio.timeout(self._config.send_timeout_s):
                if fragment and len(message) > fragment and not binary:
                    self._transport.write(protocol.websocket_frames(message, fragment_bytes=fragment))
                else:
                    opcode = WSMsgType.BINARY if binary else WSMsgType.TEXT
                    await self._socket.send_frame(message, opcode)
        except TimeoutError:
            self.cut(reset=True, cause="send_timeout")
            raise ClientConnectionResetError("the client does not drain its socket") from None
        return True
