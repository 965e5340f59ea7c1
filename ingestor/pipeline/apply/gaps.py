"""The open gaps: what opens one, and what confirms the state again."""

from collections.abc import Callable, Iterable
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from ingestor.domain.gaps import Confirmed, Gap, GapKind, confirmed, receiving_again, repeated
from ingestor.domain.records import CommitsLost, Dropped, SessionClosed, SessionEnd, SessionOpened
from ingestor.domain.requests import RequestEnded, RequestOutcome
from ingestor.domain.streams import EventKey, Kind
from ingestor.pipeline.apply.finding import Finding
from ingestor.pipeline.batch import Change, Notice
from ingestor.pipeline.rows import GapRow
from ingestor.pipeline.state import State

_KINDS = tuple(Kind)
_BOTH = frozenset(Kind)
_NO_ANSWER = {RequestOutcome.TIMED_OUT, RequestOutcome.REFUSED}

Gaps = tuple[Gap, ...]


def after_event(state: State, finding: Finding) -> tuple[Gaps, list[Change]]:
    """The open gaps after an event, and the rows of those that changed."""
    gaps, request = state.gaps, finding.arrived.request
    changes: list[Change] = []
    if finding.dead_letter is not None:
        gaps, changes = _undecodable(gaps, finding)
    # A push ends only unanswered gaps, which come first, so many open gaps do not slow pushes down.
    elif gaps and finding.confirms and (request or gaps[0].kind is GapKind.UNANSWERED):
        gaps, changes = _confirmed(gaps, finding)
    if finding.skipped is not None:
        gap = _skip(finding)
        gaps, changes = (*gaps, gap), [*changes, *_opened(gap)]
    if finding.failure is not None and request is not None and request.outcome is None:
        outcome = RequestOutcome.REFUSED if finding.refused else RequestOutcome.UNREADABLE
        kind, at = request.sent.command.kind, finding.arrived.record.received_at
        gaps, more = _unanswered(replace(state, gaps=gaps), kind, outcome, finding.arrived.key, at)
        changes += more
    return gaps, changes


def after_opened(state: State, opened: SessionOpened, arrival: int) -> tuple[Gaps, list[Change]]:
    """The link is up. The time before the very first session is a gap too."""
    gaps, changes = _each(
        state.gaps, lambda gap: receiving_again(gap, opened.opened_at, opened.connection_errors)
    )
    if state.ever_connected:
        return gaps, changes
    since = min(state.account_since or opened.opened_at, opened.opened_at)
    first = Gap(
        kind=GapKind.DISCONNECTED,
        session=opened.session,
        ordinal=0,
        position=0,
        opened_at=opened.opened_at,
        missed_from=since,
        missed_until=opened.opened_at,
        cause="before_first_session",
        affects=_BOTH,
        arrival=arrival,
        connection_errors=opened.connection_errors,
    )
    return (*gaps, first), [*changes, _row(first)]


def after_closed(state: State, closed: SessionClosed, arrival: int) -> tuple[Gaps, list[Change]]:
    """The link is down, or the process that had it died."""
    unclean = closed.end is SessionEnd.UNCLEAN
    gap = Gap(
        kind=GapKind.UNCLEAN_END if unclean else GapKind.DISCONNECTED,
        session=closed.session,
        ordinal=closed.received + 1,
        position=0,
        opened_at=closed.closed_at,
        missed_from=min(closed.last_message_at, closed.closed_at),
        missed_until=None,
        cause=closed.cause,
        affects=_BOTH,
        arrival=arrival,
    )
    if closed.end is SessionEnd.CLEAN:
        return (*state.gaps, gap), [_row(gap), _notice("gap_expected", gap)]
    return (*state.gaps, gap), _opened(gap)


def after_dropped(state: State, dropped: Dropped | CommitsLost, arrival: int) -> tuple[Gaps, list[Change]]:
    """Records were dropped at a limit of ours, or lost by the database."""
    until = max(dropped.first_received_at, dropped.last_received_at)
    gap = Gap(
        kind=GapKind.DROPPED if isinstance(dropped, Dropped) else GapKind.COMMITS_LOST,
        session=dropped.session,
        ordinal=dropped.first_ordinal,
        position=0,
        opened_at=until,
        missed_from=dropped.first_received_at,
        missed_until=until,
        cause=dropped.cause,
        affects=_BOTH,
        arrival=arrival,
        first_missing=dropped.first_ordinal,
        last_missing=dropped.last_ordinal,
    )
    return (*state.gaps, gap), _opened(gap)


def after_request(state: State, ended: RequestEnded) -> tuple[Gaps, list[Change]]:
    """A request on a live link got no snapshot."""
    if ended.outcome not in _NO_ANSWER:
        return state.gaps, []
    key = EventKey(ended.session, 0, _KINDS.index(ended.command.kind))
    return _unanswered(state, ended.command.kind, ended.outcome, key, ended.ended_at)


