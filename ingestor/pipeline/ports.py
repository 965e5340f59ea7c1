"""Interfaces of what the pipeline needs. Adapters implement them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from ingestor.domain.records import Record, SessionClosed, SessionOpened
from ingestor.domain.requests import ArgumentForm, Command
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.state import State


class Clock(Protocol):
    """The only source of time."""

    def now(self) -> datetime:
        """The database's time, UTC, aware; never goes back."""

    def monotonic(self) -> float:
        """Seconds; never goes back."""


class ClockStep(NamedTuple):
    """A clock was set, or its machine was paused: its time differs from what the monotonic clock predicts."""

    clock: str
    """`host` or `database`."""
    seconds: float
    """Negative: backwards."""


class SynchronisedClock(Clock, Protocol):
    """The clock, for the store, which reads the database's clock."""

    @property
    def offset_seconds(self) -> float | None:
        """The host's wall clock minus the database's; None before the first reading."""

    def synchronise(self, database: datetime, sent: float, received: float) -> tuple[ClockStep, ...]:
        """Use a reading made between two times of `monotonic`; returns the steps detected by it."""


class LinkListener(Protocol):
    """What the link reports. Called from the link's threads; must not block for long and must not raise."""

    def link_up(self, opened: SessionOpened) -> None:
        """The handshake is done. From the supervisor thread, before any record of the session."""

    def records(self, records: Sequence[Record]) -> None:
        """The application's records of one frame, in order. From the receive thread."""

    def completed(self, session: UUID, invocation_id: str, error: str | None) -> None:
        """A Completion arrived: without `error` the hub accepted the invocation. From the receive thread."""

    def silent(self, session: UUID) -> None:
        """Nothing was received for half the receive deadline. From the supervisor thread."""

    def link_down(self, closed: SessionClosed) -> None:
        """The session is over; no record of it follows. From the supervisor thread."""


class Hub(Protocol):
    """The only way to send something to the hub."""

    def request(self, session: UUID, command: Command, request_id: str, form: ArgumentForm) -> None:
        """Send one invocation, with `request_id` as ClientId and as the protocol's invocationId.

        Raises:
            LinkDown: the session has ended, or the socket did not accept the bytes.
        """


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The row that the writer stores regularly in `ingest.heartbeat`. The store adds the database's time."""

    process_id: UUID
    pid: int
    host: str
    started_at: datetime
    link_state: str
    connection_error: str | None
    last_message_at: datetime | None
    inbox_records: int
    inbox_bytes: int
    dropped_records: int
    """Since the start of the process."""
    balances_interval: timedelta
    pairs_interval: timedelta
    clock_offset_seconds: float | None = None
    """The host's wall clock minus the database's clock."""
    stopped_at: datetime | None = None
    connection_error_detail: str | None = None
    key_refused: bool = False
    next_attempt_at: datetime | None = None


class Store(Protocol):
    """Where batches are stored. Used by one thread at a time.

    Every method raises the classes of `domain.errors`: `Transient` (try again), `OutcomeUnknown`
    (call `holds` first), `RowRejected` (one row is at fault), `WatermarkConflict` (apply again) or `Fatal`.
    """

    def open(self) -> State:
        """Load the state as of the last commit. Ends what a dead process left open, except confirmations that
        are pending: the next commit abandons these."""

    def prepare(self, batch: Batch) -> None:
        """Encode the batch while another one is being written. Never raises."""

    def write(self, batch: Batch) -> None:
        """Commit all of it or nothing."""

    def holds(self, batch: Batch) -> bool:
        """Whether this batch has been committed."""

    def heartbeat(self, heartbeat: Heartbeat) -> None:
        """Store the heartbeat."""

    def paused(self) -> bool:
        """Whether an operator wants no link to the hub."""
