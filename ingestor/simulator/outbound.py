"""What a connection is about to say, numbered for the journal and bitten by faults: no sockets here.

Every channel record gets its number and its journal entry, whatever becomes of it: a record that is dropped
was meant all the same, and an oracle wants to know.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from ingestor.simulator.commands import ChannelRecord
from ingestor.simulator.faults import Fault, FaultDesk, Stage, spoil
from ingestor.simulator.journal import Entry
from ingestor.simulator.protocol import RECORD_END

_DELAY_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Frame:
    """Channel records that share one WebSocket message."""

    records: tuple[ChannelRecord, ...]
    binary: bool = False
    verbatim: bytes | None = None
    """Bytes sent by hand, exactly so; faults leave them alone."""


@dataclass(frozen=True, slots=True)
class Control:
    """A Completion: no channel record, not in the journal."""

    message: bytes


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The end, after all that was said before it."""

    cause: str
    record: bytes | None = None
    code: int = 1000


@dataclass(frozen=True, slots=True)
class Ready:
    """One message whose records are in the journal under `numbers`; empty if nothing of it is to be sent."""

    message: bytes
    numbers: list[int] = field(default_factory=list)
    binary: bool = False


Outgoing = Frame | Control | Goodbye | Ready


class Outbound:
    """Numbers, faults and held-back records of one connection."""

    def __init__(
        self, desk: FaultDesk, muted: Callable[[], str | None], later: Callable[[float, Ready], None]
    ) -> None:
        self._desk = desk
        self._muted = muted
        """The fault under which nothing is said now, if any."""
        self._later = later
        """Says a message after so many seconds."""
        self._n = 0
        self._held: list[tuple[int, bytes]] = []

    @property
    def holds_back(self) -> bool:
        """A reordered record waits for its successor."""
        return bool(self._held)

    def release(self) -> list[Ready]:
        """What was held back, as messages of their own."""
        held = [Ready(raw + RECORD_END, [number]) for number, raw in self._held]
        self._held.clear()
        return held

    def prepare(self, frame: Frame, entries: list[Entry]) -> Ready:
        """Number the frame's records and let faults bite; `entries` gains what the journal must say first."""
        if frame.verbatim is not None:
            numbers = [
                self._enter(record, entries, self._muted() or record.fault) for record in frame.records
            ]
            return Ready(frame.verbatim, numbers, frame.binary)
        kept: list[tuple[int, bytes]] = []
        for record in frame.records:
            kept += self._bitten(record, entries)
        message = b"".join(raw + RECORD_END for _, raw in kept)
        return Ready(message, [number for number, _ in kept])

    def _bitten(self, record: ChannelRecord, entries: list[Entry]) -> list[tuple[int, bytes]]:
        """What goes onto the wire now: `record`, as far as faults let it, and what was held back for it."""
        muted = self._muted()
        if muted is not None:
            self._enter(record, entries, muted)
            return []
        trouble = self._desk.take(Stage.RECORD)
        fault = None if trouble is None else trouble.fault
        if trouble is not None and fault is Fault.GARBAGE:
            record = replace(record, raw=spoil(record.raw, trouble.kind))
        mine = (self._enter(record, entries, None if fault is Fault.DUPLICATE else fault), record.raw)
        if trouble is not None and fault is Fault.DELAY:
            seconds = _DELAY_S if trouble.seconds is None else trouble.seconds
            self._later(seconds, Ready(record.raw + RECORD_END, [mine[0]]))
        if fault is Fault.REORDER:
            self._held.append(mine)
        if fault in {Fault.DROP, Fault.DELAY, Fault.REORDER}:
            return []
        now = [mine]
        if fault is Fault.DUPLICATE:
            now.append((self._enter(record, entries, fault), record.raw))
        now += self._held
        self._held.clear()
        return now

    def _enter(self, record: ChannelRecord, entries: list[Entry], fault: str | None) -> int:
        self._n += 1
        entries.append(
            Entry(
                self._n, record.raw, record.target, record.subject, record.sequence, record.client_id, fault
            )
        )
        return self._n
