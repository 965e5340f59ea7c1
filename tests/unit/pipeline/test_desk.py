"""The command desk: every ask is on record before it is sent, is settled once, and is retried with bounds."""

import random
import threading
from collections.abc import Iterator
from uuid import UUID, uuid4

import pytest

from ingestor.adapters.clock import SystemClock
from ingestor.domain.commands import (
    ArgumentForm,
    Cause,
    Command,
    CommandAsked,
    CommandOutcome,
    CommandSettled,
)
from ingestor.domain.errors import LinkDown
from ingestor.domain.records import Item
from ingestor.pipeline.desk import CommandDesk, DeskRules
from tests.support.items import SESSION, record
from tests.support.waiting import eventually

BINDING_FAILURE = "Failed to invoke 'GetBalances' due to an error on the server."


class SpyHub:
    """A hub that takes whatever it is asked; it answers only when the test says so."""

    def __init__(self) -> None:
        self.asked: list[tuple[Command, str, ArgumentForm]] = []
        self.down = False

    def ask(self, session: UUID, command: Command, command_id: str, form: ArgumentForm) -> None:
        if self.down:
            raise LinkDown("no link")
        self.asked.append((command, command_id, form))


class Desk:
    """A desk with its surroundings."""

    def __init__(self, rules: DeskRules) -> None:
        self.hub = SpyHub()
        self.line: list[Item] = []
        self._lock = threading.Lock()
        self.desk = CommandDesk(self.hub, self._record, SystemClock(), rules, random.Random(1))

    def _record(self, item: Item) -> None:
        with self._lock:
            self.line.append(item)

    def asks(self, command: Command) -> list[CommandAsked]:
        return [item for item in self.line if isinstance(item, CommandAsked) and item.command is command]

    def ends(self, command_id: str) -> list[CommandSettled]:
        return [
            item for item in self.line if isinstance(item, CommandSettled) and item.command_id == command_id
        ]

    def up(self) -> None:
        self.desk.link_up(SESSION)
        eventually(lambda: len(self.hub.asked) >= 2)

    def answer_all(self) -> None:
        for _, command_id, _ in list(self.hub.asked):
            self.desk.answered(command_id)


@pytest.fixture
def make_desk() -> Iterator[type[Desk]]:
    made: list[Desk] = []

    class Started(Desk):
        def __init__(self, rules: DeskRules) -> None:
            super().__init__(rules)
            made.append(self)
            self.desk.start()

    yield Started
    for each in made:
        each.desk.stop(5)
        assert not each.desk.alive()


QUICK = DeskRules(
    reply_deadline_seconds=0.1, commit_patience_seconds=0.3, retry_cap_seconds=0.05, spacing_seconds=0.05
)
PATIENT = DeskRules(reply_deadline_seconds=60, spacing_seconds=0.05)


def test_link_up_asks_for_both_snapshots_and_says_so_first(make_desk: type[Desk]) -> None:
    desk = make_desk(PATIENT)
    desk.up()

    assert {command for command, _, _ in desk.hub.asked} == set(Command)
    for command in Command:
        (asked,) = desk.asks(command)
        assert asked.cause is Cause.LINK_UP
        assert len(asked.command_id) <= 36
        assert asked.command_id in {command_id for _, command_id, _ in desk.hub.asked}


def test_nothing_is_asked_without_a_link(make_desk: type[Desk]) -> None:
    desk = make_desk(PATIENT)
    desk.desk.ask(Command.GET_PAIRS, Cause.SCHEDULE)
    desk.up()

    assert [asked.cause for asked in desk.asks(Command.GET_PAIRS)] == [Cause.LINK_UP]


def test_wants_that_meet_before_sending_become_one_ask(make_desk: type[Desk]) -> None:
    desk = make_desk(DeskRules(reply_deadline_seconds=60, spacing_seconds=0.3))
    desk.up()
    desk.answer_all()
    for _ in range(20):
        desk.desk.ask(Command.GET_BALANCES, Cause.GAP)
    eventually(lambda: len(desk.asks(Command.GET_BALANCES)) == 2)

    assert len(desk.hub.asked) == 3


