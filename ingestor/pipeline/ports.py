"""The seams: what the pipeline needs of the outside, in one to four methods each.

Adapters implement these.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from ingestor.domain.commands import ArgumentForm, Command
from ingestor.domain.records import Record, SessionClosed, SessionOpened
from ingestor.domain.streams import StreamKey
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.books import Books, Stream


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """Wall clock, UTC, aware."""
        ...

    def monotonic(self) -> float:
        """Seconds; never goes back."""
        ...


class LinkListener(Protocol):
    """What the link tells. Called from the link's threads; must not block for long and must not raise."""

    def link_up(self, opened: SessionOpened) -> None:
        """The handshake is done. From the supervisor thread, before any record of the session."""
        ...

    def records(self, records: Sequence[Record]) -> None:
        """All the channel records of one frame, in order. From the receive thread."""
        ...

    def completed(self, session: UUID, invocation_id: str, error: str | None) -> None:
        """A Completion arrived: without `error` the hub took the invocation. From the receive thread."""
        ...

    def link_down(self, closed: SessionClosed) -> None:
        """The session is over; no record of it follows. From the supervisor thread."""
        ...


class Hub(Protocol):
    """The one way to say something to the hub."""

    def ask(self, session: UUID, command: Command, command_id: str, form: ArgumentForm) -> None:
        """Send one invocation, with `command_id` as ClientId and as the protocol's invocationId.

        Raises:
            LinkDown: the session is not the live one, or the socket refused the bytes.
        """
        ...


@dataclass(frozen=True, slots=True)
class Beat:
    """One turn of the writer, for `ingest.heartbeat`."""

    process_id: UUID
    pid: int
    host: str
    started_at: datetime
    beat_at: datetime
    link_state: str
    link_obstacle: str | None
    last_heard_at: datetime | None
    inbox_records: int
    inbox_bytes: int
    balances_interval: timedelta
    pairs_interval: timedelta
    stopped_at: datetime | None = None


class Store(Protocol):
    """Where batches become durable. One owner; one thread at a time, but for `pack`.

    Every method raises the classes of `domain.errors`: `Transient` (try the same again), `OutcomeUnknown`
    (ask `holds` first), `DataRefused` (one row is to blame), `StateMoved` (decide again) or `Fatal`.
    """

    def open(self) -> Books:
        """What must be known to go on from the last commit; what a dead process left open is settled."""
        ...

    def streams(self) -> Mapping[StreamKey, Stream]:
        """Where the streams stand now, whoever moved them."""
        ...

    def pack(self, batch: Batch) -> None:
        """Prepare what can be prepared while another batch is being written. Raises nothing."""
        ...

    def write(self, batch: Batch) -> None:
        """Commit all of it or nothing."""
        ...

    def holds(self, batch: Batch) -> bool:
        """Whether this batch has been committed."""
        ...

    def beat(self, beat: Beat) -> None:
        """Record a turn."""
        ...
