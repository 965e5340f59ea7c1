"""What a connection is about to send, numbered for the journal and changed by faults: no sockets here.

Every channel record gets its number and its journal entry, whatever becomes of it: the oracle must know of a
record that is dropped, too.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from ingestor.simulator.faults import Fault, FaultQueue, Stage
from ingestor.simulator.journal import ChannelRecord
from ingestor.simulator.protocol import RECORD_END

_DELAY_S: Final = 0.5
_REORDER_WAIT_S: Final = 0.3


@dataclass(frozen=True, slots=True)
class Frame:
    """Channel records that share one WebSocket message."""

    records: tuple[ChannelRecord, ...]
    binary: bool = False
    verbatim: bytes | None = None
    """Bytes sent by hand, exactly so; faults leave them alone."""


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of the connection, after all that was queued before it."""

    cause: str
    record: bytes | None = None
    code: int = 1000


@dataclass(frozen=True, slots=True)
class Ready:
    """One message whose records are in the journal under `numbers`: none for a Completion without a result.
    Empty if nothing of it is to be sent."""

    message: bytes
    numbers: list[int] = field(default_factory=list)
    binary: bool = False


Outgoing = Frame | Closing | Ready


class Outbound:
    """Numbers, faults and reordered records of one connection."""

    def __init__(
        self,
        faults: FaultQueue,
        silenced: Callable[[], bool],
        later: Callable[[float, Callable[[], Ready]], None],
    ) -> None:
        self._faults = faults
        self._silenced = silenced
        """Nothing is sent now."""
        self._later = later
        """Sends, after so many seconds, the message that is given then."""
        self._n = 0
        self._reordered: list[ChannelRecord] = []
        """They wait for their successor."""

    def prepare(self, frame: Frame, entries: list[ChannelRecord]) -> Ready:
        """Number the frame's records and apply faults; `entries` gains what must be journaled before."""
        if frame.verbatim is not None:
            fault = Fault.SILENCE if self._silenced() else "raw"
            numbers = [self._enter(record, entries, fault).n for record in frame.records]
            return Ready(frame.verbatim, numbers, frame.binary)
        return _together([kept for each in frame.records for kept in self._after_faults(each, entries)])

    def _after_faults(self, record: ChannelRecord, entries: list[ChannelRecord]) -> list[ChannelRecord]:
        """What is sent now: `record`, unless a fault keeps it, and the reordered ones that waited for it."""
        if self._silenced():
            self._enter(record, entries, Fault.SILENCE)
            return []
        spec = self._faults.take(Stage.RECORD, record=record)
        fault = None if spec is None else spec.fault
        if fault is Fault.GARBAGE:
            record = replace(record, raw=record.raw[: len(record.raw) // 2])
        numbered = self._enter(record, entries, None if fault is Fault.DUPLICATE else fault)
        if spec is not None and fault is Fault.DELAY:
            self._later(_DELAY_S if spec.seconds is None else spec.seconds, lambda: _together([numbered]))
        if fault is Fault.REORDER:
            self._reordered.append(numbered)
            self._later(_REORDER_WAIT_S, lambda: _together(self._release()))
        if fault in {Fault.DROP, Fault.DELAY, Fault.REORDER}:
            return []
        doubled = [self._enter(record, entries, fault)] if fault is Fault.DUPLICATE else []
        return [numbered, *doubled, *self._release()]

    def _release(self) -> list[ChannelRecord]:
        released, self._reordered = self._reordered, []
        return released

    def _enter(self, record: ChannelRecord, entries: list[ChannelRecord], fault: str | None) -> ChannelRecord:
        self._n += 1
        entries.append(replace(record, n=self._n, fault=fault))
        return entries[-1]


def _together(records: list[ChannelRecord]) -> Ready:
    """These records in one message."""
    return Ready(b"".join(each.raw + RECORD_END for each in records), [each.n for each in records])
