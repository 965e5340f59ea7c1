"""What can go wrong, when, and by whose dice.

A fault has a stage, the moment in a connection's life at which it can bite. Faults of the stage NOW bite as
they are injected; all others wait on the desk until their moment comes, `count` times. Rates throw seeded
dice at each such moment instead. Every bite is counted, so that a test can prove that its fault happened.
"""

import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from random import Random
from typing import Any, Final


class Stage(Enum):
    """The moment at which a fault can bite."""

    NOW = "now"
    NEGOTIATE = "negotiate"
    UPGRADE = "upgrade"
    HANDSHAKE = "handshake"
    COMMAND = "command"
    RECORD = "record"


class Fault(StrEnum):
    """What can be injected; in brackets the fields of `Trouble` that matter."""

    DROP = "drop"
    """The record is never sent."""
    DUPLICATE = "duplicate"
    REORDER = "reorder"
    """The record is sent after the one that follows it (or after 0.3 s if none does)."""
    DELAY = "delay"
    """Later records overtake it. [seconds, default 0.5]"""
    GARBAGE = "garbage"
    """The record is spoilt. [kind: a value of GarbageKind]"""

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
    NEGOTIATE_BODY = "negotiate_body"
    """200 with something else than an answer. [kind: a value of BodyKind]"""
    NEGOTIATE_REDIRECT = "negotiate_redirect"
    """[url; status 307 is an HTTP redirect, 200 is SignalR's own `{"url": …}`]"""
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
    """TCP stays, and nothing more is said to those who are connected now. [seconds; None: to the end]"""
    WEBSOCKET_PING = "websocket_ping"
    """[payload]"""
    RESTART = "restart"
    """As when the server process is terminated: no goodbye, refused connections, then back. [seconds]"""
    SEQUENCE_RESET = "sequence_reset"
    """The account's counter starts again at 1."""
    MASS_DELETE = "mass_delete"
    """The next `count` lists are empty. [kind: "balances" or "pairs"]"""


STAGE_OF: Final[Mapping[Fault, Stage]] = {
    fault: stage
    for stage, faults in {
        Stage.RECORD: (Fault.DROP, Fault.DUPLICATE, Fault.REORDER, Fault.DELAY, Fault.GARBAGE),
        Stage.COMMAND: (
            Fault.COMMAND_SILENCE,
            Fault.COMMAND_COMPLETION_ERROR,
            Fault.COMMAND_PRECHECKS_ERROR,
            Fault.COMMAND_SUBJECT_ERROR,
        ),
        Stage.NEGOTIATE: (
            Fault.NEGOTIATE_STATUS,
            Fault.NEGOTIATE_BODY,
            Fault.NEGOTIATE_REDIRECT,
            Fault.NEGOTIATE_HANG,
        ),
        Stage.UPGRADE: (Fault.UPGRADE_STATUS, Fault.UPGRADE_HANG),
        Stage.HANDSHAKE: (Fault.HANDSHAKE_ERROR, Fault.HANDSHAKE_HANG),
        Stage.NOW: (
            Fault.CLOSE,
            Fault.WEBSOCKET_CLOSE,
            Fault.RST,
            Fault.FIN,
            Fault.SILENCE,
            Fault.WEBSOCKET_PING,
            Fault.RESTART,
            Fault.SEQUENCE_RESET,
            Fault.MASS_DELETE,
        ),
    }.items()
    for fault in faults
}


class GarbageKind(StrEnum):
    """How a record is spoilt."""

    INVALID_JSON = "invalid_json"
    BAD_UTF8 = "bad_utf8"
    """In a text frame: many WebSocket clients end the connection over it, as RFC 6455 wants."""
    TRUNCATED = "truncated"
    NAN = "nan"
    """Its first amount is NaN, which some JSON parsers take for a number."""


class BodyKind(StrEnum):
    """What a negotiate answer of status 200 can hold instead of an answer."""

    HTML = "html"
    EMPTY = "empty"
    HUGE = "huge"
    """256 MiB of JSON that never ends."""
    DRIP = "drip"
    """One byte every half second, for ever."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fault and its particulars; which of them matter stands at the fault."""

    fault: Fault
    count: int | None = 1
    """How often it bites; None: until `clear_faults()`."""
    seconds: float | None = None
    kind: str | None = None
    target: str | None = None
    """Only this command, in any case; None: any."""
    error: str | None = None
    allow_reconnect: bool | None = None
    status: int = 503
    url: str = "http://127.0.0.1:9/"
    code: int = 1011
    headers: Mapping[str, str] = field(default_factory=dict)
    payload: bytes = b"are you there"


