"""The hub of the benchmark: a process of its own that offers pre-encoded frames and notes when it sent them.

It says no more of SignalR than a client needs: negotiate, upgrade, handshake, answers to GetBalances and
GetPairs, pings. What it streams is encoded before the first byte leaves.
"""

import contextlib
import json
import socket
import threading
import time
from dataclasses import dataclass, field, replace

from tests.benchmarks import wire
from tests.benchmarks.load import OPENING_SEQUENCE, RECORD_END, Account, Load, Tally, addressed, pair_list
from tests.benchmarks.peers import Peer, Pipe

CHUNK_BYTES = 256 * 1024
PING_SECONDS = 10.0
PATH = "/benchmark/v1"


@dataclass(frozen=True, slots=True)
class Reset:
    """Forget what was sent; a new account."""

    seed: int
    assets: int
    pairs_known: bool = False
    """The receiver's database has our pair list already."""


@dataclass(frozen=True, slots=True)
class AwaitLink:
    """Wait for a client: handshake done and, if `requests`, both of its first requests answered."""

    requests: bool
    timeout: float = 20.0


@dataclass(frozen=True, slots=True)
class Prepare:
    """Encode a load; the answer is `Prepared`."""

    load: Load


@dataclass(frozen=True, slots=True)
class Prepared:
    bytes: int
    after: int
    """The sequence before the first of it."""


@dataclass(frozen=True, slots=True)
class Stream:
    """Send what was prepared: flat out, or `per_second` events in bursts of `burst`."""

    per_second: float | None = None
    burst: int = 1


@dataclass(frozen=True, slots=True)
class Tell:
    """What was sent since `Reset`."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Monotonic nanoseconds. `stamps` has one for each event when paced; flat out only the first."""

    first: int
    last: int
    stamps: list[int]


@dataclass(slots=True)
class _Prepared:
    sendings: list[bytes]
    """Whole frames; chunks of many for a flat-out stream."""
    sizes: list[int]
    """Events in each."""
    newest: list[bytes]
    """The last record of each."""


@dataclass(slots=True)
class _Link:
    """The one client there is."""

    sock: socket.socket
    commands: set[str] = field(default_factory=set)


class Hub:
    """Listens at once; `link` is the newest client."""

    def __init__(self, seed: int = 0, assets: int = 3) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._speaking = threading.Lock()
        self._changed = threading.Condition(self._speaking)
        self._link: _Link | None = None
        self._prepared = _Prepared([], [], [])
        self.reset(Reset(seed, assets))
        for task in (self._accept, self._ping):
            threading.Thread(target=task, daemon=True).start()

    def reset(self, request: Reset) -> None:
        with self._speaking:
            self._account = Account(request.seed, request.assets)
            self._newest = self._account.snapshot()
            self._opening = self._account.amounts
            self._tally = Tally(self._account.user)
            self._planned = Tally()
            self._state_told = False
            self._pairs_told = request.pairs_known

    def await_link(self, request: AwaitLink) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._linked(request.requests), request.timeout)

    def _linked(self, requests: bool) -> bool:
        return self._link is not None and (not requests or {"getbalances", "getpairs"} <= self._link.commands)

    def prepare(self, load: Load) -> Prepared:
        """Encode; a chunk ends with a frame, so that answers can be put in between."""
        planned = Tally()
        after = self._account.sequence
        records: list[bytes] = []
        frames: list[tuple[bytes, int, bytes]] = []
        for raw in self._account.records(load, planned):
            records.append(raw)
            if len(records) == load.records_per_frame:
                frames.append(_frame(records))
                records = []
        if records:
            frames.append(_frame(records))
        self._planned = planned
        self._prepared = _Prepared(*map(list, zip(*frames, strict=True)))
        return Prepared(sum(map(len, self._prepared.sendings)), after)

    def stream(self, request: Stream) -> Sent:
        prepared = _joined(self._prepared, request)
        link = self._link
        if link is None:
            raise RuntimeError("there is no client to stream to")
        pause = 0.0 if request.per_second is None else request.burst / request.per_second
        stamps: list[int] = []
        start = time.monotonic()
        for number, sending in enumerate(prepared.sendings):
            if pause:
                time.sleep(max(0.0, start + number * pause - time.monotonic()))
            with self._speaking:
                stamp = time.monotonic_ns()
                link.sock.sendall(sending)
                self._newest = prepared.newest[number]
            stamps.extend([stamp] * (prepared.sizes[number] if pause else 1))
        sent = Sent(stamps[0], time.monotonic_ns(), stamps if pause else stamps[:1])
        with self._speaking:
            _merge(self._tally, self._planned)
        self._prepared = _Prepared([], [], [])
        return sent

    def tally(self) -> Tally:
        with self._speaking:
            return replace(self._tally, assets=dict(self._tally.assets))

    # --- the client's side -------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        stream = wire.Stream(sock)
        with contextlib.suppress(EOFError, OSError), sock:
            request = wire.read_request(stream)
            if "upgrade" not in request.headers.get("connection", "").lower():
                sock.sendall(wire.json_response(_NEGOTIATED))
                return
            sock.sendall(wire.upgrade_response(request))
            self._handshake(stream, sock)
            link = _Link(sock)
            with self._changed:
                self._link = link
                self._changed.notify_all()
            self._listen(stream, link)

    def _handshake(self, stream: wire.Stream, sock: socket.socket) -> None:
        _, payload = wire.read_frame(stream)
        assert payload.endswith(RECORD_END), payload
        sock.sendall(wire.frame(b"{}" + RECORD_END))

    def _listen(self, stream: wire.Stream, link: _Link) -> None:
        try:
            while True:
                opcode, payload = wire.read_frame(stream)
                if opcode == wire.CLOSE:
                    return
                for record in filter(None, payload.split(RECORD_END)):
                    message = json.loads(record)
                    if message["type"] == 1:
                        self._answer(link, message)
        finally:
            with self._changed:
                if self._link is link:
                    self._link = None
                self._changed.notify_all()

    def _answer(self, link: _Link, message: dict[str, object]) -> None:
        """The event first, its completion after it, as ASP.NET Core does."""
        name = str(message["target"]).lower()
        arguments = message["arguments"]
        assert isinstance(arguments, list)
        with self._changed:
            record = addressed(self._newest if name == "getbalances" else pair_list(), arguments[0])
            self._count_answer(name, record)
            completion = json.dumps({"type": 3, "invocationId": message.get("invocationId"), "result": None})
            link.sock.sendall(wire.frame(record + RECORD_END))
            link.sock.sendall(wire.frame(completion.encode() + RECORD_END))
            link.commands.add(name)
            self._changed.notify_all()

    def _count_answer(self, name: str, record: bytes) -> None:
        tally = self._tally
        tally.add_record(record)
        should_log = not (self._state_told if name == "getbalances" else self._pairs_told)
        tally.applied += should_log
        tally.duplicates += not should_log
        if name == "getbalances":
            if should_log:
                tally.last_sequence = max(tally.last_sequence, OPENING_SEQUENCE)
                tally.add_rows(self._opening)
            self._state_told = True
        else:
            self._pairs_told = True

    def _ping(self) -> None:
        while True:
            time.sleep(PING_SECONDS)
            with self._speaking, contextlib.suppress(OSError):
                if self._link is not None:
                    self._link.sock.sendall(wire.frame(b'{"type":6}' + RECORD_END))


