"""The fold over items: `apply(state, item) -> (state, rows)`, and a batch of them."""

from collections.abc import Mapping, Sequence
from typing import assert_never

from msgspec.structs import replace

from ingestor.domain.decision import Outcome
from ingestor.domain.events import BalanceSnapshot, Event, HubError, PairList, Reason, Undecodable, Unhandled
from ingestor.domain.records import (
    AnswerReceived,
    CommitsLost,
    Decoded,
    Dropped,
    Fact,
    Record,
    SessionClosed,
    SessionOpened,
)
from ingestor.domain.requests import RequestCause, RequestEnded, RequestSent
from ingestor.domain.streams import Kind, StreamKey
from ingestor.pipeline.apply import gaps, requests
from ingestor.pipeline.apply.balances import apply_balances
from ingestor.pipeline.apply.decisions import outcome_of
from ingestor.pipeline.apply.finding import Arrived, Finding
from ingestor.pipeline.apply.pairs import apply_pairs
from ingestor.pipeline.apply.positions import advance_sessions, watermark_rows
from ingestor.pipeline.apply.repeats import Repeat, repeat_of, whole
from ingestor.pipeline.apply.rules import Rules
from ingestor.pipeline.batch import Batch, Change, Notice
from ingestor.pipeline.rows import DeadLetterRow
from ingestor.pipeline.state import OpenSession, Request, State, Stream

_KIND_OF_SUBJECT = {"account.balances.snapshot": Kind.BALANCES, "execution.pairs": Kind.PAIRS}


def fold(state: State, items: Sequence[Decoded | Fact], rules: Rules) -> tuple[State, Batch]:
    """Apply items in their order of arrival; the state after them, and the rows of one transaction."""
    after, changes = state, list[Change]()
    repeat: Repeat | None = None
    for item in items:
        if repeat is not None and isinstance(item, Decoded) and repeat.comes_again(item.record):
            changes.append(replace(repeat.row, ordinal=item.record.ordinal))
            after = replace(after, arrivals=after.arrivals + 1)
            continue
        after, more = apply(after, item, rules)
        changes += more
        repeat = repeat_of(item, more)
    sessions, ended, session_rows = advance_sessions(state, items, rules.software_version)
    changes += session_rows
    changes += watermark_rows(state, after)
    return replace(after, sessions=sessions, ended=ended), Batch(changes)


def apply(state: State, item: Decoded | Fact, rules: Rules) -> tuple[State, list[Change]]:
    """The state after one item, and the changes."""
    arrival = state.arrivals + 1
    if isinstance(item, Decoded):  # nearly all
        events = item.events
        if len(events) == 1:
            return _event(state, item.record, events[0], item, arrival, rules)
        changes: list[Change] = [whole(item.record)]
        for event in events:
            state, more = _event(state, item.record, event, None, arrival, rules)
            changes += more
        return state, changes
    match item:
        case SessionOpened():
            open_gaps, changes = gaps.after_opened(state, item, arrival)
            sessions = {**state.sessions, item.session: OpenSession(item)}
            state = replace(state, gaps=open_gaps, sessions=sessions, ever_connected=True)
        case SessionClosed():
            open_gaps, changes = gaps.after_closed(state, item, arrival)
            state = replace(state, gaps=open_gaps)
        case Dropped() | CommitsLost():
            open_gaps, changes = gaps.after_dropped(state, item, arrival)
            state = replace(state, gaps=open_gaps)
            changes = [*changes, *requests.after_dropped()]
        case RequestSent():
            known, changes = requests.after_sent(state, item, arrival)
            state = replace(state, requests=known)
        case AnswerReceived():
            known, changes = requests.after_answer(state, item)
            state = replace(state, requests=known)
        case RequestEnded():
            known, changes = requests.after_end(state, item)
            if changes:
                open_gaps, more = gaps.after_request(state, item)
                state, changes = replace(state, requests=known, gaps=open_gaps), [*changes, *more]
        case _:
            assert_never(item)
    return replace(state, arrivals=arrival), changes


