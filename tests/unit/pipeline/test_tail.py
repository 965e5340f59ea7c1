"""What is kept for whoever watches: everything in order, within limits, and nothing while nobody watches."""

import pytest

from ingestor.domain.decision import Outcome
from ingestor.pipeline import tail as module
from ingestor.pipeline.tail import WATCHED_SECONDS
from tests.support.tailing import Watched


def test_a_reader_sees_what_comes_after_it_has_begun_each_once() -> None:
    here = Watched()
    here.receive(1)
    assert here.seen(None) == (1, 0, [])

    here.receive(2, 2)
    here.receive(1)

    applied, duplicate, stale = Outcome.APPLIED, Outcome.DUPLICATE, Outcome.STALE
    assert here.seen(1) == (4, 0, [(2, applied), (3, duplicate), (4, stale)])
    assert here.seen(2) == (4, 0, [(3, duplicate), (4, stale)])
    assert here.seen(4) == (4, 0, [])


def test_what_a_slow_reader_misses_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """I13."""
    monkeypatch.setattr(module, "MOST_RECORDS", 4)
    here = Watched()
    here.seen(None)
    for sequence in range(1, 11):
        here.receive(sequence)

    newest, missed, events = here.seen(0)

    assert (newest, missed, [number for number, _ in events]) == (10, 6, [7, 8, 9, 10])


def test_the_bytes_kept_are_limited_and_a_batch_is_kept_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """I13."""
    monkeypatch.setattr(module, "MOST_BYTES", 1)
    here = Watched()
    here.seen(None)
    here.receive(1, 2)
    here.receive(3, 4, 5)

    assert [number for number, _ in here.seen(0)[2]] == [3, 4, 5]
    assert here.seen(0)[1] == 2


def test_nothing_is_kept_once_nobody_watches() -> None:
    here = Watched()
    here.seen(None)
    here.receive(1)
    here.clock.seconds += WATCHED_SECONDS
    here.receive(2)

    assert not here.tail._batches
    assert here.seen(0) == (2, 2, [])
    here.receive(3)
    assert here.seen(2) == (3, 0, [(3, Outcome.APPLIED)])


def test_a_reader_that_knows_more_than_there_is_has_missed_nothing() -> None:
    here = Watched()
    here.receive(1)
    assert here.seen(99) == (1, 0, [])
