"""The rows of a decision on a snapshot: the outcome, the version that it became, and the decision's facts."""

from typing import assert_never

from ingestor.domain.decision import (
    ConfirmationRaised,
    ConfirmationResolved,
    Decision,
    EpochCause,
    EpochOpened,
    Fact,
    Incoming,
    Outcome,
)
from ingestor.domain.streams import Kind, PendingConfirmation, Resolution, StreamKey, Watermark
from ingestor.pipeline.apply.finding import Arrived, Finding, Skipped
from ingestor.pipeline.batch import Change, Notice
from ingestor.pipeline.rows import ConfirmationRow, EpochRow, OutcomeRow, VersionRow


def record_decision(
    arrived: Arrived, stream: StreamKey, before: Watermark | None, incoming: Incoming, decision: Decision
) -> tuple[Finding, list[Change]]:
    """The finding and the rows of a decision on a snapshot.

    Args:
        before: where the stream stood.
    """
    record, event = arrived.record, arrived.event
    version = decision.state.watermark
    if version is not None and version.event is not incoming.key:
        version = None  # this snapshot has not become one
    number = None if version is None else version.number
    changes: list[Change] = [
        OutcomeRow(
            record.session,
            record.ordinal,
            event.position,
            record.received_at,
            decision.outcome,
            None,
            event.subject,
            event.client_id,
            stream.kind,
            stream.user_id,
            None if number is None else number.epoch,
            number.sequence if number is not None else _own_sequence(stream, incoming),
            None if number is None else number.revision,
        )
    ]
    if version is not None:
        changes.append(
            VersionRow(
                stream.kind,
                stream.user_id,
                version.valid_from,
                version.number.epoch,
                version.number.sequence,
                version.number.revision,
                record.session,
                record.ordinal,
                event.position,
                record.received_at,
                version.deleted,
                incoming.origin,
                decision.passed_over,
                None if before is None else min(before.confirmed_until, version.valid_from),
            )
        )
    for fact in decision.facts:
        changes += _fact(arrived, stream, fact)
    if decision.degraded:
        changes.append(Notice("stream_degraded", {"kind": stream.kind.value, "sequence": incoming.sequence}))
    skipped = failure = None
    if decision.missed and version is not None and before is not None:
        sequence = version.number.sequence
        skipped = Skipped(sequence - decision.passed_over, sequence - 1, before.confirmed_until)
    if arrived.request is not None and arrived.answers(stream.kind) is None:
        failure = f"answered with {event.subject}"
    kinds = (stream.kind,)
    return Finding(
        arrived,
        decision.outcome,
        kinds,
        stream,
        decision.request,
        skipped,
        decision.overtaken,
        failure=failure,
    ), changes


def _own_sequence(stream: StreamKey, incoming: Incoming) -> int | None:
    return incoming.sequence if stream.kind is Kind.BALANCES else None


def _fact(arrived: Arrived, stream: StreamKey, fact: Fact) -> list[Change]:
    match fact:
        case EpochOpened():
            return _epoch(arrived, stream, fact)
        case ConfirmationRaised():
            return _confirmation(arrived, stream, fact.confirmation, None)
        case ConfirmationResolved():
            return _confirmation(arrived, stream, fact.confirmation, fact.resolution)
        case _:
            assert_never(fact)


def _confirmation(
    arrived: Arrived, stream: StreamKey, pending: PendingConfirmation, resolution: Resolution | None
) -> list[Change]:
    """Written when it is raised, and again, complete, when it is resolved."""
    record = arrived.record
    resolved = resolution is not None
    row = ConfirmationRow(
        session_id=pending.raised_by.session,
        ordinal=pending.raised_by.ordinal,
        position=pending.raised_by.position,
        reason=pending.reason.value,
        raised_at=pending.raised_at,
        kind=stream.kind,
        user_id=stream.user_id,
        sequence=pending.sequence,
        resolution=None if resolution is None else resolution.value,
        resolved_at=max(record.received_at, pending.raised_at) if resolved else None,
        resolved_by_session_id=record.session if resolved else None,
        resolved_by_ordinal=record.ordinal if resolved else None,
    )
    facts = {"reason": row.reason, "kind": stream.kind.value, "sequence": pending.sequence}
    if resolution is None:
        return [row, Notice("confirmation_pending", facts)]
    return [row, Notice("confirmation_resolved", {**facts, "resolution": resolution.value})]


def _epoch(arrived: Arrived, stream: StreamKey, opened: EpochOpened) -> list[Change]:
    first, last = opened.evidence[0], opened.evidence[-1]
    row = EpochRow(
        kind=stream.kind,
        user_id=stream.user_id,
        epoch=opened.epoch,
        opened_at=arrived.record.received_at,
        cause=opened.cause.value,
        first_sequence=opened.first_sequence,
        previous_sequence=opened.previous_sequence,
        evidence=len(opened.evidence),
        first_evidence_session_id=first.session,
        first_evidence_ordinal=first.ordinal,
        last_evidence_session_id=last.session,
        last_evidence_ordinal=last.ordinal,
        passed_over=opened.passed_over,
        passed_over_from=opened.passed_over_from,
    )
    facts: dict[str, object] = {
        "kind": stream.kind.value,
        "epoch": opened.epoch,
        "first_sequence": opened.first_sequence,
    }
    if opened.cause is EpochCause.FIRST_SEEN:
        return [row, Notice("stream_first_seen", facts)]
    facts |= {"previous_sequence": opened.previous_sequence, "passed_over": opened.passed_over}
    return [row, Notice("epoch_opened", facts)]


def outcome_of(arrived: Arrived, outcome: Outcome, reason: str) -> OutcomeRow:
    """The outcome of an event that belongs to no stream."""
    record, event = arrived.record, arrived.event
    place = (record.session, record.ordinal, event.position, record.received_at)
    return OutcomeRow(*place, outcome, reason, event.subject, event.client_id, None, None, None, None, None)
