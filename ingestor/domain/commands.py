"""What we may ask the hub, why we ask, and how an ask can end.

The key that opens this hub can also trade and withdraw, so the set of commands is closed:
whatever is not a member of `Command` cannot be sent (invariant I17).
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct


class Command(StrEnum):
    """The only hub methods this software can name. Both are reads."""

    GET_BALANCES = "GetBalances"
    GET_PAIRS = "GetPairs"


class Cause(StrEnum):
    """Why a snapshot was asked for."""

    LINK_UP = "link_up"
    SCHEDULE = "schedule"
    OVERDUE = "overdue"
    """The monotonic guard found no fresh answer although the schedule should have asked."""
    GAP = "gap"
    SUSPICION = "suspicion"
    """A lower sequence, a conflict or an emptied list needs a second witness."""
    UNDECODABLE = "undecodable"
    """An event that we could not read may have been a newer state."""
    RETRY = "retry"


class CommandOutcome(StrEnum):
    """How an ask ended. `ingest.command.outcome` is null while it is still open."""

    ANSWERED = "answered"
    REFUSED = "refused"
    """The hub said no: a Completion with an error, `preChecksError` or a `*.error` subject."""
    TIMED_OUT = "timed_out"
    UNSENT = "unsent"
    """The link went away before the invocation could be written to the socket."""
    LINK_LOST = "link_lost"
    """Sent, then the link went away before an answer: outcome unknown at the hub."""


class ArgumentForm(StrEnum):
    """How the hub method takes its arguments; the vendor's pages show both (decision 0004)."""

    POSITIONAL = "positional"
    NESTED = "nested"


class CommandAsked(Struct, frozen=True, gc=False):
    """An ask, recorded before it is sent, so that its answer can always be recognised."""

    command_id: str
    """Correlation id: sent as `ClientId` (at most 36 characters) and echoed in the answer's envelope."""
    command: Command
    cause: Cause
    session: UUID
    asked_at: datetime
    attempt: int
    """1 for the first try; a retry has a fresh `command_id`."""
    form: ArgumentForm


class CommandSettled(Struct, frozen=True, gc=False):
    """The end of an ask that no event answered; `ANSWERED` is decided where the event is booked."""

    command_id: str
    command: Command
    session: UUID
    settled_at: datetime
    outcome: CommandOutcome
    error: str | None
    """The hub's text, scrubbed of anything that looks like a credential."""
    final: bool
    """No retry follows."""
