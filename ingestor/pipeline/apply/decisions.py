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
    Origin,
    Outcome,
)
from ingestor.domain.records import Decoded
from ingestor.domain.streams import Kind, PendingConfirmation, Resolution, StreamKey, Watermark
from ingestor.pipeline.apply.finding import Arrived, Finding, Skipped
from ingestor.pipeline.apply.repeats import difference, whole
from ingestor.pipeline.batch import Change, Notice
from ingestor.pipeline.rows import ConfirmationRow, EpochRow, OutcomeRow
from ingestor.pipeline.state import Stream


def record_decision(
    arrived: Arrived, key: StreamKey, stream: Stream, incoming: Incoming, decision: Decision
) -> tuple[Finding, list[Change], Decoded | None]:
    """The finding and the rows of a decision on a snapshot, and what a repeat of it may refer to.

    Args:
        stream: before the decision.
    """
    alone, base, outcome = arrived.alone, stream.base, decision.outcome
    before, version = stream.state.watermark, decision.state.watermark
    if version is not None and version.event is not incoming.key:
        version = None  # this snapshot has not become one
    repeat = difference(base, arrived) if outcome is Outcome.DUPLICATE else None
    changes: list[Change]
    if repeat is not None:
        changes = [repeat]
    elif version is not None:
        base = alone
        changes = [_version(arrived, key, before, version, incoming, decision)]
    else:
        if outcome is Outcome.DUPLICATE and alone is not None:
            base = alone
        sequence = incoming.sequence if key.kind is Kind.BALANCES else None
        changes = [outcome_of(arrived, outcome, None, key, sequence)]
    if alone is not None and repeat is None:
        changes.append(whole(arrived.record))
    for fact in decision.facts:
        changes += _fact(arrived, key, fact)
    if decision.degraded:
        changes.append(Notice("stream_degraded", {"kind": key.kind.value, "sequence": incoming.sequence}))
    skipped = failure = None
    if decision.missed and version is not None and before is not None:
        sequence = version.number.sequence
        skipped = Skipped(sequence - decision.passed_over, sequence - 1, before.confirmed_until)
    if arrived.request is not None and arrived.answers(key.kind) is None:
        failure = f"answered with {arrived.event.subject}"
    finding = Finding(
        arrived,
        decision.outcome,
        (key.kind,),
        key,
        decision.request,
        skipped,
        decision.overtaken,
        failure=failure,
    )
    return finding, changes, base


def _version(
    arrived: Arrived,
    key: StreamKey,
    before: Watermark | None,
    version: Watermark,
    incoming: Incoming,
    decision: Decision,
) -> OutcomeRow:
    record, event, number, since = arrived.record, arrived.event, version.number, version.valid_from
    return OutcomeRow(
        record.session,
        record.ordinal,
        event.position,
        record.received_at,
        decision.outcome,
        None,
        event.subject,
        event.client_id,
        key.kind,
        key.user_id,
        number.epoch,
        number.sequence,
        number.revision,
        since,
        version.deleted,
        Origin.PUSHED if incoming.requested is None else Origin.ANSWERED,
        decision.passed_over,
        None if before is None else min(before.confirmed_until, since),
    )


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
        stale_snapshots=opened.stale_snapshots,
        first_stale_at=opened.first_stale_at,
    )
    facts: dict[str, object] = {
        "kind": stream.kind.value,
        "epoch": opened.epoch,
        "first_sequence": opened.first_sequence,
    }
    if opened.cause is EpochCause.FIRST_SEEN:
        return [row, Notice("stream_first_seen", facts)]
    facts |= {"previous_sequence": opened.previous_sequence, "stale_snapshots": opened.stale_snapshots}
    return [row, Notice("epoch_opened", facts)]


def outcome_of(
    arrived: Arrived,
    outcome: Outcome,
    reason: str | None,
    stream: StreamKey | None = None,
    sequence: int | None = None,
) -> OutcomeRow:
    """The outcome of an event that has become no version."""
    record, event = arrived.record, arrived.event
    kind, user = (None, None) if stream is None else (stream.kind, stream.user_id)
    return OutcomeRow(
        record.session,
        record.ordinal,
        event.position,
        record.received_at,
        outcome,
        reason,
        event.subject,
        event.client_id,
        kind,
        user,
        None,
        sequence,
        None,
    )
