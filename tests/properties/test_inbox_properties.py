"""The inbox against a model of it: order and conservation, whatever is put, taken and dropped (I1, I13)."""

from collections.abc import Sequence
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from ingestor.domain.records import AnswerReceived, Dropped, Item, Record
from ingestor.pipeline.inbox import Inbox, InboxLimits
from tests.support.items import at, record

STEPS = st.lists(
    st.tuples(st.just("records"), st.lists(st.integers(1, 60), min_size=1, max_size=5))
    | st.tuples(st.just("fact"), st.just([]))
    | st.tuples(st.just("session"), st.just([]))
    | st.tuples(st.just("take"), st.lists(st.integers(1, 80), min_size=2, max_size=2)),
    max_size=30,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(1, 5), st.integers(1, 150))
def test_whatever_is_put_comes_out_once_in_its_order_or_is_admitted_to_be_dropped(
    steps: list[tuple[str, list[int]]], max_records: int, max_bytes: int
) -> None:
    box = Inbox(InboxLimits(max_records, max_bytes, put_timeout_seconds=0.0))
    put: list[Item] = []
    taken: list[Item] = []
    session, ordinal = 1, 0
    for what, numbers in steps:
        if what == "records":
            records = []
            for size in numbers:
                ordinal += 1
                records.append(record(ordinal, b"x" * size, session=UUID(int=session)))
            put += records
            box.put_records(records)
        elif what == "session":
            session, ordinal = session + 1, 0
        elif what == "fact":
            fact = AnswerReceived(f"{len(put)}", at(0))
            put.append(fact)
            box.put(fact)
        else:
            batch = box.take(numbers[0], numbers[1], timeout=0.0)
            assert len(batch) <= numbers[0]
            sizes = [len(item.raw) for item in batch if isinstance(item, Record)]
            assert sum(sizes[:-1]) < numbers[1]
            taken += batch
        level = box.level
        assert level.records <= max_records
        assert level.bytes <= max(max_bytes, 60)
    taken += box.take(10_000, 10_000_000, timeout=0.0)

    _each_once(put, taken)
    _in_order(put, taken)
    dropped = sum(item.count for item in taken if isinstance(item, Dropped))
    assert (box.level.records, box.level.bytes, box.level.dropped) == (0, 0, dropped)


def _place(item: Record) -> tuple[UUID, int]:
    return item.session, item.ordinal


def _of(items: Sequence[Item]) -> list[tuple[UUID, int]]:
    """The place of every record, kept or dropped, in the order in which it came out."""
    places = []
    for item in items:
        if isinstance(item, Record):
            places.append(_place(item))
        elif isinstance(item, Dropped):
            assert item.count == item.last_ordinal - item.first_ordinal + 1
            places += [(item.session, n) for n in range(item.first_ordinal, item.last_ordinal + 1)]
    return places


def _each_once(put: list[Item], taken: list[Item]) -> None:
    assert _of(taken) == [_place(item) for item in put if isinstance(item, Record)]
    facts = [item for item in taken if isinstance(item, AnswerReceived)]
    assert facts == [item for item in put if isinstance(item, AnswerReceived)]


def _in_order(put: list[Item], taken: list[Item]) -> None:
    """A fact stands where it stood among the records that were kept."""
    kept = [item for item in taken if not isinstance(item, Dropped)]
    remaining = iter(put)
    assert all(any(item == each for each in remaining) for item in kept)
    # Nor does it come after records that were dropped after it, unless their run had begun before it.
    for place, item in enumerate(taken):
        if isinstance(item, AnswerReceived):
            before = set(_of(taken[:place]))
            later = [_place(each) for each in put[put.index(item) :] if isinstance(each, Record)]
            assert not before.intersection(later)
