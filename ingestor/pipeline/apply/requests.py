"""The requests that may still be answered: what ends one, and what calls for another."""

from collections.abc import Mapping
from datetime import datetime

from ingestor.domain.records import AnswerReceived
from ingestor.domain.requests import Command, RequestCause, RequestEnded, RequestOutcome, RequestSent
from ingestor.domain.streams import Kind
from ingestor.pipeline.apply.finding import Finding
from ingestor.pipeline.batch import Change, Notice, RequestAnswered, RequestFailed, SnapshotNeeded
from ingestor.pipeline.rows import RequestRow
from ingestor.pipeline.state import Request, State

_REMEMBERED = 64
"""Ended requests whose late answer is still recognised."""

Requests = Mapping[str, Request]


def after_event(state: State, finding: Finding) -> tuple[Requests, list[Change]]:
    """The requests after an event, and the changes."""
    request, record = finding.arrived.request, finding.arrived.record
    changes = _needed(finding.affects, finding.needed)
    if request is None or request.outcome is RequestOutcome.ANSWERED:
        return state.requests, changes
    request_id = request.sent.request_id
    if finding.failure is None:
        row = _row(request, RequestOutcome.ANSWERED, record.received_at, record.ordinal)
        return _ended(state, request, RequestOutcome.ANSWERED), [row, RequestAnswered(request_id), *changes]
    if request.outcome is not None:  # its end is on record, and this is no better one
        return state.requests, changes
    outcome = RequestOutcome.REFUSED if finding.refused else RequestOutcome.UNREADABLE
    row = _row(request, outcome, record.received_at, record.ordinal, finding.failure)
    failed = RequestFailed(request_id, outcome, finding.failure)
    return _ended(state, request, outcome), [row, _notice(row), failed, *changes]


def after_sent(state: State, sent: RequestSent, arrival: int) -> tuple[Requests, list[Change]]:
    """A request is on its way."""
    request = Request(sent, arrival)
    ended = [each for each, known in state.requests.items() if known.outcome is not None]
    forgotten = set(ended[:-_REMEMBERED])
    kept = {each: known for each, known in state.requests.items() if each not in forgotten}
    return {**kept, sent.request_id: request}, [_row(request)]


def after_answer(state: State, received: AnswerReceived) -> tuple[Requests, list[Change]]:
    """The answer's place in the inbox has passed. If the request is still open, its answer was dropped."""
    request = state.requests.get(received.request_id)
    if request is None or request.outcome is not None:
        return state.requests, []
    row = _row(request, RequestOutcome.DROPPED, received.received_at)
    failed = RequestFailed(received.request_id, RequestOutcome.DROPPED, None)
    return _ended(state, request, RequestOutcome.DROPPED), [row, _notice(row), failed]


def after_end(state: State, ended: RequestEnded) -> tuple[Requests, list[Change]]:
    """An end without an answer; ignored if the answer came first."""
    request = state.requests.get(ended.request_id)
    if request is None or request.outcome is not None:
        return state.requests, []
    row = _row(request, ended.outcome, ended.ended_at, error=ended.error)
    return _ended(state, request, ended.outcome), [row, _notice(row)]


def after_dropped() -> list[Change]:
    """What was dropped may have been a newer state of either kind."""
    return _needed(tuple(Kind), RequestCause.GAP)


def _needed(kinds: tuple[Kind, ...], cause: RequestCause | None) -> list[Change]:
    return [] if cause is None else [SnapshotNeeded(Command.for_kind(kind), cause) for kind in kinds]


def _ended(state: State, request: Request, outcome: RequestOutcome) -> Requests:
    return {**state.requests, request.sent.request_id: Request(request.sent, request.arrival, outcome)}


def _notice(row: RequestRow) -> Notice:
    return Notice("request_failed", {"command": row.command, "outcome": row.outcome, "error": row.error})


def _row(
    request: Request,
    outcome: RequestOutcome | None = None,
    ended_at: datetime | None = None,
    ordinal: int | None = None,
    error: str | None = None,
) -> RequestRow:
    sent = request.sent
    return RequestRow(
        request_id=sent.request_id,
        requested_at=sent.requested_at,
        command=sent.command.value,
        cause=sent.cause.value,
        attempt=sent.attempt,
        argument_form=sent.form.value,
        session_id=sent.session,
        outcome=None if outcome is None else outcome.value,
        ended_at=ended_at,
        answer_ordinal=ordinal,
        error=error,
    )
