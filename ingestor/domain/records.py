"""The items that go from the link to the writer, in the order in which they happened.

The writer receives one sequence of items: a session opens, records arrive, requests are sent and end, records
are dropped, the session closes. All data for the tables comes this way, so the inbox alone decides the order:
the position of an item is its arrival number.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from ingestor.domain.events import Event
from ingestor.domain.requests import RequestEnded, RequestSent


class Record(Struct, frozen=True, gc=False):
    """One hub record as received. (session, ordinal) is its identity, assigned before decoding."""

    session: UUID
    ordinal: int
    """1, 2, 3 … within the session; none is skipped."""
    received_at: datetime
    """UTC, read when the frame was complete; all records of one frame share it."""
    raw: bytes
    """The record's bytes without its terminator 0x1E; only their beginning if `sha256` is set."""
    size: int
    """Bytes on the wire."""
    sha256: bytes | None = None
    """Of all the bytes, if `raw` has only their beginning (the record was above the size limit)."""


class Decoded(Struct, frozen=True, gc=False):
    """A record and its events."""

    record: Record
    events: tuple[Event, ...]
    """At least one."""


class SessionOpened(Struct, frozen=True, gc=False):
    """The handshake was answered: from here on the hub's messages are received."""

    session: UUID
    opened_at: datetime
    url: str
    """The hub's address, without query or credentials."""
    attempts: int
    """Connection attempts since the last session closed (or since the start), this one included."""
    connection_errors: tuple[str, ...] = ()
    """The distinct causes of failed attempts, in order of first occurrence."""
    clock_offset_seconds: float | None = None
    """The host's wall clock minus the database's clock; None if it is not known."""


class SessionEnd(StrEnum):
    """How a session ended."""

    CLEAN = "clean"
    """We closed it."""
    LINK_LOST = "link_lost"
    UNCLEAN = "unclean"
    """This process or its machine died; written by the next process that finds the session open."""


class SessionClosed(Struct, frozen=True, gc=False):
    session: UUID
    closed_at: datetime
    last_message_at: datetime
    """Receipt of the last whole hub message, pings included: from then on something may be missing."""
    received: int
    """Records received in the session, which is its last ordinal."""
    end: SessionEnd
    cause: str
    """A name from `LinkCause`, e.g. `silent`, `reset`, `closed_by_hub`."""
    detail: str | None = None


class AnswerReceived(Struct, frozen=True, gc=False):
    """The record that answers this request is before this item in the inbox, unless it was dropped."""

    request_id: str
    received_at: datetime


class CommitsLost(Struct, frozen=True, gc=False):
    """Records that were committed and that the database has lost (failover, restore, crash)."""

    session: UUID
    first_ordinal: int
    last_ordinal: int
    count: int
    first_received_at: datetime
    last_received_at: datetime
    cause: str = "commits_lost"


class Dropped(Struct, frozen=True, gc=False):
    """Records dropped at a limit before they could be written: an interval of ordinals, and a gap row."""

    session: UUID
    first_ordinal: int
    last_ordinal: int
    count: int
    first_received_at: datetime
    last_received_at: datetime
    cause: str
    """The name of the limit, e.g. `inbox_records`."""


Fact = SessionOpened | Dropped | CommitsLost | RequestSent | AnswerReceived | RequestEnded | SessionClosed
"""Items about the connection, not the account."""

Item = Record | Fact
"""Everything that the writer takes from the inbox."""
