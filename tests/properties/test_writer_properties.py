"""Whatever fails between the writer and its database, nothing that was received is lost without a word.

Invariants I1, I3.
"""

from collections import Counter
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from ingestor.domain.errors import TooSlow, Transient
from ingestor.domain.records import Record
from ingestor.domain.streams import Kind, StreamKey
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.rows import GapRow, OutcomeRow, RawEventRow, SessionRow, WatermarkRow
from tests.support.fake_store import FakeStore
from tests.support.feed import USER
from tests.support.items import balances
from tests.support.writing import Writing

BALANCES = StreamKey(Kind.BALANCES, USER)
WORK = st.lists(
    st.tuples(st.just("records"), st.integers(1, 8))
    | st.tuples(st.sampled_from(["request", "drop", "reconnect", "write", "write"]), st.just(1)),
    min_size=1,
    max_size=25,
)
FAULTS = st.lists(
    st.sampled_from([None, None, "away", "slow", "stored", "not stored", "in flight"]), max_size=30
)
HARM = st.lists(st.sampled_from(["lose 1", "lose 3", "lose 100", "move 3", "move 1000"]), max_size=4)


def work(made: Writing, steps: list[tuple[str, int]]) -> list[Record]:
    """Receive all of this, and write it now and then."""
    received: list[Record] = []
    sessions = 1
    for what, count in steps:
        if what == "records":
            for _ in range(count):
                record = made.feed.received(balances(len(received)))
                received.append(record)
                made.put(record)
        elif what == "request":
            made.put(made.feed.requested(f"{len(received)} {made.feed.seconds}"))
        elif what == "drop":
            made.put(made.feed.dropped(2))
        elif what == "reconnect":
            sessions += 1
            made.put(made.feed.closed(), made.feed.opened(UUID(int=sessions)))
        else:
            made.turn()
        made.clock.seconds = made.feed.seconds
    # What was lost comes to light with the next record at the latest.
    received.append(made.feed.received(balances(len(received))))
    made.turn(received[-1])
    return received


class Trouble:
    """What befalls the store, one attempt to write after another."""

    def __init__(self, store: FakeStore, faults: list[str | None], harm: list[str], spacing: int) -> None:
        self.store = store
        self.faults = faults
        self.harm = harm
        self.spacing = spacing
        self.attempts = 0

    def before_write(self, batch: Batch) -> None:
        self.attempts += 1
        self.store.in_flight = False
        if self.harm and self.attempts % self.spacing == 0:
            self.do_harm(self.harm.pop())
        elif self.faults:
            self.fail(self.faults.pop())

    def do_harm(self, what: str) -> None:
        if what.startswith("lose"):
            # The very first session stays on record: what was lost before it can be told by nobody.
            self.store.lose_commits(min(int(what.split()[1]), self.store.commits - 1))
        elif self.store.rows(WatermarkRow):
            self.store.move(BALANCES, int(what.split()[1]))

    def fail(self, what: str | None) -> None:
        if what == "away":
            raise Transient("away")
        if what == "slow":
            raise TooSlow("slow")
        if what is not None:
            self.store.unknown = [what != "not stored"]
            self.store.in_flight = what == "in flight"


@settings(max_examples=250, deadline=None)
@given(WORK, FAULTS, HARM, st.integers(2, 8), st.sampled_from([0, 7, 13]))
def test_everything_that_was_received_is_stored_once_or_lies_in_a_gap(
    steps: list[tuple[str, int]],
    faults: list[str | None],
    harm: list[str],
    spacing: int,
    rejected: int,
) -> None:
    made = Writing()
    store = made.store
    made.turn(made.feed.opened(UUID(int=1)))
    if harm:  # while a batch is being halved, it is the next start that makes good what is lost besides
        faults, rejected = [fault for fault in faults if fault != "slow"], 0
    store.before_write = Trouble(store, faults, harm, spacing).before_write
    store.rejects = lambda row: (
        rejected > 0 and isinstance(row, OutcomeRow) and (row.sequence or 0) % rejected == rejected - 1
    )
    received = work(made, steps)
    made.writer._committer.end()

    stored = {(row.session_id, row.ordinal) for row in store.rows(RawEventRow)}
    assert stored <= {(record.session, record.ordinal) for record in received}
    assert {(row.session_id, row.ordinal) for row in store.outcomes()} == stored
    gaps = store.rows(GapRow)
    # Of a session that is over, and whose end or whose beginning was lost with no later commit that leans on
    # it, nobody here knows any more. The next start ends what is open, with a gap to its name.
    known = {row.session_id for row in store.rows(SessionRow) if row.closed_at is not None}
    known.add(made.feed.session)
    for record in received:
        if (record.session, record.ordinal) not in stored and record.session in known:
            assert any(
                gap.missed_from <= record.received_at <= (gap.missed_until or record.received_at)
                for gap in gaps
            ), "lost without a word"
    kept = Counter(session for session, _ in stored)
    for session in store.rows(SessionRow):
        assert session.committed_records + session.dropped_records == session.committed_ordinal
        assert session.committed_records == kept[session.session_id]
    assert made.writer.state.sessions[made.feed.session].committed_ordinal == made.feed.ordinal
