"""What we may request of the hub, why we request it, and how a request can end.

The key that opens this hub can also trade and withdraw, so the set of commands is closed:
whatever is not a member of `Command` cannot be sent (invariant I17).
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct

from ingestor.domain.streams import Kind


class Command(StrEnum):
    """The only hub methods this software can name. Both are reads."""

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
    """The monotonic guard found no answer although the schedule should have requested one."""
    SILENCE = "silence"
    """Nothing has come from the hub for half the receive deadline: an answer shows that the link lives."""
    GAP = "gap"
    CONFIRMATION = "confirmation"
    """A lower sequence, a conflict or an emptied list: only a fresh answer can decide."""
    UNDECODABLE = "undecodable"
    """An event that could not be read may have been a newer state."""
    RETRY = "retry"
    OPERATOR = "operator"
    """`ingestor snapshot` asked for it."""


class RequestOutcome(StrEnum):
    """How a request ended. `ingest.request.outcome` is null while it is still open."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """The hub refused it: a Completion with an error, `preChecksError` or a `*.error` subject."""
    UNREADABLE = "unreadable"
    """The answer came and could not be decoded, or was none to this command."""
    DROPPED = "dropped"
    """The answer came and was dropped at a limit of ours before it could be written."""
    TIMED_OUT = "timed_out"
    """Nothing came within the deadline, on a link that was up."""
    UNSENT = "unsent"
    """The link went away before the invocation could be written to the socket."""
    LINK_LOST = "link_lost"
    """Sent, then the link went away before an answer: outcome unknown at the hub."""


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
    """The end of a request that was not ended by an event before."""

    request_id: str
    command: Command
    session: UUID
    ended_at: datetime
    outcome: RequestOutcome
    error: str | None
    """The hub's text, without anything that looks like a credential."""
