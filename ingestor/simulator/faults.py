"""The faults that can be injected into the simulated hub, and the moment at which each can occur.

A fault has a stage. Faults of the stage NOW occur when they are injected. All others wait in a queue until
a connection reaches their stage; they occur `count` times, or every time for `seconds`. Each occurrence is
counted, so that a test can prove that its fault happened.
"""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, StrEnum
from math import inf
from random import Random
from time import monotonic
from typing import Final

from ingestor.simulator.journal import ChannelRecord


class Stage(Enum):
    """The moment at which a fault can occur."""

    NOW = "now"
    NEGOTIATE = "negotiate"
    UPGRADE = "upgrade"
    HANDSHAKE = "handshake"
    COMMAND = "command"
    RECORD = "record"


class Fault(StrEnum):
    """What can be injected; in brackets the fields of `FaultSpec` that matter besides `count`.

    Faults named after a stage (`negotiate_…`, `command_…`) also take `seconds` instead of `count`: they occur
    every time for so long.
    """

    DROP = "drop"
    """The record is never sent."""
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    """The record is sent after the one that follows it (or after 0.3 s if none does)."""
    DELAY = "delay"
    """Later records overtake it. [seconds, default 0.5]"""
    GARBAGE = "garbage"
    """The record ends in the middle."""

    COMMAND_SILENCE = "command_silence"
    """Neither event nor Completion. [target]"""
    COMMAND_COMPLETION_ERROR = "command_completion_error"
    """As if the method threw HubException. [target, error]"""
    COMMAND_PRECHECKS_ERROR = "command_prechecks_error"
    """An event with subject `preChecksError`, then a null Completion. [target, error]"""
    COMMAND_SUBJECT_ERROR = "command_subject_error"
    """An event with subject `execution.error`, then a null Completion. [target, error]"""

    NEGOTIATE_STATUS = "negotiate_status"
    """[status, headers, e.g. {"Retry-After": "7"}]"""
    NEGOTIATE_PAGE = "negotiate_page"
    """Status 200 with a maintenance page."""
    NEGOTIATE_REDIRECT = "negotiate_redirect"
    """By HTTP. [url, status, e.g. 307]"""
    NEGOTIATE_HANG = "negotiate_hang"
    UPGRADE_STATUS = "upgrade_status"
    """[status, headers]"""
    UPGRADE_HANG = "upgrade_hang"
    HANDSHAKE_ERROR = "handshake_error"
    """[error]"""
    HANDSHAKE_HANG = "handshake_hang"
    """The handshake request is read and never answered."""

    CLOSE = "close"
    """A Close record, then WebSocket close 1000. [error, allow_reconnect]"""
    WEBSOCKET_CLOSE = "websocket_close"
    """A WebSocket close frame without a Close record. [code]"""
    RST = "rst"
    FIN = "fin"
    SILENCE = "silence"
    """TCP stays, and nothing more is sent on the present connections. [seconds; None: until they end]"""
    WEBSOCKET_PING = "websocket_ping"
    """[payload]"""
    RESTART = "restart"
    """As when the server process is killed and started again `seconds` later. [seconds, default 0.5]"""
    SEQUENCE_RESET = "sequence_reset"
    """The account's counter goes on from `sequence`. [sequence, default 1]"""
    MASS_DELETE = "mass_delete"
    """The next `count` lists are empty. [kind: "balances" or "pairs"]"""


_RECORD_FAULTS: Final = {Fault.DROP, Fault.DUPLICATE, Fault.REORDER, Fault.DELAY, Fault.GARBAGE}
_STAGE_NAMES: Final = {stage.value: stage for stage in Stage}
STAGE_OF: Final[Mapping[Fault, Stage]] = {
    fault: Stage.RECORD if fault in _RECORD_FAULTS else _STAGE_NAMES.get(fault.partition("_")[0], Stage.NOW)
    for fault in Fault
}


