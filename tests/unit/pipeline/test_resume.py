"""Going on where the database stands: its state is taken, and what it lost of our sessions is named.

Invariants I2, I9.
"""

from uuid import UUID

import pytest
from msgspec.structs import replace

from ingestor.domain.content import Content
from ingestor.domain.decision import Policy, Step
from ingestor.domain.gaps import Gap, GapKind
from ingestor.domain.records import CommitsLost, SessionClosed, SessionEnd
from ingestor.domain.streams import EventKey, Kind, StreamKey, StreamState, VersionNumber, Watermark
from ingestor.pipeline.apply import Rules, fold
from ingestor.pipeline.resume import AccountTaken, ends_of_left_sessions, resumed
from ingestor.pipeline.rows import GapRow
from ingestor.pipeline.state import EndedSession, OpenSession, State, Stream
from tests.support.fake_store import FakeStore
from tests.support.feed import Feed
from tests.support.items import SESSION, at, balances, opened

OTHER = UUID("00000000-0000-7000-8000-000000000002")
NOW = at(1_000)
BALANCES = StreamKey(Kind.BALANCES, "user-1")


def session(committed: int = 0, last: float | None = None) -> OpenSession:
    return OpenSession(opened(), committed, None if last is None else at(last))


def sessions(**each: OpenSession) -> State:
    ids = {"first": SESSION, "second": OTHER}
    return State(
        sessions={ids[name]: replace(session, opened=opened(ids[name])) for name, session in each.items()},
        arrivals=77,
    )


def test_where_nothing_was_lost_there_is_nothing_to_say() -> None:
    ours, stored = sessions(first=session(5, 5)), sessions(first=session(5, 5))
    state, facts = resumed(ours, stored)

    assert facts == []
    assert state.sessions == ours.sessions, "with what only we know of it"


def test_a_session_that_somebody_else_has_ended_cannot_be_gone_on_with() -> None:
    ours = sessions(first=session(5, 5))
    closed = SessionClosed(SESSION, at(9), at(5), 5, SessionEnd.UNCLEAN, "process_died")
    with pytest.raises(AccountTaken) as raised:
        resumed(ours, State(ended=(EndedSession(ours.sessions[SESSION], closed),)))

    assert raised.value.exit_code == 75


def test_where_the_database_knows_more_it_is_right() -> None:
    state, facts = resumed(sessions(first=session(5, 5)), sessions(first=session(7, 8)))

    assert facts == []
    assert state.sessions[SESSION] == session(7, 8)


@pytest.mark.parametrize(("last", "since"), [(3.0, 3), (None, 0)])
def test_ordinals_that_it_does_not_have_any_more_are_lost(last: float | None, since: float) -> None:
    _, facts = resumed(sessions(first=session(9, 12)), sessions(first=session(4, last)))

    assert facts == [CommitsLost(SESSION, 5, 9, 5, at(since), at(12))]


@pytest.mark.parametrize("last", [1.0, None])
def test_what_was_lost_does_not_end_before_it_begins(last: float | None) -> None:
    (lost,) = resumed(sessions(first=session(9, last)), sessions(first=session(4, 3)))[1]

    assert isinstance(lost, CommitsLost)
    assert (lost.first_received_at, lost.last_received_at) == (at(3), at(3))


def test_a_session_that_it_does_not_have_any_more_is_opened_again_and_all_of_it_is_lost() -> None:
    state, facts = resumed(sessions(first=session(9, 12)), sessions())

    assert facts == [opened(), CommitsLost(SESSION, 1, 9, 9, at(0), at(12))]
    assert state.sessions == {}, "until the first fact is applied"


def test_a_session_without_records_is_only_opened_again() -> None:
    assert resumed(sessions(first=session()), sessions())[1] == [opened()]


def test_a_session_whose_end_was_lost_is_ended_first() -> None:
    ours, stored = sessions(second=session(9, 12)), sessions(first=session(3, 4))
    state, facts = resumed(ours, stored)

    assert facts == [
        SessionClosed(SESSION, at(4), at(4), 3, SessionEnd.UNCLEAN, "commits_lost"),
        opened(OTHER),
        CommitsLost(OTHER, 1, 9, 9, at(0), at(12)),
    ]
    assert state.sessions == {SESSION: session(3, 4)}


def test_requests_sent_before_confirm_neither_streams_nor_gaps() -> None:
    """They may have been answered from a state that we no longer have."""
    watermark = Watermark(
        VersionNumber(1, 5, 0), Content.stored(b""), EventKey(SESSION, 1, 0), at(1), at(1), False, 0
    )
    gap = Gap(GapKind.DROPPED, SESSION, 1, 0, at(1), at(1), at(1), "inbox_records", frozenset(Kind), 0)
    stored = State(streams={BALANCES: Stream(StreamState(watermark))}, gaps=(gap,))
    feed = Feed()
    feed.apply(feed.opened(), feed.requested("mine"))
    state, _ = resumed(feed.state, stored)

    assert state.streams[BALANCES].state.watermark == replace(watermark, arrival=2)
    assert state.gaps == (replace(gap, arrival=2),)
    assert (state.arrivals, state.requests) == (2, feed.state.requests)


@pytest.mark.parametrize(("lost", "gaps"), [(0, ["sequence_skip"]), (1, [])])
def test_a_push_that_skips_numbers_is_a_gap_as_before_where_none_of_the_stream_was_lost(
    lost: int, gaps: list[str]
) -> None:
    """Else it may be our server that has lost them, and the gap of the lost commits is there for that."""
    feed = Feed(Rules(Policy(Step.CONTIGUOUS)))
    store = FakeStore()
    for item in (feed.opened(), feed.received(balances(5)), feed.received(balances(6))):
        store.write(feed.apply(item))
    store.lose_commits(lost)
    feed.state, facts = resumed(feed.state, store.open())
    feed.state, _ = fold(feed.state, facts, feed.rules)
    batch = feed.apply(feed.received(balances(8)))

    assert [gap.kind for gap in batch.all(GapRow)] == gaps


def test_what_the_database_knows_of_the_account_is_taken() -> None:
    state, _ = resumed(State(), State(account_since=at(-5), ever_connected=True))

    assert (state.account_since, state.ever_connected) == (at(-5), True)


@pytest.mark.parametrize(("committed", "last", "last_message"), [(0, None, 0), (7, 8.0, 8)])
def test_sessions_that_a_dead_process_left_open_end_where_their_last_record_was_received(
    committed: int, last: float | None, last_message: float
) -> None:
    assert ends_of_left_sessions(sessions(first=session(committed, last)), NOW) == [
        SessionClosed(SESSION, NOW, at(last_message), committed, SessionEnd.UNCLEAN, "process_died")
    ]


def test_none_ends_before_it_began_although_the_clock_steps_back() -> None:
    (closed,) = ends_of_left_sessions(sessions(first=session(7, 8)), at(-60))

    assert closed.closed_at == at(0)
