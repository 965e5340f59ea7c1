"""What the link reports enters the inbox in an order in which it can be applied."""

from ingestor.domain.records import AnswerReceived, Record, SessionClosed, SessionEnd, SessionOpened
from ingestor.domain.requests import RequestEnded, RequestSent
from ingestor.pipeline.inbox import Inbox, InboxLimits
from ingestor.pipeline.intake import Intake
from tests.support.items import SESSION, at, balances, opened, record
from tests.support.requesting import Message, Middle


def waiting(inbox: Inbox) -> list[type]:
    return [type(item) for item in inbox.take(1_000, 1_000_000, 0.0)]


def test_a_session_comes_before_its_requests_and_their_ends_before_its_end() -> None:
    made = Middle(writing=False)
    made.up()
    made.down()

    assert waiting(made.inbox) == [
        SessionOpened,
        RequestSent,
        RequestSent,
        RequestEnded,
        RequestEnded,
        SessionClosed,
    ]


def test_an_answer_is_followed_by_the_word_that_it_was_received() -> None:
    made = Middle(writing=False)
    made.hub.behaviour = lambda request: [Message(0.1, balances(5, client_id=request.request_id))]
    made.up()
    made.run(1)

    items = made.inbox.take(1_000, 1_000_000, 0.0)
    assert [type(item) for item in items[3:]] == [Record, AnswerReceived] * 2
    first, then = items[3:5]
    assert isinstance(first, Record)
    assert isinstance(then, AnswerReceived)
    assert (then.request_id, then.received_at) == (made.sent()[0].request_id, first.received_at)


def test_a_session_carries_how_far_the_clocks_are_apart() -> None:
    inbox = Inbox(InboxLimits())
    Intake(inbox, lambda: -0.25).link_up(opened())
    (item,) = inbox.take(1, 1, 0.0)

    assert isinstance(item, SessionOpened)
    assert item.clock_offset_seconds == -0.25


def test_before_a_scheduler_is_attached_everything_is_kept_all_the_same() -> None:
    inbox = Inbox(InboxLimits())
    intake = Intake(inbox, lambda: None)
    intake.link_up(opened())
    intake.records([record(1)])
    intake.completed(SESSION, "id", "no")
    intake.silent(SESSION)
    intake.link_down(SessionClosed(SESSION, at(1), at(1), 1, SessionEnd.CLEAN, "stopped"))

    assert waiting(inbox) == [SessionOpened, Record, SessionClosed]
