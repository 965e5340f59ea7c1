"""The gap ledger: every interval in which we may have missed something, and how it ended.

A gap opens with the reason to believe that something may be missing, and waits for proof, one fresh snapshot
for each kind of stream that it touches. It has exactly three ends: *healed* (a fresh answer proved the state
again; the history in between stays unobserved), *explained* (nothing was missed that was ever announced) or
*lost* (we asked, and the hub would not tell all of it). A snapshot heals state, not history: the row stays
either way. No interval ends before it starts, though the wall clock may step back in between.
"""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from msgspec import Struct
from msgspec.structs import replace

from ingestor.domain.streams import EventKey, Kind, StreamKey


class GapKind(StrEnum):
    """Why we may have missed something."""

    DISCONNECTED = "disconnected"
    """There was no link: between two sessions, or before the first one."""
    UNCLEAN_END = "unclean_end"
    """The process died: from the last durable record on."""
    SEQUENCE_SKIP = "sequence_skip"
    """Sequence numbers were passed over."""
    SHED = "shed"
    """We dropped records ourselves, at a limit."""
    UNDECODABLE = "undecodable"
    """An event arrived that could not be read, and it may have been a newer state."""


class GapEnd(StrEnum):
    """How a gap ended."""

    HEALED = "healed"
    EXPLAINED = "explained"
    LOST = "lost"


class Gap(Struct, frozen=True, gc=False):
    """One row of `ingest.gap`. (session, ordinal, position, kind) is its identity."""

    kind: GapKind
    session: UUID
    ordinal: int
    """Where in the session it begins: the first record that we may not have, or the one that revealed it."""
    position: int
    missed_from: datetime
    missed_until: datetime | None
    """From here on we heard the hub again; None while we don't."""
    opened_at: datetime
    cause: str
    """What broke: a link cause, a limit, a quarantine reason, or a `SkipCause`."""
    obstacles: tuple[str, ...] = ()
    """What stood in the way of coming back: the distinct causes of failed attempts."""
    stream: Kind | None = None
    user_id: str | None = None
    """Where it touches one user's stream only: then no other user's answer is proof."""
    first_missing: int | None = None
    """Sequence numbers (`sequence_skip`) or ordinals (`shed`), inclusive."""
    last_missing: int | None = None
    end: GapEnd | None = None
    ended_at: datetime | None = None
    proof: EventKey | None = None
    """The event that proved the state again."""
    awaiting: frozenset[Kind] = frozenset()
    """Kinds of stream that still need a fresh answer; in a lost gap those that never got one."""
    unanswered: frozenset[Kind] = frozenset()
    """Those of them that were asked for in vain. Not stored: after a start everything is asked for anew."""
    line: int = 0
    """Only an answer asked for after this line is proof."""


def proven(gap: Gap, stream: StreamKey, asked_line: int, proof: EventKey, at: datetime) -> Gap:
    """The gap after a fresh answer was found to agree with, or to become, our state of this stream."""
    if not _awaits(gap, stream.kind, asked_line) or gap.user_id not in {None, stream.user_id}:
        return gap
    told = frozenset({stream.kind})
    gap = replace(gap, awaiting=gap.awaiting - told, unanswered=gap.unanswered - told)
    if not gap.awaiting:
        return replace(gap, end=GapEnd.HEALED, ended_at=max(at, gap.opened_at), proof=proof)
    return _lost_if_given_up(gap, at)


def given_up(gap: Gap, kind: Kind, asked_line: int, at: datetime) -> Gap:
    """The gap after the hub has finally not answered a command that would have proven this kind.

    It is lost only when nothing else is awaited: what the other kind's answer is still to prove stays open.
    """
    if not _awaits(gap, kind, asked_line):
        return gap
    return _lost_if_given_up(replace(gap, unanswered=gap.unanswered | {kind}), at)


def _awaits(gap: Gap, kind: Kind, asked_line: int) -> bool:
    """Whether a command for this kind, asked at that line, can tell anything about the gap."""
    return kind in gap.awaiting and asked_line > gap.line and gap.missed_until is not None


def _lost_if_given_up(gap: Gap, at: datetime) -> Gap:
    if gap.awaiting <= gap.unanswered:
        return replace(gap, end=GapEnd.LOST, ended_at=max(at, gap.opened_at))
    return gap


def bridged(gap: Gap, at: datetime, obstacles: tuple[str, ...]) -> Gap:
    """The gap after the link came up: what follows is heard again, the proof is still to come."""
    if gap.missed_until is not None:
        return gap
    return replace(gap, missed_until=max(at, gap.missed_from), obstacles=obstacles)
