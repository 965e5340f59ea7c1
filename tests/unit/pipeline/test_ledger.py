"""Sessions, gaps and commands as rows: every interval without the hub is written down and has an end."""

from uuid import UUID

import pytest
from msgspec.structs import replace

from ingestor.domain.commands import Cause, Command, CommandOutcome
from ingestor.domain.gaps import GapEnd, GapKind
from ingestor.domain.records import SessionEnd
from ingestor.domain.streams import EventKey, Kind
from ingestor.pipeline.batch import Batch, Want
from ingestor.pipeline.booking import Bookkeeper
from tests.support.items import SESSION, at, balances, invocation, pairs
from tests.support.line import Line, only, outcomes

OTHER = UUID("00000000-0000-7000-8000-000000000002")
BOTH = frozenset(Kind)


def answered(line: Line, name: str = "all", sequence: int = 5) -> Batch:
    """Both commands, asked and answered."""
    return line.book(
        line.asked(f"{name}-b"),
        line.asked(f"{name}-p", Command.GET_PAIRS),
        line.heard(balances(sequence, client_id=f"{name}-b")),
        line.heard(pairs(["BTCUSDT"], client_id=f"{name}-p")),
    )


def endings(batch: Batch) -> list[GapEnd | None]:
    return [gap.end for gap in batch.gaps.values()]


@pytest.fixture
def line() -> Line:
    """In its first session, with both snapshots known."""
    line = Line()
    line.book(line.opened())
    answered(line, "first")
    return line


# --- sessions ---


def test_the_time_before_the_first_session_is_an_explained_gap() -> None:
    line = Line()
    line.books.account_since = at(-60)
    gap = only(line.book(line.opened(None, "http_503")))

    assert (gap.kind, gap.cause, gap.end) == (GapKind.DISCONNECTED, "before_first_session", GapEnd.EXPLAINED)
    assert (gap.missed_from, gap.missed_until, gap.obstacles) == (at(-60), at(1), ("http_503",))
    assert line.books.open_gaps == []


def test_a_lost_link_is_a_gap_from_the_last_sign_of_the_hub(line: Line) -> None:
    batch = line.book(line.closed("silent", later=30))
    gap = only(batch)

    assert [closed.cause for closed in batch.closed] == ["silent"]
    assert (gap.kind, gap.cause, gap.ordinal) == (GapKind.DISCONNECTED, "silent", 3)
    assert (gap.missed_from, gap.missed_until, gap.opened_at) == (at(5), None, at(35))
    assert (gap.end, gap.awaiting) == (None, BOTH)


def test_a_process_that_died_leaves_an_unclean_end(line: Line) -> None:
    gap = only(line.book(line.closed("process_died", SessionEnd.UNCLEAN)))

    assert (gap.kind, gap.cause) == (GapKind.UNCLEAN_END, "process_died")


def test_a_link_that_is_back_bounds_the_gap_and_two_fresh_answers_heal_it(line: Line) -> None:
    line.book(line.closed())
    bounded = only(line.book(line.opened(OTHER, "http_503", "dns")))
    assert (bounded.missed_until, bounded.obstacles) == (line.now, ("http_503", "dns"))
    assert bounded.end is None

    half = only(line.book(line.asked("b"), line.heard(balances(6, client_id="b"))))
    assert (half.end, half.awaiting) == (None, frozenset({Kind.PAIRS}))

    whole = only(line.book(line.asked("p", Command.GET_PAIRS), line.heard(pairs(["BTCUSDT"], client_id="p"))))
    assert (whole.end, whole.ended_at) == (GapEnd.HEALED, line.now)
    assert whole.proof == EventKey(OTHER, 2, 0)
    assert line.books.open_gaps == []


def test_what_is_only_pushed_after_the_link_is_back_heals_nothing(line: Line) -> None:
    line.book(line.closed())
    line.book(line.opened(OTHER))
    batch = line.book(line.heard(balances(6)), line.heard(pairs(["BTCUSDT"])))

    assert outcomes(batch) == ["applied", "duplicate"]
    assert len(line.books.open_gaps) == 1


def test_a_link_that_flaps_has_one_gap_for_each_loss_and_all_of_them_end(line: Line) -> None:
    line.book(line.closed())
    line.book(line.opened(OTHER))
    line.book(line.closed())
    line.book(line.opened(UUID(int=3)))
    assert len(line.books.open_gaps) == 2

    batch = answered(line, sequence=6)
    assert endings(batch) == [GapEnd.HEALED, GapEnd.HEALED]


def test_a_gap_that_comes_and_goes_within_one_batch_is_one_row_with_its_end(line: Line) -> None:
    batch = line.book(
        line.closed(),
        line.opened(OTHER),
        line.asked("b"),
        line.asked("p", Command.GET_PAIRS),
        line.heard(balances(6, client_id="b")),
        line.heard(pairs(["BTCUSDT"], client_id="p")),
    )

    assert only(batch).end is GapEnd.HEALED
    told = [notice.event for notice in batch.notices if notice.event.startswith("gap_")]
    assert told == ["gap_opened", "gap_ended"]