_NEGOTIATED = json.dumps(
    {
        "negotiateVersion": 1,
        "connectionId": "benchmark",
        "connectionToken": "benchmark-token",
        "availableTransports": [{"transport": "WebSockets", "transferFormats": ["Text", "Binary"]}],
    }
).encode()


def _frame(records: list[bytes]) -> tuple[bytes, int, bytes]:
    return wire.frame(b"".join(raw + RECORD_END for raw in records)), len(records), records[-1]


def _joined(prepared: _Prepared, request: Stream) -> _Prepared:
    """Frames put together to what one `sendall` takes: a burst, or a large chunk."""
    joined = _Prepared([], [], [])
    piece: list[bytes] = []
    events = size = 0
    for sending, count, newest in zip(prepared.sendings, prepared.sizes, prepared.newest, strict=True):
        piece.append(sending)
        events += count
        size += len(sending)
        full = size >= CHUNK_BYTES if request.per_second is None else events >= request.burst
        if full:
            _add(joined, piece, events, newest)
            piece, events, size = [], 0, 0
    if piece:
        _add(joined, piece, events, prepared.newest[-1])
    return joined


def _add(joined: _Prepared, piece: list[bytes], events: int, newest: bytes) -> None:
    joined.sendings.append(b"".join(piece))
    joined.sizes.append(events)
    joined.newest.append(newest)


_SUMS = (
    "records",
    "digest",
    "raw_bytes",
    "applied",
    "duplicates",
    "balance_rows",
    "available",
    "allocated",
)


def _merge(tally: Tally, planned: Tally) -> None:
    for name in _SUMS:
        setattr(tally, name, getattr(tally, name) + getattr(planned, name))
    tally.last_sequence = max(tally.last_sequence, planned.last_sequence)
    tally.assets.update(planned.assets)


def generate(pipe: Pipe) -> None:
    """Main of the process: first says its port, then does as told."""
    hub = Hub()
    pipe.send(hub.port)
    while True:
        request = pipe.receive()
        match request:
            case Reset():
                hub.reset(request)
                pipe.send(None)
            case AwaitLink():
                pipe.send(hub.await_link(request))
            case Prepare(load):
                pipe.send(hub.prepare(load))
            case Stream():
                pipe.send(hub.stream(request))
            case Tell():
                pipe.send(hub.tally())
            case _:
                raise TypeError(request)


class Generator(Peer):
    """The hub's process as seen by the rest."""

    def __init__(self) -> None:
        super().__init__(generate)
        self.url = f"http://127.0.0.1:{self.answer()}{PATH}"

    def reset(self, seed: int, assets: int, *, pairs_known: bool = False) -> None:
        self.call(Reset(seed, assets, pairs_known))

    def await_link(self, *, requests: bool) -> None:
        request = AwaitLink(requests)
        if not self.call(request, request.timeout + 5):
            raise TimeoutError(f"no client has linked up within {request.timeout:g} s")

    def prepare(self, load: Load) -> Prepared:
        prepared: Prepared = self.call(Prepare(load), 300)
        return prepared

    def start(self, pace: Stream) -> None:
        """Begin to stream; `sent` waits for its end."""
        self.tell(pace)

    def sent(self, timeout: float = 300.0) -> Sent:
        sent: Sent = self.answer(timeout)
        return sent

    def tally(self) -> Tally:
        tally: Tally = self.call(Tell())
        return tally
