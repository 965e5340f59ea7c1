"""The writer's line in a test: items made one after the other, and booked a batch at a time.

    line = Line()
    line.book(line.opened(), line.asked("first"), line.heard(balances(5, client_id="first")))

A second passes before each item, and records of a session are numbered from 1, so a test says only what it
is about.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from ingestor.domain.commands import (
    ArgumentForm,
    Cause,
    Command,
    CommandAsked,
    CommandOutcome,
    CommandSettled,
)
from ingestor.domain.gaps import Gap
from ingestor.domain.records import Item, Record, SessionClosed, SessionEnd, SessionOpened, Shed
from ingestor.domain.streams import Kind, StreamKey
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.booking import BookingRules, Bookkeeper
from ingestor.pipeline.books import Books, Stream
from tests.support.items import SESSION, at

USER = "user-1"


@dataclass
class Line:
    """Makes items in order, and keeps the books that `book` writes."""

    rules: BookingRules = field(default_factory=lambda: BookingRules(software_version="1.2.3"))
    books: Books = field(default_factory=Books)
    session: UUID = SESSION
    ordinal: int = 0
    seconds: float = 0.0
    commands: dict[str, Command] = field(default_factory=dict)

    def book(self, *items: Item, refused: Collection[tuple[UUID, int]] = ()) -> Batch:
        """One batch, on a copy of the books, as the writer does it."""
        keeper = Bookkeeper(self.books.copy(), self.rules)
        batch = keeper.book(items, refused)
        self.books = keeper.books
        return batch

    # --- what has become of it ---

    def stream(self, kind: Kind = Kind.BALANCES, user_id: str = USER) -> Stream:
        """As the books have it now."""
        return self.books.streams[StreamKey(kind, "" if kind is Kind.PAIRS else user_id)]

    @property
    def now(self) -> datetime:
        """The time of the last item."""
        return at(self.seconds)

    # --- items ---

    def opened(self, session: UUID | None = None, *obstacles: str) -> SessionOpened:
        """A session begins; by default the first one."""
        self.session, self.ordinal = session or self.session, 0
        return SessionOpened(
            self.session, self._tick(), "wss://hub.invalid/hub", 1 + len(obstacles), obstacles
        )

    def heard(self, raw: bytes, *, later: float = 1.0) -> Record:
        """A record arrives, `later` seconds after the item before."""
        self.ordinal += 1
        return Record(self.session, self.ordinal, self._tick(later), raw, len(raw))

    def asked(self, command_id: str, command: Command = Command.GET_BALANCES) -> CommandAsked:
        """A command is asked."""
        self.commands[command_id] = command
        return CommandAsked(
            command_id=command_id,
            command=command,
            cause=Cause.SCHEDULE,
            session=self.session,
            asked_at=self._tick(),
            attempt=1,
            form=ArgumentForm.POSITIONAL,
        )

    def settled(
        self,
        command_id: str,
        outcome: CommandOutcome = CommandOutcome.TIMED_OUT,
        *,
        error: str | None = None,
        final: bool = True,
    ) -> CommandSettled:
        """A command ends without an answer."""
        return CommandSettled(
            command_id=command_id,
            command=self.commands[command_id],
            session=self.session,
            settled_at=self._tick(),
            outcome=outcome,
            error=error,
            final=final,
        )

    def shed(self, count: int = 1) -> Shed:
        """The next records are dropped; all of them at one moment."""
        first, self.ordinal = self.ordinal + 1, self.ordinal + count
        moment = self._tick()
        return Shed(self.session, first, self.ordinal, count, moment, moment, "inbox_records")

    def closed(
        self, cause: str = "reset", end: SessionEnd = SessionEnd.LINK_LOST, *, later: float = 1.0
    ) -> SessionClosed:
        """The session ends; the hub was last heard with the item before."""
        last_heard_at = at(self.seconds)
        return SessionClosed(self.session, self._tick(later), last_heard_at, self.ordinal, end, cause)

    def _tick(self, later: float = 1.0) -> datetime:
        self.seconds += later
        return at(self.seconds)


def outcomes(batch: Batch) -> list[str]:
    """What became of each event, in order."""
    return [row.outcome.value for row in batch.outcomes]


def held(stream: Stream) -> dict[str, str]:
    """What is available of each asset that the newest version names."""
    return {name: str(each.available) for name, each in stream.holdings.items() if each.reported}


def only(batch: Batch) -> Gap:
    """The one gap that a batch writes."""
    (gap,) = batch.gaps.values()
    return gap
