"""What travels from the link to the writer, in the order in which it happened.

The writer sees one line of items: a session opens, records arrive, asks are made and settled, something is
shed, the session closes. Everything that ends in a table enters through this line, so there is one place
where order is decided.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from ingestor.domain.commands import CommandAsked, CommandSettled


class Record(Struct, frozen=True, gc=False):
    """One hub record as it left the socket. (session, ordinal) is its identity, given before decoding."""

    session: UUID
    ordinal: int
    """1, 2, 3 … within the session; without holes."""
    received_at: datetime
    """UTC, read when the frame was complete; all records of one frame share it."""
    raw: bytes
    """The record's bytes without its terminator 0x1E; only the head of them if `sha256` is set."""
    size: int
    """Bytes on the wire."""
    sha256: bytes | None = None
    """Of all the bytes, where `raw` holds only their head (the record was above the size limit)."""


class SessionOpened(Struct, frozen=True, gc=False):
    """The handshake was answered: from here on we hear what the hub says."""

    session: UUID
    opened_at: datetime
    url: str
    """The hub's address, without query or credentials."""
    attempts: int
    """Connection attempts since the last session closed (or since the start), this one included."""
    obstacles: tuple[str, ...] = ()
    """The distinct causes why earlier attempts failed, in order of first appearance."""


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
    last_heard_at: datetime
    """When the last bytes of any kind (pings count) arrived: the start of what we may have missed."""
    received: int
    """Records received in the session: the last ordinal given."""
    end: SessionEnd
    cause: str
    """A name from `LinkCause`, e.g. `silent`, `reset`, `closed_by_hub`."""
    detail: str | None = None


class Shed(Struct, frozen=True, gc=False):
    """Records dropped by a limit before they could be written: an interval of ordinals, and a gap row."""

    session: UUID
    first_ordinal: int
    last_ordinal: int
    count: int
    first_received_at: datetime
    last_received_at: datetime
    limit: str
    """The name of the limit that did it, e.g. `inbox_records`."""


Item = SessionOpened | Record | Shed | CommandAsked | CommandSettled | SessionClosed
"""Everything the writer can be handed."""
