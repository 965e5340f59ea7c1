"""Gaps: the intervals in which something may have been missed, and when the state was known again.

A gap is open until a fresh snapshot has confirmed the state of each kind of stream that it affects. A
snapshot confirms the state and not the history, so the row is kept. No interval ends before it begins.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ingestor.domain.streams import EventKey, Kind, StreamKey


class GapKind(StrEnum):
    """Why something may have been missed."""

    DISCONNECTED = "disconnected"
    """There was no link: between two sessions, or before the first one."""
    UNCLEAN_END = "unclean_end"
    """The process died: from the last durable record on."""
    SEQUENCE_SKIP = "sequence_skip"
    """A push skipped numbers, and `sequence.step` says that the hub pushes every number."""
    DROPPED = "dropped"
    """We dropped records ourselves, at a limit."""
    COMMITS_LOST = "commits_lost"
    """The database has lost commits that it had acknowledged."""
    UNDECODABLE = "undecodable"
    """An event arrived that could not be read, and it may have been a newer state."""
    UNANSWERED = "unanswered"
    """A snapshot was requested while the link was up and not received, and none of its kind has come
    since."""


class Confirmed(Struct, frozen=True, gc=False):
    """The state of one kind was confirmed."""

    at: datetime
    by: EventKey


class Gap(Struct, frozen=True, gc=False):
    """One row of `ingest.gap`. (session, ordinal, position, kind, opened_at) is its identity."""

    kind: GapKind
    session: UUID
    ordinal: int
    """The first record of the session that may be missing, or the one by which the gap was detected."""
    position: int
    opened_at: datetime
    missed_from: datetime
    missed_until: datetime | None
    """When records were received again; None until then."""
    cause: str
    """A link cause, a limit, a quarantine reason, or how a request ended."""
    affects: frozenset[Kind]
    """Kinds of stream whose state is unknown since then."""
    arrival: int
    """Only an answer to a request that was sent after this arrival number confirms the state."""
    connection_errors: tuple[str, ...] = ()
    """The distinct causes of failed attempts to connect again."""
    user_id: str | None = None
    """Set if only this user's stream is affected: then other users' snapshots do not confirm."""
    first_missing: int | None = None
    """Sequence numbers (`sequence_skip`) or ordinals (`dropped`, `commits_lost`), inclusive."""
    last_missing: int | None = None
    occurrences: int = 1
    """How often the same cause has occurred while the gap was open."""
    last_occurred_at: datetime | None = None
    balances: Confirmed | None = None
    pairs: Confirmed | None = None
    ended_at: datetime | None = None

    def is_unconfirmed(self, kind: Kind) -> bool:
        """Whether the state of this kind has not been confirmed yet."""
        if kind not in self.affects:
            return False
        return (self.balances if kind is Kind.BALANCES else self.pairs) is None


def confirmed(gap: Gap, stream: StreamKey, requested: int | None, by: EventKey, at: datetime) -> Gap:
    """The gap after a snapshot agreed with, or became, our state of this stream.

    Args:
        requested: arrival number of the request that the snapshot answers; None for a push.
    """
    if not gap.is_unconfirmed(stream.kind) or gap.user_id not in {None, stream.user_id}:
        return gap
    if gap.kind is GapKind.UNANSWERED:  # any snapshot of this kind confirms
        gap = replace(gap, missed_until=max(at, gap.missed_from))
    elif gap.missed_until is None or requested is None or requested <= gap.arrival:
        return gap
    end = Confirmed(max(at, gap.opened_at), by)
    gap = replace(gap, balances=end) if stream.kind is Kind.BALANCES else replace(gap, pairs=end)
    return gap if any(map(gap.is_unconfirmed, gap.affects)) else replace(gap, ended_at=end.at)


def receiving_again(gap: Gap, at: datetime, connection_errors: tuple[str, ...]) -> Gap:
    """The gap after the link came up: records are received again, the state is not confirmed yet."""
    if gap.missed_until is not None or gap.kind is GapKind.UNANSWERED:
        return gap
    return replace(gap, missed_until=max(at, gap.missed_from), connection_errors=connection_errors)


def repeated(gap: Gap, at: datetime, arrival: int) -> Gap:
    """The gap after its cause has occurred again: answers to requests before that do not confirm."""
    return replace(
        gap,
        occurrences=gap.occurrences + 1,
        last_occurred_at=max(at, gap.opened_at),
        missed_until=None if gap.missed_until is None else max(at, gap.missed_until),
        arrival=arrival,
        balances=None,
        pairs=None,
    )
