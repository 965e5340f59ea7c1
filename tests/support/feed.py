"""What reaches the writer, in a test: items made one after the other, and applied a batch at a time.

    feed = Feed()
    feed.apply(feed.opened(), feed.requested("first"), feed.received(balances(5, client_id="first")))

A second passes before each item, and the records of a session are numbered from 1, so a test says only what
it is about.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from ingestor.domain.decision import Outcome
from ingestor.domain.decode import Decoder
from ingestor.domain.limits import DEFAULT_LIMITS
from ingestor.domain.records import (
    AnswerReceived,
    Decoded,
    Dropped,
    Fact,
    Item,
    Record,
    SessionClosed,
    SessionEnd,
    SessionOpened,
)
from ingestor.domain.requests import (
    ArgumentForm,
    Command,
    RequestCause,
    RequestEnded,
    RequestOutcome,
    RequestSent,
)
from ingestor.domain.streams import Kind, StreamKey
from ingestor.pipeline.apply import Rules, fold
from ingestor.pipeline.batch import Batch, Notice, SnapshotNeeded
from ingestor.pipeline.rows import GapRow, OutcomeRow, RawEventRow
from ingestor.pipeline.state import State, Stream
from tests.support.items import SESSION, at

USER = "user-1"


@dataclass
class Feed:
    """Makes items in order, and keeps the ingest state that `apply` leads to."""

    rules: Rules = field(default_factory=lambda: Rules(software_version="1.2.3"))
    state: State = field(default_factory=State)
    session: UUID = SESSION
    ordinal: int = 0
    seconds: float = 0.0
    decoder: Decoder = field(default_factory=lambda: Decoder(DEFAULT_LIMITS))
    commands: dict[str, Command] = field(default_factory=dict)

    def apply(self, *items: Item) -> Batch:
        """One batch, as the writer makes it."""
        self.state, batch = fold(self.state, self.decoded(items), self.rules)
        return batch

    def decoded(self, items: Iterable[Item]) -> list[Decoded | Fact]:
        """The items as the writer applies them."""
        return [self.decoder.decoded(item) if isinstance(item, Record) else item for item in items]

    # --- what has become of it ---

    def stream(self, kind: Kind = Kind.BALANCES, user_id: str = USER) -> Stream:
        """As the state has it now."""
        return self.state.streams[StreamKey(kind, "" if kind is Kind.PAIRS else user_id)]

    @property
    def now(self) -> datetime:
        """The time of the last item."""
        return at(self.seconds)

    # --- items ---

    def opened(self, session: UUID | None = None, *connection_errors: str) -> SessionOpened:
        """A session begins; by default the first one."""
        self.session, self.ordinal = session or self.session, 0
        return SessionOpened(
            self.session, self._tick(), "wss://hub.invalid/hub", 1 + len(connection_errors), connection_errors
        )

    def received(self, raw: bytes, *, later: float = 1.0) -> Record:
        """A record arrives, `later` seconds after the item before."""
        self.ordinal += 1
        return Record(self.session, self.ordinal, self._tick(later), raw, len(raw))

    def requested(
        self,
        request_id: str,
        command: Command = Command.GET_BALANCES,
        *,
        cause: RequestCause = RequestCause.SCHEDULE,
    ) -> RequestSent:
        """A request is sent."""
        self.commands[request_id] = command
        return RequestSent(
            request_id=request_id,
            command=command,
            cause=cause,
            session=self.session,
            requested_at=self._tick(),
            attempt=1,
            form=ArgumentForm.POSITIONAL,
        )

    def passed(self, request_id: str) -> AnswerReceived:
        """The answer to a request has entered the inbox just before, or was dropped there."""
        return AnswerReceived(request_id, at(self.seconds))

    def ended(
        self,
        request_id: str,
        outcome: RequestOutcome = RequestOutcome.TIMED_OUT,
        *,
        error: str | None = None,
    ) -> RequestEnded:
        """A request ends without an answer."""
        return RequestEnded(
            request_id=request_id,
            command=self.commands[request_id],
            session=self.session,
            ended_at=self._tick(),
            outcome=outcome,
            error=error,
        )

    def dropped(self, count: int = 1) -> Dropped:
        """The next records are dropped; all of them at one moment."""
        first, self.ordinal = self.ordinal + 1, self.ordinal + count
        moment = self._tick()
        return Dropped(self.session, first, self.ordinal, count, moment, moment, "inbox_records")

    def closed(
        self, cause: str = "reset", end: SessionEnd = SessionEnd.LINK_LOST, *, later: float = 1.0
    ) -> SessionClosed:
        """The session ends; the last message of the hub was the item before."""
        last_message_at = at(self.seconds)
        return SessionClosed(self.session, self._tick(later), last_message_at, self.ordinal, end, cause)

    def _tick(self, later: float = 1.0) -> datetime:
        self.seconds += later
        return at(self.seconds)


def outcomes(batch: Batch) -> list[str]:
    """What became of each event, in order."""
    refers = [row for row in batch.all(RawEventRow) if row.base_ordinal is not None]
    said = {(row.session_id, row.ordinal): [Outcome.DUPLICATE.value] for row in refers}
    for row in batch.all(OutcomeRow):
        said.setdefault((row.session_id, row.ordinal), []).append(row.outcome.value)
    return [each for row in batch.all(RawEventRow) for each in said[row.session_id, row.ordinal]]


def versions(batch: Batch) -> list[OutcomeRow]:
    """Of the events that became a version."""
    return [row for row in batch.all(OutcomeRow) if row.valid_from is not None]


def needed(batch: Batch) -> list[str]:
    """The snapshots that a batch calls for, as `command cause`."""
    return [f"{each.command.value} {each.cause.value}" for each in batch.effects_of(SnapshotNeeded)]


def notices(batch: Batch, name: str = "") -> list[str]:
    """The log events of a batch whose names start like this."""
    return [each.event for each in batch.effects_of(Notice) if each.event.startswith(name)]


def holdings(stream: Stream) -> dict[str, str]:
    """What is available of each asset that the newest version names."""
    return {name: str(each.available) for name, each in stream.holdings.items() if each.reported}


def only_gap(batch: Batch) -> GapRow:
    """The one gap row that a batch writes."""
    (gap,) = batch.all(GapRow)
    return gap


def values(row: Any, *fields: str) -> tuple[Any, ...]:
    """These fields of a row."""
    return tuple(getattr(row, field) for field in fields)