def test_an_unanswered_ask_is_retried_with_a_fresh_id_and_given_up_after_three(make_desk: type[Desk]) -> None:
    desk = make_desk(QUICK)
    desk.up()
    eventually(lambda: len(desk.asks(Command.GET_PAIRS)) == 3)
    last = desk.asks(Command.GET_PAIRS)[-1]
    (end,) = eventually(lambda: desk.ends(last.command_id))

    assert end.outcome is CommandOutcome.TIMED_OUT
    assert end.final
    asks = desk.asks(Command.GET_PAIRS)
    assert [asked.attempt for asked in asks] == [1, 2, 3]
    assert len({asked.command_id for asked in asks}) == 3
    assert [desk.ends(asked.command_id)[0].final for asked in asks] == [False, False, True]


def test_an_answer_on_its_way_through_the_writer_is_not_taken_for_silence(make_desk: type[Desk]) -> None:
    desk = make_desk(
        DeskRules(reply_deadline_seconds=0.1, commit_patience_seconds=60, retry_cap_seconds=0.01)
    )
    desk.up()
    ids = [command_id for _, command_id, _ in desk.hub.asked]
    desk.desk.hear([record(n, command_id.encode()) for n, command_id in enumerate(ids, 1)])
    stop = threading.Event()
    stop.wait(0.4)  # four deadlines long: the time in which a wrong retry would come

    assert len(desk.hub.asked) == 2


def test_a_binding_failure_tries_the_nested_form_once_and_remembers_it(make_desk: type[Desk]) -> None:
    desk = make_desk(PATIENT)
    desk.up()
    first = desk.asks(Command.GET_BALANCES)[0]
    desk.desk.completed(SESSION, first.command_id, BINDING_FAILURE)
    second = eventually(lambda: desk.asks(Command.GET_BALANCES)[1:])[0]
    desk.desk.answered(second.command_id)
    desk.desk.ask(Command.GET_BALANCES, Cause.SCHEDULE)
    third = eventually(lambda: desk.asks(Command.GET_BALANCES)[2:])[0]

    assert [each.form for each in (first, second, third)] == [
        ArgumentForm.POSITIONAL,
        ArgumentForm.NESTED,
        ArgumentForm.NESTED,
    ]


def test_a_refusal_is_recorded_without_credentials(make_desk: type[Desk]) -> None:
    desk = make_desk(PATIENT)
    desk.up()
    asked = desk.asks(Command.GET_BALANCES)[0]
    secret = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJlLWhlcmU"
    desk.desk.completed(SESSION, asked.command_id, f"HubException: permission denied for {secret}")
    (end,) = eventually(lambda: desk.ends(asked.command_id))

    assert end.outcome is CommandOutcome.REFUSED
    assert end.error is not None
    assert "permission denied" in end.error
    assert "eyJ" not in end.error


def test_a_lost_link_settles_what_was_open_and_the_next_one_asks_again(make_desk: type[Desk]) -> None:
    desk = make_desk(PATIENT)
    desk.up()
    first = desk.asks(Command.GET_BALANCES)[0]
    desk.desk.link_down(SESSION)
    other = uuid4()
    desk.desk.link_up(other)
    again = eventually(lambda: desk.asks(Command.GET_BALANCES)[1:])[0]

    assert [end.outcome for end in desk.ends(first.command_id)] == [CommandOutcome.LINK_LOST]
    assert not desk.ends(first.command_id)[0].final
    assert again.session == other
    assert again.attempt == 1


def test_an_ask_that_could_not_be_sent_is_unsent(make_desk: type[Desk]) -> None:
    desk = make_desk(PATIENT)
    desk.hub.down = True
    desk.desk.link_up(SESSION)
    asked = eventually(lambda: desk.asks(Command.GET_PAIRS))[0]
    (end,) = eventually(lambda: desk.ends(asked.command_id))

    assert end.outcome is CommandOutcome.UNSENT


def test_an_old_answer_is_renewed_although_nobody_schedules(make_desk: type[Desk]) -> None:
    rules = DeskRules(
        reply_deadline_seconds=60, overdue_factor=2, interval_seconds=dict.fromkeys(Command, 0.1)
    )
    desk = make_desk(rules)
    desk.up()
    desk.answer_all()
    overdue = eventually(lambda: desk.asks(Command.GET_BALANCES)[1:])[0]

    assert overdue.cause is Cause.OVERDUE
