"""Passes what the link reports to the inbox and to the request scheduler, in order."""

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
        """`clock_offset`: the host's wall clock minus the database's, in seconds; None if unknown."""
        self._inbox = inbox
        self._clock_offset = clock_offset
        self._scheduler: RequestScheduler | None = None

    def attach(self, scheduler: RequestScheduler) -> None:
        """Set the scheduler afterwards, because it needs the link, which needs this object."""
        self._scheduler = scheduler

    def link_up(self, opened: SessionOpened) -> None:
        """Put the session before its records and before the requests that it causes."""
        self._inbox.put(replace(opened, clock_offset_seconds=self._clock_offset()))
        if self._scheduler is not None:
            self._scheduler.link_up(opened.session)

    def records(self, records: Sequence[Record]) -> None:
        """May wait for space in the inbox, which is the back-pressure."""
        answered = [] if self._scheduler is None else self._scheduler.received(records)
        self._inbox.put_records(records)
        for request_id in answered:
            self._inbox.put(AnswerReceived(request_id, records[-1].received_at))

    def completed(self, session: UUID, invocation_id: str, error: str | None) -> None:
        """The session is not needed, because each id is used once."""
        del session
        if self._scheduler is not None:
            self._scheduler.completed(invocation_id, error)

    def silent(self, session: UUID) -> None:
        """Request an answer, to test the link."""
        del session
        if self._scheduler is not None:
            self._scheduler.request(Command.GET_BALANCES, RequestCause.SILENCE)

    def link_down(self, closed: SessionClosed) -> None:
        """End open requests, then the session."""
        if self._scheduler is not None:
            self._scheduler.link_down(closed.session)
        self._inbox.put(closed)
