"""Where sessions stand after a batch: the rows that count every record once, and guard the next batch.

Invariant I1.
"""

from uuid import UUID

import pytest
from msgspec.structs import astuple, replace

from ingestor.domain.records import CommitsLost, SessionEnd
from ingestor.pipeline.apply import Rules
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.rows import SessionProgressRow, SessionRow
from ingestor.pipeline.state import OpenSession
from tests.support.feed import Feed
from tests.support.items import SESSION, at, balances

OTHER = UUID("00000000-0000-7000-8000-000000000002")
OPEN = (None,) * 6


@pytest.fixture
def feed() -> Feed:
    """In its first session."""
    feed = Feed()
    feed.apply(feed.opened())
    return feed


def progress(batch: Batch) -> SessionProgressRow:
    (row,) = batch.all(SessionProgressRow)
    return row


def counts(row: SessionProgressRow) -> tuple[int, int, int, int]:
    """First and last ordinal, and how many records are added as stored and as dropped."""
    return row.first_ordinal, row.committed_ordinal, row.committed_records, row.dropped_records


def test_a_session_that_begins_is_a_row_of_its_own() -> None:
    feed = Feed(Rules(software_version="4.5"))
    opened = replace(feed.opened(None, "http_503", "dns"), clock_offset_seconds=-0.25)
    batch = feed.apply(opened)

    assert [astuple(row) for row in batch.all(SessionRow)] == [
        (
            *(SESSION, at(1), 0, 0, 0, None, *OPEN),
            *("wss://hub.invalid/hub", 3, ("http_503", "dns"), "4.5", -0.25),
        )
    ]
    assert not batch.all(SessionProgressRow)
    assert feed.state.sessions == {SESSION: OpenSession(opened)}
    assert feed.state.ever_connected


def test_a_batch_begins_one_above_where_the_one_before_ended(feed: Feed) -> None:
    first = feed.apply(feed.received(balances(1)), feed.received(balances(2)))
    second = feed.apply(feed.received(balances(3)))

    assert counts(progress(first)) == (1, 2, 2, 0)
    assert counts(progress(second)) == (3, 3, 1, 0)
    assert (progress(second).opened_at, progress(second).last_received_at) == (at(1), at(4))
    assert astuple(progress(second))[-7:-1] == OPEN
    session = feed.state.sessions[SESSION]
    assert (session.committed_ordinal, session.last_received_at) == (3, at(4))


def test_what_was_dropped_and_what_was_lost_are_counted_as_dropped(feed: Feed) -> None:
    batch = feed.apply(
        feed.received(balances(1)), feed.dropped(10), feed.received(balances(2)), feed.dropped(3)
    )
    assert counts(progress(batch)) == (1, 15, 2, 13)
    assert progress(batch).last_received_at == feed.now

    lost = feed.apply(CommitsLost(SESSION, 16, 20, 5, at(5), at(50)))
    assert counts(progress(lost)) == (16, 20, 0, 5)
    assert progress(lost).last_received_at == at(50)


def test_the_last_receipt_is_the_latest_whatever_the_clock_does(feed: Feed) -> None:
    batch = feed.apply(
        feed.received(balances(1), later=100), feed.received(balances(2), later=-50), feed.dropped()
    )

    assert progress(batch).last_received_at == at(101)
    later = feed.apply(feed.received(balances(3), later=-3600))
    assert progress(later).last_received_at == feed.state.sessions[SESSION].last_received_at == at(101)


def test_requests_alone_move_no_session(feed: Feed) -> None:
    batch = feed.apply(feed.requested("mine"), feed.ended("mine"))

    assert not batch.all(SessionRow)
    assert not batch.all(SessionProgressRow)


def test_a_session_that_closes_says_how(feed: Feed) -> None:
    feed.apply(feed.received(balances(1)))
    received_at = feed.now
    batch = feed.apply(replace(feed.closed("silent", later=30), detail="no ping"))
    row = progress(batch)

    assert counts(row) == (2, 1, 0, 0)
    assert row.last_received_at == received_at
    assert astuple(row)[-7:-1] == (feed.now, received_at, 1, "link_lost", "silent", "no ping")
    assert feed.state.sessions == {}


def test_records_and_the_close_in_one_batch_are_one_row(feed: Feed) -> None:
    row = progress(feed.apply(feed.received(balances(1)), feed.received(balances(2)), feed.closed()))

    assert counts(row) == (1, 2, 2, 0)
    assert (row.closed_at, row.received) == (feed.now, 2)


def test_a_session_that_begins_and_ends_in_one_batch_is_one_row() -> None:
    feed = Feed()
    batch = feed.apply(
        feed.opened(), feed.received(balances(1)), feed.dropped(4), feed.closed("stopped", SessionEnd.CLEAN)
    )
    (row,) = batch.all(SessionRow)

    assert not batch.all(SessionProgressRow)
    assert (row.committed_ordinal, row.committed_records, row.dropped_records) == (5, 1, 4)
    assert row.last_received_at == at(3)
    assert (row.closed_at, row.last_message_at, row.received) == (feed.now, at(3), 5)
    assert (row.ending, row.cause, row.detail) == ("clean", "stopped", None)
    assert feed.state.sessions == {}


def test_two_sessions_in_one_batch_have_a_row_each(feed: Feed) -> None:
    batch = feed.apply(
        feed.received(balances(1)),
        feed.closed(),
        feed.opened(OTHER),
        feed.received(balances(2)),
        feed.received(balances(3)),
    )
    (opened,) = batch.all(SessionRow)

    assert counts(progress(batch)) == (1, 1, 1, 0)
    assert (opened.session_id, opened.committed_ordinal, opened.committed_records) == (OTHER, 2, 2)
    assert set(feed.state.sessions) == {OTHER}


def test_records_of_two_sessions_may_alternate(feed: Feed) -> None:
    """A session that a dead process left open is closed while the first one of this process is opened."""
    first = feed.received(balances(1))
    opened = feed.opened(OTHER)
    second = feed.received(balances(2))
    later = replace(first, ordinal=2)
    batch = feed.apply(first, opened, second, later)

    assert counts(progress(batch)) == (1, 2, 2, 0)
    assert [row.committed_records for row in batch.all(SessionRow)] == [1]


def test_a_session_that_an_earlier_process_opened_is_closed_by_this_one() -> None:
    feed = Feed()
    opened = replace(feed.opened(), opened_at=at(-9))
    feed.state = replace(feed.state, sessions={SESSION: OpenSession(opened, 7, at(-1))})
    feed.ordinal = 7
    row = progress(feed.apply(feed.closed("process_died", SessionEnd.UNCLEAN)))

    assert (row.opened_at, *counts(row)) == (at(-9), 8, 7, 0, 0)
    assert row.ending == "unclean"
    assert feed.state.sessions == {}


def test_records_of_a_session_that_was_never_opened_are_a_bug() -> None:
    feed = Feed()
    with pytest.raises(AssertionError, match="never opened"):
        feed.apply(feed.received(balances(1)))