def _event(
    state: State, record: Record, event: Event, alone: Decoded | None, arrival: int, rules: Rules
) -> tuple[State, list[Change]]:
    """One event: the stream it belongs to, then the gaps, then the requests; and its record, if `alone`."""
    arrived = Arrived(record, event, arrival, _request_for(state, record, event), alone)
    streams, body = state.streams, event.body
    if isinstance(body, BalanceSnapshot):
        key = StreamKey(Kind.BALANCES, body.user_id)
        known = streams.get(key)
        stream, finding, changes = apply_balances(key, known or _NEW, arrived, body, rules)
        if known is None:
            changes += _new_user(streams, key)
        streams = {**streams, key: stream}
    elif isinstance(body, PairList):
        key = StreamKey(Kind.PAIRS, "")
        stream, finding, changes = apply_pairs(key, streams.get(key, _NEW), arrived, body, rules)
        streams = {**streams, key: stream}
    else:
        finding, changes = _no_snapshot(arrived, body, rules)
        if alone is not None:
            changes = [whole(record), *changes]
    open_gaps, gap_changes = gaps.after_event(state, finding)
    open_requests, request_changes = requests.after_event(state, finding)
    changes += gap_changes
    changes += request_changes
    return State(
        streams,
        open_requests,
        open_gaps,
        state.sessions,
        state.ended,
        arrival,
        state.account_since,
        state.ever_connected,
    ), changes


_NEW = Stream()


def _request_for(state: State, record: Record, event: Event) -> Request | None:
    """The request of ours that this event answers, in this session."""
    if event.client_id is not None:
        request = state.requests.get(event.client_id)
        return request if request is not None and request.sent.session == record.session else None
    if isinstance(
        event.body, Undecodable
    ):  # what could not be read, or only in part, may carry our id all the same
        for request_id, request in state.requests.items():
            if request.outcome is None and request_id.encode() in record.raw:
                return request
    return None


def _new_user(streams: Mapping[StreamKey, Stream], key: StreamKey) -> list[Change]:
    """Rule 10: the key now belongs to someone else, or to more than one."""
    known = sum(each.kind is key.kind for each in streams)
    return [Notice("unknown_user_seen", {"kind": key.kind.value, "known_users": known})] if known else []


def _no_snapshot(
    arrived: Arrived, body: HubError | Unhandled | Undecodable, rules: Rules
) -> tuple[Finding, list[Change]]:
    """An event that is kept and becomes no state."""
    event = arrived.event
    match body:
        case HubError():
            row = outcome_of(arrived, Outcome.IGNORED, "hub_error")
            notice = Notice("hub_error_received", {"subject": event.subject, "message": body.message})
            finding = Finding(arrived, Outcome.IGNORED, (), failure=body.message, refused=True)
            return finding, [row, notice]
        case Unhandled():
            failure = f"answered with {event.subject}"
            row = outcome_of(arrived, Outcome.IGNORED, "unhandled_subject")
            return Finding(arrived, Outcome.IGNORED, (), failure=failure), [row]
        case Undecodable():
            return _quarantined(arrived, body, rules)
        case _:
            assert_never(body)


def _quarantined(arrived: Arrived, body: Undecodable, rules: Rules) -> tuple[Finding, list[Change]]:
    record, event, reason = arrived.record, arrived.event, body.reason.value
    kind, request = _KIND_OF_SUBJECT.get((event.subject or "").lower()), arrived.request
    if kind is None and request is not None:
        kind = request.sent.command.kind
    # The retries of an open request whose answer is undecodable are the request scheduler's.
    is_retried = request is not None and request.outcome is None and request.sent.command.kind is kind
    dead_letter = DeadLetterRow(
        session_id=record.session,
        ordinal=record.ordinal,
        position=event.position,
        received_at=record.received_at,
        stage="store" if body.reason is Reason.REJECTED_BY_DATABASE else "decode",
        reason=reason,
        detail=body.detail,
        subject=event.subject,
        software_version=rules.software_version,
        occurrences=1,
        last_received_at=record.received_at,
    )
    finding = Finding(
        arrived,
        Outcome.QUARANTINED,
        tuple(Kind) if kind is None else (kind,),
        needed=None if is_retried else RequestCause.UNDECODABLE,
        dead_letter=dead_letter,
        failure=f"{reason}: {body.detail}",
    )
    facts = {"reason": reason, "ordinal": record.ordinal, "detail": body.detail}
    row = outcome_of(arrived, Outcome.QUARANTINED, reason)
    return finding, [row, Notice("event_quarantined", facts)]