def _undecodable(gaps: Gaps, finding: Finding) -> tuple[Gaps, list[Change]]:
    """A cause that lasts is one gap and one dead letter with a count, not one for each time."""
    arrived, letter = finding.arrived, finding.dead_letter
    assert letter is not None  # noqa: S101 - the caller has just looked
    at, affects = arrived.record.received_at, frozenset(finding.affects)
    for number, gap in enumerate(gaps):
        if gap.kind is GapKind.UNDECODABLE and gap.cause == letter.reason and gap.affects == affects:
            again = repeated(gap, at, arrived.arrival)
            letter = replace(
                letter,
                session_id=gap.session,
                ordinal=gap.ordinal,
                position=gap.position,
                received_at=gap.opened_at,
                occurrences=again.occurrences,
                last_received_at=again.last_occurred_at,
            )
            return (*gaps[:number], again, *gaps[number + 1 :]), [_row(again), letter]
    gap = Gap(
        kind=GapKind.UNDECODABLE,
        session=arrived.record.session,
        ordinal=arrived.record.ordinal,
        position=arrived.event.position,
        opened_at=at,
        missed_from=at,
        missed_until=at,
        cause=letter.reason,
        affects=affects,
        arrival=arrived.arrival,
    )
    return (*gaps, gap), [*_opened(gap), letter]


def _unanswered(
    state: State, kind: Kind, outcome: RequestOutcome, key: EventKey, at: datetime
) -> tuple[Gaps, list[Change]]:
    """From the last confirmation on; nothing is added if the kind is uncertain already."""
    for number, gap in enumerate(state.gaps):
        if gap.is_unconfirmed(kind):
            if gap.kind is not GapKind.UNANSWERED:
                return state.gaps, []
            again = repeated(gap, at, gap.arrival)
            return (*state.gaps[:number], again, *state.gaps[number + 1 :]), [_row(again)]
    session = state.sessions.get(key.session)
    since = at if session is None else session.opened.opened_at
    for stream_key, stream in state.streams.items():
        if stream_key.kind is kind and stream.state.watermark is not None:
            since = max(since, stream.state.watermark.confirmed_until)
    gap = Gap(
        kind=GapKind.UNANSWERED,
        session=key.session,
        ordinal=key.ordinal,
        position=key.position,
        opened_at=at,
        missed_from=min(since, at),
        missed_until=None,
        cause=outcome.value,
        affects=frozenset({kind}),
        arrival=0,
    )
    return (gap, *state.gaps), _opened(gap)


def _skip(finding: Finding) -> Gap:
    arrived, skipped, stream = finding.arrived, finding.skipped, finding.stream
    assert skipped is not None  # noqa: S101 - the caller has just looked
    assert stream is not None  # noqa: S101 - only a stream has a sequence
    record = arrived.record
    return Gap(
        kind=GapKind.SEQUENCE_SKIP,
        session=record.session,
        ordinal=record.ordinal,
        position=arrived.event.position,
        opened_at=record.received_at,
        missed_from=min(skipped.since, record.received_at),
        missed_until=record.received_at,
        cause="pushed",
        affects=frozenset({stream.kind}),
        arrival=arrived.arrival,
        user_id=stream.user_id,
        first_missing=skipped.first,
        last_missing=skipped.last,
    )


def _confirmed(gaps: Gaps, finding: Finding) -> tuple[Gaps, list[Change]]:
    arrived, stream = finding.arrived, finding.stream
    assert stream is not None  # noqa: S101 - only a stream can be confirmed
    request = arrived.answers(stream.kind)
    requested = None if request is None else request.arrival
    key, at = arrived.key, arrived.record.received_at
    return _each(gaps, lambda gap: confirmed(gap, stream, requested, key, at))


def _each(gaps: Iterable[Gap], change: Callable[[Gap], Gap]) -> tuple[Gaps, list[Change]]:
    """Those that are still open after this change, and the rows of those that it changed."""
    still_open, changes = [], list[Change]()
    for gap in gaps:
        changed = change(gap)
        if changed is not gap:
            changes.append(_row(changed))
        if changed.ended_at is None:
            still_open.append(changed)
        else:
            changes.append(_notice("gap_ended", changed))
    return tuple(still_open), changes


def _opened(gap: Gap) -> list[Change]:
    return [_row(gap), _notice("gap_opened", gap)]


def _notice(event: str, gap: Gap) -> Notice:
    return Notice(event, {"gap": gap.kind.value, "cause": gap.cause, "since": gap.missed_from.isoformat()})


def _row(gap: Gap) -> GapRow:
    return GapRow(
        gap.session,
        gap.ordinal,
        gap.position,
        gap.kind.value,
        gap.opened_at,
        gap.cause,
        gap.missed_from,
        gap.missed_until,
        gap.connection_errors,
        tuple(sorted(gap.affects)),
        gap.user_id,
        gap.first_missing,
        gap.last_missing,
        gap.occurrences,
        gap.last_occurred_at or gap.opened_at,
        *_end(gap.balances),
        *_end(gap.pairs),
        gap.ended_at,
    )


def _end(confirmed: Confirmed | None) -> tuple[datetime | None, UUID | None, int | None]:
    return (
        (None, None, None)
        if confirmed is None
        else (confirmed.at, confirmed.by.session, confirmed.by.ordinal)
    )
