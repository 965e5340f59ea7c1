"""Where the link's threads meet the pipe: everything heard goes into the inbox, in order."""

from collections.abc import Sequence
from uuid import UUID

from ingestor.domain.records import Record, SessionClosed, SessionOpened
from ingestor.pipeline.desk import CommandDesk
from ingestor.pipeline.inbox import Inbox


class Intake:
    """`ports.LinkListener`: stamps nothing, decodes nothing, hands on."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._desk: CommandDesk | None = None

    def attach(self, desk: CommandDesk) -> None:
        """Link and desk know each other only through here; the link is built first."""
        self._desk = desk

    def link_up(self, opened: SessionOpened) -> None:
        """The session's row comes before its records and before the asks that it causes."""
        self._inbox.put(opened)
        if self._desk is not None:
            self._desk.link_up(opened.session)

    def records(self, records: Sequence[Record]) -> None:
        """May wait for room: that is the back-pressure."""
        if self._desk is not None:
            self._desk.hear(records)
        self._inbox.put_records(records)

    def completed(self, session: UUID, invocation_id: str, error: str | None) -> None:
        if self._desk is not None:
            self._desk.completed(session, invocation_id, error)

    def link_down(self, closed: SessionClosed) -> None:
        """Open asks are settled before the session is."""
        if self._desk is not None:
            self._desk.link_down(closed.session)
        self._inbox.put(closed)
