"""A tail that is fed as the writer feeds it."""

from collections.abc import Sequence

from ingestor.domain.decision import Outcome
from ingestor.domain.records import Decoded, Item
from ingestor.pipeline.rows import RawEventRow
from ingestor.pipeline.tail import Tail
from tests.support.feed import Feed
from tests.support.items import balances
from tests.support.requesting import ManualClock


class Watched:
    """A feed whose batches a tail takes."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.tail = Tail(self.clock)
        self.feed = Feed()
        self.commit(self.feed.opened())

    def commit(self, *items: Item) -> None:
        """One batch."""
        decoded = self.feed.decoded(items)
        batch = self.feed.apply(*items)
        records = len(batch.all(RawEventRow))
        assert records == sum(isinstance(each, Decoded) for each in decoded)  # what the numbers rest on
        self.tail.add(decoded, batch, records)

    def receive(self, *sequences: int) -> None:
        """One batch of balances, pushed."""
        self.commit(*(self.feed.received(balances(sequence)) for sequence in sequences))

    def seen(self, after: int | None) -> tuple[int, int, Sequence[tuple[int, Outcome]]]:
        """As `read` gives it: the newest number, how many are missed, and the events."""
        newest, missed, events = self.tail.read(after)
        return newest, missed, [(each.number, each.outcome) for each in events]
