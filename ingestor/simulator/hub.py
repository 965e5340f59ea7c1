"""The simulated hub as an object for tests, demonstrations and the command line.

The server runs in an event loop in a thread of its own; everything public here may be called from any thread
and returns when it has happened.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Self, TypeVar

from ingestor.simulator import protocol
from ingestor.simulator.account import Account, Snapshot
from ingestor.simulator.commands import Methods
from ingestor.simulator.config import PATH, HubConfig
from ingestor.simulator.faults import STAGE_OF, Fault, FaultQueue, FaultSpec, OnFault, Stage, misbehaviour
from ingestor.simulator.journal import ChannelRecord, JournalWriter, changed
from ingestor.simulator.outbound import Frame
from ingestor.simulator.server import HOST, Server

_T = TypeVar("_T")
_CALL_TIMEOUT_S: Final = 30.0
_BURST_CHUNK: Final = 500


class SimulatedHub:
    """`with SimulatedHub(HubConfig()) as hub: … hub.url …`

    An internal error of the hub is raised by `stop()`.

    Args:
        on_fault: called in the hub's thread, before the fault has its effect.
    """

    def __init__(self, config: HubConfig | None = None, on_fault: OnFault = lambda *_: None) -> None:
        self.config = config or HubConfig()
        self._pending: deque[Snapshot] = deque()
        self.account = Account(self.config, self._changed)
        """`change()`, `change_pairs()`, `sequence` …: changes are pushed if the configuration enables it."""
        self._journal = JournalWriter(self.config.journal_path, fsync=self.config.journal_fsync)
        self._changes = threading.Condition()
        self._on_fault = on_fault
        self._faults = FaultQueue(self.config.api_key, self._fault_occurred)
        self._methods = Methods(self.account, self.config)
        self._server = Server(self.config, self._methods, self._faults, self._journal, self._notify)
        self.requests = self._server.requests
        """HTTP requests since the start: `negotiate` and `upgrade`."""
        self.targets_seen = self._server.targets_seen
        """Hub methods called by anybody since the start, as they were written."""
        self.fault_counts = self._faults.counts
        """How often each fault occurred."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulated-hub", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()
        self._misbehaves = self.config.misbehave

    # --- start and stop ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        """Listen. Raises OSError if the port is taken."""
        self._thread.start()
        try:
            self._call(self._open())
        except OSError:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End all connections and the thread. Does nothing the second time."""
        if self._loop.is_closed():
            return
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_TIMEOUT_S)
        self._loop.close()
        if self._server.errors:
            raise RuntimeError("an internal error of the simulated hub") from self._server.errors[0]

    # --- its state ---------------------------------------------------------------------------------------

    @property
    def port(self) -> int:
        return self._server.port

    @property
    def url(self) -> str:
        """`http://127.0.0.1:<port>/ExecutionLiveServer/v1`"""
        return f"http://{HOST}:{self.port}{PATH}"

    @property
    def api_key(self) -> str:
        """The bearer key that is accepted now."""
        return self._faults.api_key

    @property
    def listening(self) -> bool:
        """False while it is away."""
        return self._server.listening

    @property
    def connections(self) -> int:
        """Open connections whose handshake was answered."""
        return len(self._server.connections)

    @property
    def connections_seen(self) -> int:
        """The same, ended ones included."""
        return self._server.connections_seen

    def wait_until(self, condition: Callable[["SimulatedHub"], bool], timeout_s: float = 10.0) -> bool:
        """Wait until `condition(hub)`, evaluated at each request, connection and command. False: too late."""
        with self._changes:
            return self._changes.wait_for(lambda: condition(self), timeout_s)

    # --- what tests can do with it -----------------------------------------------------------------------

    def inject(self, fault: Fault, **parameters: Any) -> None:
        """Let `fault` occur: at once, or the next `count` times that its stage is reached.

        `parameters` are the fields of `FaultSpec`; raises TypeError for an unknown one.
        """
        self._call(self._inject(FaultSpec(fault, **parameters)))

    def clear_faults(self) -> None:
        """Forget all that was injected and has not occurred, and misbehave no more."""
        self._misbehaves = False
        self._faults.clear()

    def burst(self, count: int, records_per_frame: int = 1, timeout_s: float = 120.0) -> None:
        """`count` account changes as fast as possible, pushed to all; returns when the sockets have them."""
        self._call(self._burst(count, records_per_frame), timeout_s)

    def send_raw(self, data: bytes, *, binary: bool = False) -> int:
        """Send `data` exactly so, as one text or binary frame, to all connections; returns their number."""
        return self._call(self._send_raw(data, binary=binary))

    def settle(self, timeout_s: float = 30.0) -> None:
        """Return when all that was to be sent so far has been handed to the sockets."""
        self._call(self._settle(), timeout_s)

    def change_key(self, api_key: str) -> None:
        """Only `api_key` is accepted from now on; open connections stay."""
        self._faults.api_key = api_key

    def go_away(self) -> None:
        """As when the server's process is killed: connections end, and new ones are refused."""
        self._call(self._server.go_away())

    def come_back(self) -> None:
        """Listen again, on the same port. Raises OSError if it is taken meanwhile."""
        self._call(self._server.listen())

    # --- in the loop -------------------------------------------------------------------------------------

    def _call(self, work: Coroutine[Any, Any, _T], timeout_s: float = _CALL_TIMEOUT_S) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout_s)

    async def _open(self) -> None:
        await self._server.listen()
        switches = changed(self.config, HubConfig(), "api_key", "journal_path")
        self._journal.write("started", seed=self.config.seed, url=self.url, switches=switches)
        rate, pair_interval_s = self.config.changes_per_second, self.config.pair_change_interval_s
        if rate > 0:
            self._background(self._keep_changing(1 / rate, self.account.change))
        if pair_interval_s > 0:
            self._background(self._keep_changing(pair_interval_s, self.account.change_pairs))
        for seconds, fault, parameters in self.config.schedule:
            self._background(self._later(seconds, self._inject, FaultSpec(fault, **parameters)))
        if self._misbehaves:
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
        """Keep to the rate on average, also when single steps come late."""
        loop = asyncio.get_running_loop()
        due = loop.time() + interval_s
        while True:
            await asyncio.sleep(max(0.0, due - loop.time()))
            while due <= loop.time():
                change()
                due += interval_s

    async def _later(self, seconds: float, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        await asyncio.sleep(seconds)
        await work(*arguments)

    async def _misbehave(self) -> None:
        await self._server.first_connection.wait()
        for pause, spec in misbehaviour(self.config.seed):
            await asyncio.sleep(pause)
            if not self._misbehaves:
                return
            await self._inject(spec)

    async def _inject(self, spec: FaultSpec) -> None:
        if STAGE_OF[spec.fault] is not Stage.NOW:
            self._faults.add(spec)
            return
        spec = self._faults.occurred(spec)
        match spec.fault:
            case Fault.RESTART:
                await self._server.go_away(spec.fault)
                pause = 0.5 if spec.seconds is None else spec.seconds
                self._background(self._later(pause, self._server.listen))
            case Fault.SEQUENCE_RESET:
                self.account.reset_sequence(spec.sequence)
            case Fault.MASS_DELETE:
                empty = self.account.empty_pairs if spec.kind == "pairs" else self.account.empty_balances
                empty(spec.count or 1)
            case _:
                for connection in list(self._server.connections):
                    await connection.suffer(spec)

    def _fault_occurred(self, spec: FaultSpec, record: ChannelRecord | None) -> None:
        if record is None:  # records have lines of their own
            self._journal.write("fault", fault=spec.fault, parameters=changed(spec, FaultSpec(spec.fault)))
        self._on_fault(spec, record)

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
        records = tuple(ChannelRecord(piece) for piece in data.split(protocol.RECORD_END) if piece)
        self._server.send_to_all(Frame(records, binary, data))
        return len(self._server.connections)

    def _changed(self, snapshot: Snapshot) -> None:
        """The account's listener: any thread, under the account's lock, so `_pending` is in order."""
        self._pending.append(snapshot)
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._flush)

    def _flush(self, *, push: bool | None = None, records_per_frame: int = 1) -> None:
        """Send all pending snapshots to all connections, in order."""
        push = self.config.push_balances if push is None else push
        frame: list[ChannelRecord] = []
        while self._pending:
            snapshot = self._pending.popleft()
            if not push or not self._server.connections:
                continue
            frame.append(self._methods.balances(snapshot))
            if len(frame) == records_per_frame or not self._pending:
                self._server.send_to_all(Frame(tuple(frame)))
                frame.clear()

    def _notify(self) -> None:
        with self._changes:
            self._changes.notify_all()
