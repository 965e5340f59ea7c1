"""The inbox keeps order, slows the putter down before it drops anything, and never drops in silence (I13)."""

import threading
import time
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from ingestor.domain.records import Dropped, Item, Record, SessionOpened
from ingestor.pipeline.inbox import Inbox, InboxLimits
from tests.support.items import SESSION, opened, record

OTHER = UUID("00000000-0000-7000-8000-000000000002")


def inbox(records: int = 4, size: int = 10_000, put_timeout: float = 0.0) -> Inbox:
    return Inbox(InboxLimits(max_records=records, max_bytes=size, put_timeout_seconds=put_timeout))


def drain(box: Inbox) -> list[Item]:
    return box.take(1_000, 1_000_000, timeout=0)


def ordinals(items: list[Item]) -> list[int]:
    return [item.ordinal for item in items if isinstance(item, Record)]


def test_items_leave_in_the_order_in_which_they_came() -> None:
    box = inbox()
    box.put(opened())
    box.put_records([record(1), record(2)])
    box.put(opened(seconds=9))
    box.put_records([record(3)])

    assert drain(box) == [opened(), record(1), record(2), opened(seconds=9), record(3)]


def test_a_batch_is_limited_by_records_and_the_rest_stays() -> None:
    box = inbox()
    box.put_records([record(n) for n in (1, 2, 3)])

    assert ordinals(box.take(2, 1_000_000, timeout=0)) == [1, 2]
    assert ordinals(drain(box)) == [3]


def test_a_batch_is_limited_by_bytes_but_never_empty() -> None:
    box = inbox()
    box.put_records([record(1, b"x" * 50), record(2, b"x" * 50)])

    assert ordinals(box.take(10, 40, timeout=0)) == [1]


def test_the_oldest_records_are_dropped_and_the_interval_is_told_in_their_place() -> None:
    """Invariants I1, I2."""
    box = inbox(records=3)
    box.put_records([record(n) for n in range(1, 6)])

    dropped, *kept = drain(box)

    assert dropped == Dropped(
        session=SESSION,
        first_ordinal=1,
        last_ordinal=2,
        count=2,
        first_received_at=record(1).received_at,
        last_received_at=record(2).received_at,
        cause="inbox_records",
    )
    assert ordinals(kept) == [3, 4, 5]
    assert box.level.dropped == 2


def test_facts_are_never_dropped_and_a_run_that_was_dropped_around_them_follows_as_one() -> None:
    box = inbox(records=2)
    box.put_records([record(1)])
    box.put(opened(seconds=1))
    box.put_records([record(2), record(3), record(4)])

    fact, dropped, *kept = drain(box)

    assert fact == opened(seconds=1)
    assert isinstance(dropped, Dropped)
    assert (dropped.first_ordinal, dropped.last_ordinal, dropped.count) == (1, 2, 2)
    assert ordinals(kept) == [3, 4]


def test_a_fact_that_came_after_what_was_dropped_follows_it() -> None:
    box = inbox(records=1)
    box.put_records([record(1), record(2)])
    box.put(opened(seconds=1))

    assert [type(item) for item in drain(box)] == [Dropped, Record, SessionOpened]


def test_what_is_dropped_of_two_sessions_or_with_kept_records_between_is_two_runs() -> None:
    box = inbox(records=1)
    box.put_records([record(7), record(1, session=OTHER), record(2, session=OTHER)])
    first, second, _ = drain(box)
    assert isinstance(first, Dropped)
    assert isinstance(second, Dropped)
    assert [(each.session, each.first_ordinal, each.count) for each in (first, second)] == [
        (SESSION, 7, 1),
        (OTHER, 1, 1),
    ]

    box.put_records([record(3, session=OTHER), record(4, session=OTHER)])
    third, _ = drain(box)
    assert isinstance(third, Dropped)
    assert (third.first_ordinal, third.count) == (3, 1)
    assert box.level.dropped == 3


def test_a_gap_between_ordinals_is_not_claimed_to_have_been_dropped() -> None:
    box = inbox(records=1)
    box.put_records([record(1), record(3), record(4)])

    assert [
        (each.first_ordinal, each.last_ordinal) for each in drain(box)[:2] if isinstance(each, Dropped)
    ] == [
        (1, 1),
        (3, 3),
    ]


def test_bytes_are_a_limit_of_their_own() -> None:
    box = inbox(records=100, size=100)
    box.put_records([record(n, b"x" * 40) for n in (1, 2, 3)])

    dropped, *kept = drain(box)

    assert isinstance(dropped, Dropped)
    assert dropped.cause == "inbox_bytes"
    assert ordinals(kept) == [2, 3]