class FaultDesk:
    """Troubles that wait for their moment. Thread-safe."""

    def __init__(self, rates: Mapping[Fault, float], seed: int) -> None:
        self._lock = threading.Lock()
        self._dice = Random(f"{seed}/faults")
        self._rates = dict(rates)
        self._waiting: list[tuple[Trouble, int | None]] = []
        self.bites: Counter[Fault] = Counter()
        """How often each fault really happened."""

    def add(self, trouble: Trouble) -> None:
        with self._lock:
            self._waiting.append((trouble, trouble.count))

    def set_rate(self, fault: Fault, rate: float) -> None:
        """`rate` in [0, 1]: the chance that `fault` bites at each of its moments."""
        if STAGE_OF[fault] is Stage.NOW or not 0 <= rate <= 1:
            raise ValueError(f"no rate {rate} for {fault}: 0 to 1, and not for a fault that bites at once")
        with self._lock:
            self._rates[fault] = rate

    def clear(self) -> None:
        """Forget what waits, and all rates."""
        with self._lock:
            self._waiting.clear()
            self._rates.clear()

    def bit(self, fault: Fault) -> None:
        with self._lock:
            self.bites[fault] += 1

    def take(self, stage: Stage, target: str | None = None) -> Trouble | None:
        """The trouble that bites at this moment, if any."""
        with self._lock:
            trouble = self._next_waiting(stage, target) or self._throw_dice(stage)
            if trouble is not None:
                self.bites[trouble.fault] += 1
            return trouble

    def _next_waiting(self, stage: Stage, target: str | None) -> Trouble | None:
        for index, (trouble, left) in enumerate(self._waiting):
            if STAGE_OF[trouble.fault] is not stage or not _meant_for(trouble, target):
                continue
            if left is not None:
                self._waiting[index : index + 1] = [(trouble, left - 1)] if left > 1 else []
            return trouble
        return None

    def _throw_dice(self, stage: Stage) -> Trouble | None:
        for fault, rate in self._rates.items():
            if STAGE_OF[fault] is stage and self._dice.random() < rate:
                return Trouble(fault)
        return None


def _meant_for(trouble: Trouble, target: str | None) -> bool:
    return trouble.target is None or (target is not None and trouble.target.lower() == target.lower())


def spoil(record: bytes, kind: str | None) -> bytes:
    """`record` (without terminator) as garbage. Raises ValueError for an unknown kind."""
    match GarbageKind(kind or GarbageKind.INVALID_JSON):
        case GarbageKind.INVALID_JSON:
            return record.replace(b":", b"=", 1)
        case GarbageKind.BAD_UTF8:
            return record[:-2] + b"\xff\xfe" + record[-2:]
        case GarbageKind.TRUNCATED:
            return record[: len(record) // 2]
        case GarbageKind.NAN:
            return _first_amount_as_nan(record)


def _first_amount_as_nan(record: bytes) -> bytes:
    for name in (b'available\\":', b'"available":', b'minSize\\":', b'"minSize":'):
        head, found, tail = record.partition(name)
        if found:
            digits = len(tail) - len(tail.lstrip(b"-0123456789."))
            return head + found + b"NaN" + tail[digits:]
    return record[:-1] + b',"x":NaN}'


_CUTS: Final = (
    Trouble(Fault.RST),
    Trouble(Fault.FIN),
    Trouble(Fault.CLOSE, allow_reconnect=True),
    Trouble(Fault.RESTART, seconds=0.7),
)
_BLEMISHES: Final = (
    Trouble(Fault.DUPLICATE, count=2),
    Trouble(Fault.REORDER),
    Trouble(Fault.DELAY, seconds=0.4),
    Trouble(Fault.DROP),
    Trouble(Fault.GARBAGE, kind=GarbageKind.TRUNCATED),
)


def misbehaviour(seed: int) -> Iterator[tuple[float, Trouble]]:
    """The demo's mild faults, for ever: (seconds to wait, trouble).

    A cut link comes 4 to 6 s after the first connection and then every 8 to 14 s; single records suffer in
    between.
    """
    dice = Random(f"{seed}/misbehaviour")
    next_cut, now = dice.uniform(4, 6), 0.0
    while True:
        pause = dice.uniform(1.0, 3.0)
        if now + pause >= next_cut:
            yield next_cut - now, dice.choice(_CUTS)
            now, next_cut = next_cut, next_cut + dice.uniform(8, 14)
        else:
            yield pause, dice.choice(_BLEMISHES)
            now += pause


def describe(trouble: Trouble) -> dict[str, Any]:
    """The fault as a line of the journal: what was set, nothing that was left alone."""
    usual = Trouble(trouble.fault)
    names = ("count", "seconds", "kind", "target", "error", "allow_reconnect", "status", "url", "code")
    return {name: getattr(trouble, name) for name in names if getattr(trouble, name) != getattr(usual, name)}
