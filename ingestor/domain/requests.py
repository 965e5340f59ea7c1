"""The requests to the hub, their causes, and their outcomes.

The hub's key can also trade and withdraw, so the set of commands is closed: only members of `Command` can be
sent (invariant I17).
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from ingestor.domain.streams import Kind


class Command(StrEnum):
    """The only hub methods that this software can call. Both only read."""

    GET_BALANCES = "GetBalances"
    GET_PAIRS = "GetPairs"

    @property
    def kind(self) -> Kind:
        """The kind of stream that its answer belongs to."""
        return _KINDS[self]

    @classmethod
    def for_kind(cls, kind: Kind) -> "Command":
        """The command that requests the whole state of a kind."""
        return cls.GET_BALANCES if kind is Kind.BALANCES else cls.GET_PAIRS


_KINDS = {Command.GET_BALANCES: Kind.BALANCES, Command.GET_PAIRS: Kind.PAIRS}


class RequestCause(StrEnum):
    """Why a snapshot was requested."""

    LINK_UP = "link_up"
    SCHEDULE = "schedule"
    OVERDUE = "overdue"
    """The last answer is too old, although the schedule should have requested one."""
    SILENCE = "silence"
    """Nothing was received for half the receive deadline: an answer proves that the link works."""
    GAP = "gap"
    CONFIRMATION = "confirmation"
    """A lower sequence, a conflict or an emptied list: only a fresh answer can decide."""
    UNDECODABLE = "undecodable"
    """An event that could not be read may have been a newer state."""
    RETRY = "retry"
    OPERATOR = "operator"
    """By `ingestor snapshot`."""


class RequestOutcome(StrEnum):
    """How a request ended. `ingest.request.outcome` is null while it is still open."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """The hub refused it: a Completion with an error, `preChecksError` or a `*.error` subject."""
    UNREADABLE = "unreadable"
    """The answer could not be decoded, or was not one to this command."""
    DROPPED = "dropped"
    """The answer was dropped at one of our limits before it could be written."""
    TIMED_OUT = "timed_out"
    """No answer within the deadline, on a link that was up."""
    UNSENT = "unsent"
    """The link was lost before the request could be written to the socket."""
    LINK_LOST = "link_lost"
    """Sent, then the link was lost before an answer."""


class ArgumentForm(StrEnum):
    """How the hub method takes its arguments; the vendor's pages show both (decision 0004)."""

    POSITIONAL = "positional"
    NESTED = "nested"


class RequestSent(Struct, frozen=True, gc=False):
    """A request, recorded before it is sent, so that its answer can always be recognised."""

    request_id: str
    """Correlation id: sent as `ClientId` (at most 36 characters) and echoed in the answer's envelope."""
    command: Command
    cause: RequestCause
    session: UUID
    requested_at: datetime
    attempt: int
    """1 for the first try; a retry has a fresh `request_id`."""
    form: ArgumentForm


class RequestEnded(Struct, frozen=True, gc=False):
    """The end of a request that no event has ended before."""

    request_id: str
    command: Command
    session: UUID
    ended_at: datetime
    outcome: RequestOutcome
    error: str | None
    """The hub's text, without anything that looks like a credential."""