def test_a_record_larger_than_the_inbox_passes_through_an_empty_one() -> None:
    box = inbox(size=10)
    box.put_records([record(1, b"x" * 500)])

    assert ordinals(drain(box)) == [1]


def test_the_limits_are_what_still_fits() -> None:
    box = inbox(records=2, size=80)
    box.put_records([record(1, b"x" * 40), record(2, b"x" * 40)])
    level = box.level

    assert (level.records, level.bytes, level.dropped) == (2, 80, 0)
    assert ordinals(drain(box)) == [1, 2]
    level = box.level
    assert (level.records, level.bytes, level.dropped) == (0, 0, 0)


def test_what_was_dropped_takes_no_room() -> None:
    box = inbox(records=100, size=100)
    box.put_records([record(n, b"x" * 50) for n in range(1, 8)])

    assert (box.level.records, box.level.bytes, box.level.dropped) == (2, 100, 5)


def test_dropping_is_logged_when_it_starts_and_when_it_ends_and_counted_each_time() -> None:
    box = inbox(records=2)
    with capture_logs() as logs:
        box.put_records([record(n) for n in range(1, 6)])
        drain(box)
        drain(box)
        box.put_records([record(n) for n in range(6, 10)])
        drain(box)

    assert logs == [
        {"event": "dropping_started", "log_level": "error", "limit": "inbox_records", "waiting_records": 2},
        {"event": "dropping_ended", "log_level": "warning", "dropped": 3},
        {"event": "dropping_started", "log_level": "error", "limit": "inbox_records", "waiting_records": 2},
        {"event": "dropping_ended", "log_level": "warning", "dropped": 2},
    ]


def test_putting_waits_for_room_and_then_loses_nothing() -> None:
    box = inbox(records=2, put_timeout=30)
    putter = threading.Thread(target=box.put_records, args=([record(n) for n in range(1, 7)],))
    putter.start()
    taken: list[Item] = []
    while len(taken) < 6:
        taken += box.take(1, 1_000, timeout=5)
    putter.join(5)

    assert ordinals(taken) == [1, 2, 3, 4, 5, 6]
    assert box.level.dropped == 0


def test_the_put_timeout_is_waited_once_however_many_records_follow() -> None:
    box = inbox(records=1, put_timeout=0.2)
    before = time.monotonic()
    box.put_records([record(n) for n in range(1, 200)])

    assert box.level.dropped == 198
    assert time.monotonic() - before < 198 * 0.2 / 2


def test_healthy_traffic_logs_nothing() -> None:
    box = inbox()
    with capture_logs() as logs:
        box.put_records([record(1)])
        drain(box)

    assert logs == []


@pytest.mark.parametrize("what", ["fact", "record", "records that are dropped"])
def test_whoever_waits_for_something_gets_it_at_once(what: str) -> None:
    box = inbox(records=1)
    taken: list[list[Item]] = []
    taker = threading.Thread(target=lambda: taken.append(box.take(1, 1, timeout=60)))
    taker.start()
    if what == "fact":
        box.put(opened())
    else:
        box.put_records([record(1), record(2)][: 1 + what.endswith("dropped")])
    taker.join(5)

    assert len(taken) == 1
    assert len(taken[0]) == 1


def test_closing_wakes_whoever_waits() -> None:
    box = inbox()
    taken: list[list[Item]] = []
    taker = threading.Thread(target=lambda: taken.append(box.take(1, 1, timeout=60)))
    taker.start()
    box.close()
    taker.join(5)

    assert taken == [[]]


def test_closing_wakes_whoever_waits_for_room() -> None:
    box = inbox(records=1, put_timeout=60)
    putter = threading.Thread(target=box.put_records, args=([record(1), record(2)],))
    putter.start()
    box.close()
    putter.join(5)

    assert not putter.is_alive()
    assert box.level.dropped == 1


def test_the_put_timeout_begins_anew_once_the_writer_takes_again() -> None:
    box = inbox(records=1, put_timeout=0.01)
    box.put_records([record(1), record(2)])
    assert box.level.dropped == 1
    drain(box)
    box._limits = InboxLimits(max_records=1, put_timeout_seconds=30)
    putter = threading.Thread(target=box.put_records, args=([record(3), record(4)],))
    putter.start()
    taken = ordinals(box.take(1, 1_000, timeout=5)) + ordinals(box.take(1, 1_000, timeout=5))
    putter.join(5)

    assert taken == [3, 4]
    assert box.level.dropped == 1