# --- what we dropped ourselves ---


def test_what_is_shed_is_counted_admitted_and_asked_for_again(line: Line) -> None:
    batch = line.book(line.heard(balances(6)), line.shed(10), line.heard(balances(17)))
    progress = batch.progress[SESSION]
    gap = batch.gaps[SESSION, 4, 0, "shed"]

    assert (progress.records, progress.shed) == (2, 10)
    assert (progress.first_ordinal, progress.last_ordinal) == (3, 14)
    assert batch.counts["shed"] == 10
    assert (gap.cause, gap.first_missing, gap.last_missing) == ("inbox_records", 4, 13)
    assert gap.awaiting == BOTH
    assert {Want(command, Cause.GAP) for command in Command} <= set(batch.wants)


def test_what_is_shed_while_the_clock_steps_back_does_not_end_before_it_begins(line: Line) -> None:
    shed = line.shed(2)
    batch = line.book(replace(shed, last_received_at=at(-3600)))
    gap = only(batch)

    assert (gap.missed_from, gap.missed_until, gap.opened_at) == (line.now, line.now, line.now)
    assert batch.progress[SESSION].last_received_at == line.now


def test_fresh_answers_heal_what_was_shed(line: Line) -> None:
    line.book(line.shed())

    assert endings(answered(line)) == [GapEnd.HEALED]


def test_the_open_gaps_are_added_to_and_not_made_anew_for_each(line: Line) -> None:
    """A record can bring a hundred of them, and a batch a thousand such records."""
    keeper = Bookkeeper(line.books.copy(), line.rules)
    gaps = keeper.books.open_gaps
    keeper.book([line.heard(invocation(*[{}] * 100))])

    assert keeper.books.open_gaps is gaps
    assert len(gaps) == 100


def test_a_batch_that_is_not_committed_leaves_the_books_as_they_were(line: Line) -> None:
    before = line.books
    line.book(line.heard(b"unreadable"))
    assert [len(line.books.open_gaps), len(before.open_gaps)] == [1, 0]


# --- commands ---


def test_an_ask_is_on_record_before_its_answer(line: Line) -> None:
    row = line.book(line.asked("mine")).commands["mine"]

    assert (row.command, row.cause, row.attempt) == ("GetBalances", "schedule", 1)
    assert (row.asked_at, row.outcome, row.settled_at) == (line.now, None, None)


def test_an_ask_that_ends_without_an_answer_says_how(line: Line) -> None:
    line.book(line.asked("mine"))
    batch = line.book(line.settled("mine", CommandOutcome.REFUSED, error="no permission", final=False))
    row = batch.commands["mine"]

    assert (row.outcome, row.error, row.settled_at) == ("refused", "no permission", line.now)
    (notice,) = batch.notices
    assert (notice.event, notice.facts["final"]) == ("command_failed", False)


def test_an_answer_that_overtook_the_deadline_stands(line: Line) -> None:
    line.book(line.asked("mine"), line.heard(balances(6, client_id="mine")))
    batch = line.book(line.settled("mine"))

    assert not batch.commands
    assert not batch.notices


def test_a_command_that_is_finally_not_answered_loses_the_gap_it_would_have_healed(line: Line) -> None:
    line.book(line.heard(balances(9)), line.asked("mine"))
    batch = line.book(line.settled("mine", final=True))

    assert (only(batch).end, only(batch).ended_at) == (GapEnd.LOST, line.now)
    assert line.books.open_gaps == []


def test_one_command_that_is_finally_not_answered_waits_for_the_other(line: Line) -> None:
    line.book(line.closed(), line.opened(OTHER), line.asked("b"), line.asked("p", Command.GET_PAIRS))
    assert endings(line.book(line.settled("p"))) == [None]
    lost = only(line.book(line.heard(balances(6, client_id="b"))))

    assert lost.end is GapEnd.LOST
    assert lost.awaiting == {Kind.PAIRS}


def test_a_command_that_is_tried_again_loses_nothing(line: Line) -> None:
    line.book(line.heard(balances(9)), line.asked("mine"))

    assert not line.book(line.settled("mine", final=False)).gaps
    assert len(line.books.open_gaps) == 1


def test_a_command_from_before_the_gap_cannot_lose_it(line: Line) -> None:
    line.book(line.asked("mine"), line.heard(balances(9)))

    assert not line.book(line.settled("mine", final=True)).gaps


def test_settled_asks_are_remembered_for_their_late_answers_but_not_for_ever(line: Line) -> None:
    for n in range(200):
        line.book(line.asked(f"{n}"), line.settled(f"{n}", final=False))

    assert len(line.books.asks) < 100
    late = line.book(line.heard(balances(6, client_id="199")))
    assert late.answered == ["199"]


def test_an_end_that_nobody_asked_for_is_no_row(line: Line) -> None:
    line.commands["foreign"] = Command.GET_PAIRS
    batch = line.book(line.settled("foreign"))

    assert not batch.commands
