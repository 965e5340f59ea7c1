"""A writer whose turns a test takes, on a store in memory; time passes only in its pauses."""

import random
import threading
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

from typing_extensions import override

from ingestor.domain.decode import Decoder
from ingestor.domain.limits import DEFAULT_LIMITS
from ingestor.domain.records import Item, Record
from ingestor.pipeline.apply import Rules
from ingestor.pipeline.inbox import Inbox, InboxLimits
from ingestor.pipeline.ports import Heartbeat
from ingestor.pipeline.request_scheduler import RequestRules, RequestScheduler
from ingestor.pipeline.rows import RawEventRow, SessionRow
from ingestor.pipeline.writer import Writer, WriterRules
from tests.support.fake_store import FakeStore
from tests.support.feed import Feed
from tests.support.items import at, balances
from tests.support.requesting import FakeHub, ManualClock


class Abandon(threading.Event):
    """Waiting for it takes no time but the test's own, which it records."""

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.pauses: list[float] = []
        self.at_pause: Callable[[int], None] = lambda number: None
        """Called with the number of the pause, at its end."""

    @override
    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timeout)
        self.clock.seconds += timeout
        self.at_pause(len(self.pauses))
        return self.is_set()


class Writing:
    """A writer with its surroundings; `turn` makes it work until nothing is left to do."""

    def __init__(self, rules: WriterRules | None = None, store: FakeStore | None = None) -> None:
        self.clock = ManualClock()
        self.inbox = Inbox(InboxLimits(put_timeout_seconds=0.0))
        self.store = store or FakeStore()
        self.scheduler = RequestScheduler(
            FakeHub(self.clock), self.inbox.put, self.clock, RequestRules(), random.Random(1)
        )
        self.writer = Writer(
            self.inbox,
            self.store,
            self.scheduler,
            self.clock,
            heartbeat,
            rules or WriterRules(max_records=10, turn_seconds=0.0),
            Rules(),
            Decoder(DEFAULT_LIMITS).decoded,
        )
        self.abandon = self.writer._commits.abandon = Abandon(self.clock)
        self.feed = Feed()
        self.writer._commits.state = self.store.open()
        self.writer._committer.start()

    def put(self, *items: Item) -> None:
        for item in items:
            if isinstance(item, Record):
                self.inbox.put_records([item])
            else:
                self.inbox.put(item)

    def turn(self, *items: Item) -> None:
        """Put these, and write all there is."""
        self.put(*items)
        while self.inbox.level.records or self.inbox._facts or self.writer._ahead is not None:
            self.writer._turn()

    def receive(self, *sequences: int) -> list[Item]:
        return [self.feed.received(balances(sequence)) for sequence in sequences]

    def ordinals(self) -> list[int]:
        return sorted(row.ordinal for row in self.store.rows(RawEventRow))

    def outcomes(self) -> list[str]:
        rows = sorted(self.store.outcomes(), key=lambda row: (row.session_id, row.ordinal))
        return [row.outcome.value for row in rows]

    def session(self) -> SessionRow:
        (row,) = self.store.rows(SessionRow)
        assert isinstance(row, SessionRow)
        return row

    def accounted(self) -> None:
        """Stored and dropped are all that was received, by the session's own count."""
        row = self.session()
        assert row.committed_ordinal == self.feed.ordinal
        assert row.committed_records + row.dropped_records == self.feed.ordinal
        assert row.committed_records == len(self.ordinals())


def heartbeat() -> Heartbeat:
    interval = timedelta(seconds=60)
    return Heartbeat(uuid4(), 1, "here", at(0), "up", None, None, 0, 0, 0, interval, interval)
