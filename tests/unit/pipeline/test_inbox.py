"""The inbox keeps order, slows the putter down before it drops anything, and never drops in silence."""

import threading
import time

from ingestor.domain.records import Item, Record, Shed
from ingestor.pipeline.inbox import Inbox, InboxLimits
from tests.support.items import SESSION, opened, record


def inbox(records: int = 4, size: int = 10_000, patience: float = 0.0) -> Inbox:
    return Inbox(InboxLimits(max_records=records, max_bytes=size, patience_seconds=patience))


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


def test_the_oldest_records_are_shed_and_the_interval_is_told_in_their_place() -> None:
    box = inbox(records=3)
    box.put_records([record(n) for n in range(1, 6)])

    shed, *kept = drain(box)

    assert shed == Shed(
        session=SESSION,
        first_ordinal=1,
        last_ordinal=2,
        count=2,
        first_received_at=record(1).received_at,
        last_received_at=record(2).received_at,
        limit="inbox_records",
    )
    assert ordinals(kept) == [3, 4, 5]
    assert box.level.shed == 2


def test_facts_are_never_shed_and_keep_their_place_among_the_records() -> None:
    box = inbox(records=2)
    box.put_records([record(1)])
    box.put(opened(seconds=1))
    box.put_records([record(2), record(3), record(4)])

    first, fact, second, *kept = drain(box)

    assert isinstance(first, Shed)
    assert (first.first_ordinal, first.last_ordinal) == (1, 1)
    assert fact == opened(seconds=1)
    assert isinstance(second, Shed)
    assert (second.first_ordinal, second.last_ordinal) == (2, 2)
    assert ordinals(kept) == [3, 4]


def test_bytes_are_a_limit_of_their_own() -> None:
    box = inbox(records=100, size=100)
    box.put_records([record(n, b"x" * 40) for n in (1, 2, 3)])

    shed, *kept = drain(box)

    assert isinstance(shed, Shed)
    assert shed.limit == "inbox_bytes"
    assert ordinals(kept) == [2, 3]


def test_a_record_larger_than_the_inbox_passes_through_an_empty_one() -> None:
    box = inbox(size=10)
    box.put_records([record(1, b"x" * 500)])

    assert ordinals(drain(box)) == [1]


def test_putting_waits_for_room_and_then_loses_nothing() -> None:
    box = inbox(records=2, patience=30)
    putter = threading.Thread(target=box.put_records, args=([record(n) for n in range(1, 7)],))
    putter.start()
    taken: list[Item] = []
    while len(taken) < 6:
        taken += box.take(1, 1_000, timeout=5)
    putter.join(5)

    assert ordinals(taken) == [1, 2, 3, 4, 5, 6]
    assert box.level.shed == 0


def test_patience_is_spent_once_however_many_records_follow() -> None:
    box = inbox(records=1, patience=0.2)
    before = time.monotonic()
    box.put_records([record(n) for n in range(1, 200)])

    assert box.level.shed == 198
    assert time.monotonic() - before < 198 * 0.2 / 2


def test_closing_wakes_whoever_waits() -> None:
    box = inbox()
    taken: list[list[Item]] = []
    taker = threading.Thread(target=lambda: taken.append(box.take(1, 1, timeout=60)))
    taker.start()
    box.close()
    taker.join(5)

    assert taken == [[]]
