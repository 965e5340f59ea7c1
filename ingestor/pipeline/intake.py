"""What the link reports goes into the inbox and to the request scheduler, in order."""

from collections.abc import Callable, Sequence
from uuid import UUID

from msgspec.structs import replace

from ingestor.domain.records import AnswerReceived, Record, SessionClosed, SessionOpened
from ingestor.domain.requests import Command, RequestCause
from ingestor.pipeline.inbox import Inbox
from ingestor.pipeline.request_scheduler import RequestScheduler


class Intake:
    """The pipeline's `ports.LinkListener`."""

    def __init__(self, inbox: Inbox, clock_offset: Callable[[], float | None]) -> None:
        """`clock_offset`: the host's wall clock less the database's, in seconds, where it is known."""
        self._inbox = inbox
        self._clock_offset = clock_offset
        self._scheduler: RequestScheduler | None = None

    def attach(self, scheduler: RequestScheduler) -> None:
        """The scheduler needs the link, which needs this object; so it is attached last."""
        self._scheduler = scheduler

    def link_up(self, opened: SessionOpened) -> None:
        """The session's row comes before its records and before the requests that it causes."""
        self._inbox.put(replace(opened, clock_offset_seconds=self._clock_offset()))
        if self._scheduler is not None:
            self._scheduler.link_up(opened.session)

    def records(self, records: Sequence[Record]) -> None:
        """May wait for room in the inbox, which is the back-pressure."""
        answered = [] if self._scheduler is None else self._scheduler.received(records)
        self._inbox.put_records(records)
        for request_id in answered:
            self._inbox.put(AnswerReceived(request_id, records[-1].received_at))

    def completed(self, session: UUID, invocation_id: str, error: str | None) -> None:
        """Each id is used once, so the session is not needed."""
        del session
        if self._scheduler is not None:
            self._scheduler.completed(invocation_id, error)

    def silent(self, session: UUID) -> None:
        """An answer would show that the link lives."""
        del session
        if self._scheduler is not None:
            self._scheduler.request(Command.GET_BALANCES, RequestCause.SILENCE)

    def link_down(self, closed: SessionClosed) -> None:
        """Open requests end before the session does."""
        if self._scheduler is not None:
            self._scheduler.link_down(closed.session)
        self._inbox.put(closed)
