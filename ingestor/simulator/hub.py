"""The simulated hub as an object for tests, demonstrations and the command line.

The server runs in an event loop in a thread of its own; everything public here may be called from any thread
and returns when it has happened.
"""

import asyncio
import threading
from collections import Counter, deque
from collections.abc import Callable, Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from ingestor.simulator import protocol
from ingestor.simulator.account import Account, Snapshot
from ingestor.simulator.commands import ChannelRecord, balances_event
from ingestor.simulator.config import PATH, HubConfig
from ingestor.simulator.faults import STAGE_OF, Fault, FaultDesk, Stage, Trouble, describe, misbehaviour
from ingestor.simulator.journal import JournalWriter
from ingestor.simulator.outbound import Frame, Goodbye
from ingestor.simulator.server import HOST, Server

_T = TypeVar("_T")
_CALL_TIMEOUT_S: Final = 30.0
_BURST_CHUNK: Final = 500


class SimulatedHub:
    """`with SimulatedHub(HubConfig()) as hub: … hub.url …`

    An error inside the hub, which would be a mistake of this program, is raised by `stop()`.
    """

    def __init__(self, config: HubConfig | None = None) -> None:
        self.config = config or HubConfig()
        self._pending: deque[Snapshot] = deque()
        self.account = Account(self.config, self._changed)
        """`change()`, `change_pairs()`, `sequence` …: changes are pushed if the configuration says so."""
        self._desk = FaultDesk(self.config.rates, self.config.seed)
        self._journal = JournalWriter(
            self.config.journal_path, fsync=self.config.journal_fsync, bodies=self.config.journal_bodies
        )
        self._news = threading.Condition()
        self._server = Server(self.config, self.account, self._desk, self._journal, self._tell_news)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # --- life --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Listen. Raises OSError if the port is taken."""
        if self._thread is not None:
            raise RuntimeError("this hub has been started before; make a new one")
        self._journal.open()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated-hub", daemon=True)
        self._thread.start()
        try:
            self._call(self._open())
        except OSError:
            self._end_thread()
            self._journal.close()
            raise

    def stop(self) -> None:
        """Drop everybody and end the thread. Does nothing the second time."""
        if self._loop is None or self._loop.is_closed():
            return
        self._call(self._close())
        self._end_thread()
        if self._server.errors:
            raise RuntimeError("the simulated hub made a mistake") from self._server.errors[0]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # --- what it is --------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>/ExecutionLiveServer/v1`"""
        return f"http://{HOST}:{self.port}{PATH}"

    @property
    def api_key(self) -> str:
        """The bearer key that opens the hub now."""
        return self._server.api_key

    @property
    def listening(self) -> bool:
        """False while it is away."""
        return self._server.listening

    @property
    def connections(self) -> int:
        """Connections whose handshake was answered and that are still open."""
        return len(self._server.connections)

    @property
    def connections_seen(self) -> int:
        """The same, ended ones included."""
        return self._server.connections_seen

    @property
    def targets_seen(self) -> Counter[str]:
        """Hub methods called by anybody since the start, as they were written."""
        return Counter(self._server.targets_seen)

    @property
    def requests(self) -> Counter[str]:
        """HTTP requests since the start: `negotiate` and `upgrade`."""
        return Counter(self._server.requests)

    @property
    def bites(self) -> Counter[Fault]:
        """How often each fault really happened."""
        return Counter(self._desk.bites)

    def wait_until(self, holds: Callable[["SimulatedHub"], bool], timeout_s: float = 10.0) -> bool:
        """Wait until `holds(hub)`, looked at at every request, connection and command. False: late."""
        with self._news:
            return self._news.wait_for(lambda: holds(self), timeout_s)

    def wait_for_connections(self, count: int = 1, timeout_s: float = 10.0) -> None:
        """Wait until at least `count` connections are open. Raises TimeoutError."""
        if not self.wait_until(lambda hub: hub.connections >= count, timeout_s):
            raise TimeoutError(f"{self.connections} of {count} connections after {timeout_s} s")

    # --- what can be done to it --------------------------------------------------------------------------

    def inject(self, fault: Fault, **particulars: Any) -> None:
        """Let `fault` happen: at once, or the next `count` times that its moment comes.

        `particulars` are the fields of `Trouble`; raises TypeError for an unknown one.
        """
        self._call(self._inject(Trouble(fault, **particulars)))

    def set_rate(self, fault: Fault, rate: float) -> None:
        """`fault` bites with this chance, 0 to 1, at each of its moments. Raises ValueError."""
        self._desk.set_rate(fault, rate)

    def clear_faults(self) -> None:
        """Forget all that was injected and has not happened, and all rates."""
        self._desk.clear()

    def burst(self, count: int, records_per_frame: int = 1, timeout_s: float = 120.0) -> None:
        """`count` account changes as fast as possible, pushed to all; returns when the sockets have them."""
        self._call(self._burst(count, records_per_frame), timeout_s)

    def send_raw(self, data: bytes, *, binary: bool = False) -> int:
        """Send `data` exactly so, as one text or binary frame, to all connections; returns their number."""
        return self._call(self._send_raw(data, binary=binary))

    def settle(self, timeout_s: float = 30.0) -> None:
        """Return when all that was to be said so far has been handed to the sockets."""
        self._call(self._settle(), timeout_s)

    def change_key(self, api_key: str) -> None:
        """Only `api_key` opens the hub from now on; those who are in stay in."""
        self._server.api_key = api_key

    def go_away(self) -> None:
        """As when the server's process is terminated: everybody is dropped, new connections are refused."""
        self._call(self._server.go_away())

    def come_back(self) -> None:
        """Listen again, on the same port. Raises OSError if somebody else has taken it meanwhile."""
        self._call(self._server.listen())

    def restart(self, after: float = 0.5) -> None:
        """Go away, and come back by itself `after` seconds later; returns when it has gone."""
        self.inject(Fault.RESTART, seconds=after)

    # --- in the loop -------------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, _T], timeout_s: float = _CALL_TIMEOUT_S) -> _T:
        if self._loop is None or self._loop.is_closed():
            work.close()
            raise RuntimeError("the hub is not running")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    async def _open(self) -> None:
        await self._server.listen()
        self._journal.started(self.config.seed, self.url)
        if self.config.changes_per_second > 0:
            self._background(self._keep_changing(1 / self.config.changes_per_second, self._change))
        if self.config.pair_change_interval_s > 0:
            self._background(
                self._keep_changing(self.config.pair_change_interval_s, self.account.change_pairs)
            )
        for seconds, fault, particulars in self.config.schedule:
            self._background(self._later(seconds, Trouble(fault, **particulars)))
        if self.config.misbehave:
            self._background(self._misbehave())

    async def _close(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.go_away("stopped")
        self._journal.close()

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._background_ended)

    def _background_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._server.errors.append(error)

    async def _keep_changing(self, interval_s: float, change: Callable[[], object]) -> None:
        """Keeps to its rate on average, also when single steps come late."""
        loop = asyncio.get_running_loop()
        due = loop.time() + interval_s
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            while due <= loop.time():
                change()
                due += interval_s

    def _change(self) -> None:
        self.account.change()

    async def _later(self, seconds: float, trouble: Trouble) -> None:
        await asyncio.sleep(seconds)
        await self._inject(trouble)

    async def _misbehave(self) -> None:
        await self._server.first_connection.wait()
        for pause, trouble in misbehaviour(self.config.seed):
            await asyncio.sleep(pause)
            await self._inject(trouble)

    async def _inject(self, trouble: Trouble) -> None:
        if STAGE_OF[trouble.fault] is not Stage.NOW:
            self._desk.add(trouble)
            return
        self._desk.bit(trouble.fault)
        self._journal.fault(trouble.fault, describe(trouble))
        await self._do(trouble)

    async def _do(self, trouble: Trouble) -> None:
        server = self._server
        match trouble.fault:
            case Fault.CLOSE:
                record = protocol.close(trouble.error, allow_reconnect=trouble.allow_reconnect)
                server.say_to_all(Goodbye("close", record))
            case Fault.WEBSOCKET_CLOSE:
                server.say_to_all(Goodbye("websocket_close", None, trouble.code))
            case Fault.RST | Fault.FIN:
                for connection in list(server.connections):
                    connection.cut(reset=trouble.fault is Fault.RST, cause=trouble.fault)
            case Fault.SILENCE:
                for connection in server.connections:
                    connection.fall_silent(trouble.seconds)
            case Fault.WEBSOCKET_PING:
                await self._ping_all(trouble.payload)
            case Fault.RESTART:
                await server.go_away(trouble.fault)
                self._background(self._come_back_later(0.5 if trouble.seconds is None else trouble.seconds))
            case Fault.SEQUENCE_RESET:
                self.account.reset_sequence()
            case Fault.MASS_DELETE:
                empty = self.account.empty_pairs if trouble.kind == "pairs" else self.account.empty_balances
                empty(trouble.count or 1)
            case _:
                raise ValueError(f"{trouble.fault} has its own moment")

    async def _ping_all(self, payload: bytes) -> None:
        for connection in list(self._server.connections):
            with suppress(ConnectionError):  # it is just going; there is nobody to ping
                await connection.websocket_ping(payload)

    async def _come_back_later(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._server.listen()

    async def _settle(self) -> None:
        self._flush()
        await asyncio.gather(*(connection.drained() for connection in self._server.connections))

    async def _burst(self, count: int, records_per_frame: int) -> None:
        for done in range(0, count, _BURST_CHUNK):
            self._flush()
            for _ in range(min(_BURST_CHUNK, count - done)):
                self.account.change()
            self._flush(push=True, records_per_frame=records_per_frame)
            await self._settle()

    async def _send_raw(self, data: bytes, *, binary: bool) -> int:
        records = tuple(
            ChannelRecord(piece, fault="raw") for piece in data.split(protocol.RECORD_END) if piece
        )
        self._server.say_to_all(Frame(records, binary, data))
        return len(self._server.connections)

    def _changed(self, snapshot: Snapshot) -> None:
        """The account's listener: any thread, under the account's lock, so `_pending` is in order."""
        self._pending.append(snapshot)
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._flush)

    def _flush(self, *, push: bool | None = None, records_per_frame: int = 1) -> None:
        """Say all pending snapshots to all connections, in order."""
        push = self.config.push_balances if push is None else push
        frame: list[ChannelRecord] = []
        while self._pending:
            snapshot = self._pending.popleft()
            if not push or not self._server.connections:
                continue
            frame.append(balances_event(snapshot, self.account, self.config.push_client_id, self.config))
            if len(frame) == records_per_frame or not self._pending:
                self._server.say_to_all(Frame(tuple(frame)))
                frame.clear()

    def _tell_news(self) -> None:
        with self._news:
            self._news.notify_all()

    def _end_thread(self) -> None:
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_TIMEOUT_S)
        self._loop.close()


def serve(
    config: HubConfig,
    stop_event: threading.Event,
    on_ready: Callable[[SimulatedHub], None] | None = None,
) -> None:
    """Run a hub until `stop_event` is set. `on_ready` hears of it once it listens (for its URL and seed).

    Raises OSError if the port is taken.
    """
    with SimulatedHub(config) as hub:
        if on_ready is not None:
            on_ready(hub)
        stop_event.wait()