@dataclass(frozen=True, slots=True)
class FaultSpec:
    """A fault and its parameters; `Fault` documents which of them it uses."""

    fault: Fault
    count: int | None = 1
    """How often it occurs; None: until `clear_faults()`."""
    seconds: float | None = None
    kind: str | None = None
    target: str | None = None
    """Only this command, in any case; None: any."""
    error: str | None = None
    """The error text; `{key}` in it becomes the access key, as some servers echo what they were sent."""
    allow_reconnect: bool | None = None
    status: int = 503
    url: str = "http://127.0.0.1:9/"
    code: int = 1011
    sequence: int = 1
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: bytes = b"are you there"


@dataclass(slots=True)
class _Waiting:
    spec: FaultSpec
    left: float
    """Occurrences; infinite for those without a limit."""
    until: float
    """Monotonic seconds."""


OnFault = Callable[[FaultSpec, ChannelRecord | None], object]
"""Called with each fault when it occurs, and with the record that it hits, if any."""


class FaultQueue:
    """Faults that wait for their stage. Thread-safe."""

    def __init__(self, api_key: str, on_fault: OnFault) -> None:
        self._lock = threading.Lock()
        self._on_fault = on_fault
        self._waiting: list[_Waiting] = []
        self.api_key = api_key
        """The bearer key that opens the hub from now on; `{key}` in an error text is replaced by it."""
        self.counts: Counter[Fault] = Counter()
        """How often each fault occurred."""

    def add(self, spec: FaultSpec) -> None:
        """Let it occur when its stage is reached."""
        left, until = inf if spec.count is None else spec.count, inf
        if spec.seconds is not None and STAGE_OF[spec.fault] is not Stage.RECORD:
            left, until = inf, monotonic() + spec.seconds
        with self._lock:
            self._waiting.append(_Waiting(spec, left, until))

    def clear(self) -> None:
        """Forget what waits."""
        with self._lock:
            self._waiting.clear()

    def take(self, stage: Stage, target: str = "", record: ChannelRecord | None = None) -> FaultSpec | None:
        """The fault that occurs now that `stage` is reached, if any: with this command, or this record."""
        with self._lock:
            now = monotonic()
            self._waiting = [one for one in self._waiting if one.left > 0 and now < one.until]
            for one in self._waiting:
                wanted = one.spec.target or target
                if STAGE_OF[one.spec.fault] is stage and wanted.lower() == target.lower():
                    one.left -= 1
                    break
            else:
                return None
        return self.occurred(one.spec, record)

    def occurred(self, spec: FaultSpec, record: ChannelRecord | None = None) -> FaultSpec:
        """Count it and notify the listener; returns it with its final error text."""
        with self._lock:
            self.counts[spec.fault] += 1
        self._on_fault(spec, record)
        return replace(spec, error=spec.error and spec.error.replace("{key}", self.api_key))


_CUTS: Final = (
    FaultSpec(Fault.RST),
    FaultSpec(Fault.FIN),
    FaultSpec(Fault.CLOSE, allow_reconnect=True),
    FaultSpec(Fault.RESTART, seconds=0.7),
)
_SINGLE_RECORDS: Final = (
    FaultSpec(Fault.DUPLICATE, count=2),
    FaultSpec(Fault.REORDER),
    FaultSpec(Fault.DELAY, seconds=0.4),
    FaultSpec(Fault.DROP),
    FaultSpec(Fault.GARBAGE),
)


def misbehaviour(seed: int) -> Iterator[tuple[float, FaultSpec]]:
    """The demo's mild faults, without end: (seconds to wait, fault).

    The link is cut 4 to 6 s after the first connection and then every 8 to 14 s; single records suffer in
    between.
    """
    rng = Random(f"{seed}/misbehaviour")
    seconds = rng.uniform(4, 6)
    while True:
        singles = round(seconds / 2)
        for _ in range(singles):
            yield seconds / (singles + 1), rng.choice(_SINGLE_RECORDS)
        yield seconds / (singles + 1), rng.choice(_CUTS)
        seconds = rng.uniform(8, 14)
