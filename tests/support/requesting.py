"""The middle without its threads: a hub that a test scripts, and time that passes only when nothing is due.

Intake, inbox, request scheduler, apply and notify are the real ones. What the hub does is a function from a
request to the messages that it will send for it.
"""

import heapq
import itertools
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from typing_extensions import override

from ingestor.domain.decode import Decoder
from ingestor.domain.errors import LinkDown
from ingestor.domain.limits import DEFAULT_LIMITS
from ingestor.domain.records import (
    Fact,
    Record,
    SessionClosed,
    SessionEnd,
    SessionOpened,
)
from ingestor.domain.requests import ArgumentForm, Command, RequestCause, RequestEnded, RequestSent
from ingestor.pipeline.apply import Rules, fold
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.inbox import Inbox, InboxLimits
from ingestor.pipeline.intake import Intake
from ingestor.pipeline.notify import notify
from ingestor.pipeline.request_scheduler import RequestRules, RequestScheduler
from ingestor.pipeline.state import State
from tests.support.items import at


class ManualClock:
    """`ports.Clock` that stands still until the test moves it."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def now(self) -> datetime:
        """The database's time."""
        return at(self.seconds)

    def monotonic(self) -> float:
        """Seconds."""
        return self.seconds


class RealClock(ManualClock):
    """The same with time that passes by itself."""

    @override
    def monotonic(self) -> float:
        """Seconds."""
        return time.monotonic()


class Completion(NamedTuple):
    """A Completion with an error, or without anything."""

    error: str | None = None


class Message(NamedTuple):
    """What the hub sends, so many seconds after the request."""

    after: float
    what: bytes | Completion


class HubRequest(NamedTuple):
    """What reaches the hub."""

    at: float
    command: Command
    request_id: str
    form: ArgumentForm


class FakeHub:
    """`ports.Hub`: remembers what it was sent, and has `behaviour` say what comes back."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self._order = itertools.count()
        self.received: list[HubRequest] = []
        self.session: UUID | None = None
        self.pending: list[tuple[float, int, UUID, str, bytes | Completion]] = []
        self.behaviour: Callable[[HubRequest], Iterable[Message]] = lambda request: ()

    def request(self, session: UUID, command: Command, request_id: str, form: ArgumentForm) -> None:
        """Take a request, if the link of this session is up."""
        if session != self.session:
            raise LinkDown("no link")
        request = HubRequest(self._clock.seconds, command, request_id, form)
        self.received.append(request)
        for message in self.behaviour(request):
            self.send(message, request_id)

    def send(self, message: Message, request_id: str = "") -> None:
        """Send something later, in the session that is up now."""
        assert self.session is not None
        due = self._clock.seconds + message.after
        heapq.heappush(self.pending, (due, next(self._order), self.session, request_id, message.what))


@dataclass
class Middle:
    """Everything between the link and the store, in one thread and in virtual time."""

    rules: RequestRules = field(default_factory=RequestRules)
    apply_rules: Rules = field(default_factory=Rules)
    limits: InboxLimits = field(default_factory=lambda: InboxLimits(put_timeout_seconds=0.0))
    schedule: bool = True
    """Whether each command is requested once an interval, besides."""
    writing: bool = True
    """False: the database is away, and what arrives waits in the inbox."""
    state: State = field(default_factory=State)
    facts: list[Fact] = field(default_factory=list)
    """All that the scheduler has put on record."""
    batches: list[Batch] = field(default_factory=list)
    sessions: int = 0
    ordinal: int = 0

    def __post_init__(self) -> None:
        self.clock = ManualClock()
        self.decoder = Decoder(DEFAULT_LIMITS)
        self.hub = FakeHub(self.clock)
        self.inbox = Inbox(self.limits)
        self.scheduler = RequestScheduler(
            self.hub,
            self._record,
            self.clock,
            self.rules,
            random.Random(1),
        )
        self.intake = Intake(self.inbox, lambda: None)
        self.intake.attach(self.scheduler)
        self._scheduled = dict(self.rules.interval_seconds)

    # --- the link ---

    def up(self) -> UUID:
        """A session begins."""
        self.sessions += 1
        self.ordinal = 0
        session = self.hub.session = UUID(int=self.sessions)
        self.intake.link_up(SessionOpened(session, self.clock.now(), "ws://hub.invalid/hub", 1))
        self.settle()
        return session

    def down(self) -> None:
        """The session is lost, and what the hub would have sent with it."""
        session, self.hub.session = self.hub.session, None
        assert session is not None
        now = self.clock.now()
        self.intake.link_down(SessionClosed(session, now, now, self.ordinal, SessionEnd.LINK_LOST, "reset"))
        self.settle()

    def receive(self, raw: bytes) -> None:
        """A record arrives."""
        assert self.hub.session is not None
        self.ordinal += 1
        self.intake.records([Record(self.hub.session, self.ordinal, self.clock.now(), raw, len(raw))])

    # --- time ---

    def run(self, seconds: float) -> None:
        """Let time pass; whatever is due in between happens at its moment."""
        end = self.clock.seconds + seconds
        while True:
            self.settle()
            due = [self.clock.seconds + self.scheduler._seconds_until_due()]
            due += [message[0] for message in self.hub.pending[:1]]
            due += self._scheduled.values()
            if min(due) > end:
                break
            self.clock.seconds = max(self.clock.seconds, min(due))
            self._deliver()
            self._run_schedule()
        self.clock.seconds = end
        self.settle()

    def settle(self) -> None:
        """All that is due now."""
        while True:
            self.write()
            with self.scheduler._changed:
                each = self.scheduler._due()
            if each is None:
                return
            self.scheduler._send(each)

    def write(self) -> None:
        """What the writer does, if the database is there."""
        while self.writing and (items := self.inbox.take(1_000, 1_000_000, 0.0)):
            decoded = [self.decoder.decoded(item) if isinstance(item, Record) else item for item in items]
            self.state, batch = fold(self.state, decoded, self.apply_rules)
            self.batches.append(batch)
            notify(batch, self.scheduler)

    def _deliver(self) -> None:
        while self.hub.pending and self.hub.pending[0][0] <= self.clock.seconds:
            _, _, session, request_id, what = heapq.heappop(self.hub.pending)
            if session != self.hub.session:
                continue
            if isinstance(what, bytes):
                self.receive(what)
            else:
                self.intake.completed(session, request_id, what.error)

    def _run_schedule(self) -> None:
        for command, due in self._scheduled.items():
            if due <= self.clock.seconds:
                self._scheduled[command] = due + self.rules.interval_seconds[command]
                if self.schedule:
                    self.scheduler.request(command, RequestCause.SCHEDULE)

    def _record(self, fact: Fact) -> None:
        self.facts.append(fact)
        self.inbox.put(fact)

    # --- what has become of it ---

    def sent(self, command: Command = Command.GET_BALANCES) -> list[RequestSent]:
        """The requests of a command, as they were recorded."""
        return [each for each in self.facts if isinstance(each, RequestSent) and each.command is command]

    def times(self, command: Command = Command.GET_BALANCES) -> list[float]:
        """When the hub got them."""
        return [each.at for each in self.hub.received if each.command is command]

    def ended(self, request_id: str) -> list[RequestEnded]:
        """The ends that the scheduler has recorded of a request."""
        return [
            each for each in self.facts if isinstance(each, RequestEnded) and each.request_id == request_id
        ]
