"""Which snapshot becomes state: a pure function over (stream state, incoming snapshot).

The hub numbers an account's balance snapshots, but does not specify scope, step, start or restart of the
numbers, and cannot repeat what it has sent. The rules follow those of FIX and of exchange feeds, which have
the same problem:

* **Higher applies.** Every snapshot is the full state, so a skipped number never harms the state. The version
  records how many were skipped. Only if an operator knows that the hub pushes every number
  (`sequence.step = "contiguous"`) is a pushed skip a loss.
* **Equal is a duplicate if the content is equal**; it confirms that the state was unchanged until its
  receipt. With different content it is a conflict: both are stored, the later one becomes state, and
  confirmation is requested.
* **Lower never applies by itself.** It is late, or the counter has begun again. An answer that was
  requested before our state was set is no evidence, because a newer push has arrived before it. Only answers
  requested afterwards are; two lower ones open a new epoch, which records both. Many epochs in a short time
  mean two servers behind one name: then the state stays unchanged for an hour.
* **Emptied lists wait.** A snapshot that loses most assets or pairs needs a second answer that agrees.

Streams without numbers (pairs) are ordered by arrival and deduplicated by content, subject to the last rule.

Nothing here reads a clock or does I/O. The rule numbers are those of `ingestor/domain/RULES.md`.
"""

from datetime import datetime, timedelta

from msgspec.structs import replace

from ingestor.domain.decision import (
    ConfirmationRaised,
    ConfirmationResolved,
    Decision,
    EpochCause,
    EpochOpened,
    Facts,
    Incoming,
    Outcome,
    Policy,
    Step,
)
from ingestor.domain.limits import MAX_REVISION
from ingestor.domain.requests import RequestCause
from ingestor.domain.streams import (
    ConfirmationReason,
    LowerSnapshots,
    PendingConfirmation,
    Resolution,
    StreamState,
    VersionNumber,
    Watermark,
)

_HOUR = timedelta(hours=1)


def decide(state: StreamState, incoming: Incoming, policy: Policy) -> Decision:
    """The decision for a snapshot that carries the source's sequence (balances)."""
    session = incoming.key.session
    first_of_session = state.last_session is not session and state.last_session != session  # by value is slow
    if first_of_session:
        state = replace(state, last_session=incoming.key.session)
    watermark = state.watermark
    if watermark is None:  # rule 1
        return _begin(state, incoming, incoming.sequence)
    current = watermark.number.sequence
    if incoming.sequence < current:
        return _lower(state, incoming, policy, watermark)
    facts: Facts = ()
    if state.lower is not None:
        state, facts = _end_suspected_reset(state, incoming, current)
    if incoming.sequence > current:  # rule 2
        passed_over = incoming.sequence - current - 1
        # Rule 3. Other skips are due to our own polling, or belong to the link's gap.
        missed = (
            passed_over > 0
            and policy.step is Step.CONTIGUOUS
            and incoming.requested is None
            and not first_of_session
        )
        number = VersionNumber(watermark.number.epoch, incoming.sequence, 0)
        return _unless_emptied(state, incoming, number, facts, passed_over=passed_over, missed=missed)
    if incoming.content == watermark.content:
        return _same(state, incoming, watermark, facts)
    return _conflict(state, incoming, watermark.number, facts)


def decide_by_arrival(state: StreamState, incoming: Incoming) -> Decision:
    """The decision for a stream without a sequence (pairs): order of arrival, equality of content."""
    watermark = state.watermark
    if watermark is None:
        return _begin(state, incoming, 1)
    if incoming.content == watermark.content:
        return _same(state, incoming, watermark, ())
    if incoming.requested is not None and not incoming.is_fresh(watermark.arrival):
        # Rule 6: requested before the newest list arrived, so it may be older; only another answer can
        # decide.
        return Decision(Outcome.STALE, state, request=RequestCause.CONFIRMATION)
    number = replace(watermark.number, sequence=watermark.number.sequence + 1)
    return _unless_emptied(state, incoming, number, ())


def _begin(state: StreamState, incoming: Incoming, sequence: int) -> Decision:
    opened = EpochOpened(EpochCause.FIRST_SEEN, 1, sequence, None, (incoming.key,), 0, None)
    return _apply(state, incoming, VersionNumber(1, sequence, 0), (opened,))


def _end_suspected_reset(state: StreamState, incoming: Incoming, current: int) -> tuple[StreamState, Facts]:
    """Rule 8: a sequence that is not lower ends a suspected reset, if its snapshot is newer."""
    lower = state.lower
    assert lower is not None  # noqa: S101 - the caller has just looked
    pending = state.pending_for(ConfirmationReason.RESET)
    higher = incoming.sequence > current
    fresh = incoming.is_fresh(lower.arrival if pending is None else pending.arrival)
    if not (higher or fresh):
        return state, ()
    # If the new counter was rising, it may have passed ours: then the reset may have happened.
    refuted = fresh and not (higher and lower.rising)
    resolution = Resolution.REFUTED if refuted else Resolution.SUPERSEDED
    return _resolve(replace(state, lower=None), ConfirmationReason.RESET, resolution)


def _same(state: StreamState, incoming: Incoming, watermark: Watermark, facts: Facts) -> Decision:
    """Rule 4: the state is unchanged until now, and a fresh answer ends pending confirmations."""
    if state.pending:
        for reason, resolution in (
            (ConfirmationReason.CONFLICT, Resolution.CONFIRMED),
            (ConfirmationReason.MASS_DELETE, Resolution.REFUTED),
        ):
            pending = state.pending_for(reason)
            if pending is not None and incoming.is_fresh(pending.arrival):
                state, resolved = _resolve(state, reason, resolution)
                facts = (*facts, *resolved)
    if incoming.received_at > watermark.confirmed_until:
        state = replace(state, watermark=replace(watermark, confirmed_until=incoming.received_at))
    return Decision(Outcome.DUPLICATE, state, facts)


def _lower(state: StreamState, incoming: Incoming, policy: Policy, watermark: Watermark) -> Decision:
    """Rules 6 to 9."""
    if incoming.requested is not None and not incoming.is_fresh(watermark.arrival):
        return Decision(Outcome.STALE, state, overtaken=True)  # rule 6
    first = state.lower is None
    state = replace(state, lower=_count_lower(state.lower, incoming))
    if incoming.requested is None:  # rule 7
        return Decision(Outcome.STALE, state, request=RequestCause.CONFIRMATION if first else None)
    pending = state.pending_for(ConfirmationReason.RESET)
    facts: Facts = ()
    if pending is None:
        pending = _pending(ConfirmationReason.RESET, incoming)
        facts = (ConfirmationRaised(pending),)
    elif incoming.is_fresh(pending.arrival):
        known = pending.evidence[: policy.reset_confirmations - 1]
        pending = replace(pending, evidence=(*known, incoming.key), arrival=incoming.arrival)
    else:  # requested before the first answer came: no further evidence
        return Decision(Outcome.STALE, state)

    state = state.awaiting(pending)
    if len(pending.evidence) < policy.reset_confirmations:
        return Decision(Outcome.STALE, state, facts, RequestCause.CONFIRMATION)
    recent = tuple(at for at in state.epochs if incoming.received_at - at < _HOUR)
    if len(recent) >= policy.epochs_per_hour:  # rule 9
        return Decision(Outcome.STALE, state, facts, degraded=True)
    # An empty account after a reset may be one that the hub has not loaded yet.
    waiting = _awaiting_mass_delete(state, incoming, facts)
    return waiting or _reset(state, incoming, pending, watermark.number, facts, recent)


def _reset(
    state: StreamState,
    incoming: Incoming,
    pending: PendingConfirmation,
    number: VersionNumber,
    facts: Facts,
    recent: tuple[datetime, ...],
) -> Decision:
    """Rule 8: a new epoch, with its evidence and the number of lower snapshots not applied before."""
    lower = state.lower
    assert lower is not None  # noqa: S101 - this snapshot is one of them
    stale_snapshots = lower.count - 1
    opened = EpochOpened(
        EpochCause.SUSPECTED_SERVER_RESET,
        number.epoch + 1,
        incoming.sequence,
        number.sequence,
        pending.evidence,
        stale_snapshots,
        lower.since if stale_snapshots else None,
    )
    agreed = Resolution.CONFIRMED if incoming.shrinks else Resolution.SUPERSEDED
    state, reset = _resolve(state, ConfirmationReason.RESET, Resolution.CONFIRMED)
    state, conflict = _resolve(state, ConfirmationReason.CONFLICT, Resolution.SUPERSEDED)
    state, emptied = _resolve(state, ConfirmationReason.MASS_DELETE, agreed)
    state = replace(state, epochs=(*recent, incoming.received_at), lower=None)
    facts = (*facts, *reset, *conflict, *emptied, opened)
    return _apply(state, incoming, VersionNumber(number.epoch + 1, incoming.sequence, 0), facts)


def _count_lower(lower: LowerSnapshots | None, incoming: Incoming) -> LowerSnapshots:
    if lower is None:
        return LowerSnapshots(1, incoming.received_at, incoming.arrival, incoming.sequence, rising=False)
    rising = lower.rising or incoming.sequence > lower.first_sequence
    return replace(lower, count=lower.count + 1, rising=rising)


def _conflict(state: StreamState, incoming: Incoming, number: VersionNumber, facts: Facts) -> Decision:
    """Rule 5: the later receipt becomes state, and a fresh answer is requested unless this is one."""
    if number.revision == MAX_REVISION:
        return Decision(Outcome.STALE, state, facts)
    number = replace(number, revision=number.revision + 1)
    if incoming.shrinks:
        return _unless_emptied(state, incoming, number, facts)
    earlier = state.pending_for(ConfirmationReason.CONFLICT)
    state, ended = _resolve(state, ConfirmationReason.CONFLICT, Resolution.SUPERSEDED)
    pending = _pending(ConfirmationReason.CONFLICT, incoming)
    facts = (*facts, *ended, ConfirmationRaised(pending))
    # If an answer agrees with neither, requesting again could continue without end.
    request = None if earlier and incoming.is_fresh(earlier.arrival) else RequestCause.CONFIRMATION
    applied = _apply(state.awaiting(pending), incoming, number, facts)
    return replace(applied, outcome=Outcome.CONFLICT, request=request)


def _unless_emptied(
    state: StreamState,
    incoming: Incoming,
    number: VersionNumber,
    facts: Facts,
    *,
    passed_over: int = 0,
    missed: bool = False,
) -> Decision:
    """Apply, unless the snapshot lost most of its content and no second answer has agreed yet (rule 12)."""
    if incoming.shrinks or state.pending:  # nearly all have neither
        waiting = _awaiting_mass_delete(state, incoming, facts)
        if waiting is not None:
            return waiting
        state, emptied = _resolve(
            state, ConfirmationReason.MASS_DELETE, _mass_delete_resolution(state, incoming)
        )
        state, conflict = _resolve(state, ConfirmationReason.CONFLICT, Resolution.SUPERSEDED)
        facts = (*facts, *emptied, *conflict)
    return _apply(state, incoming, number, facts, passed_over=passed_over, missed=missed)


def _awaiting_mass_delete(state: StreamState, incoming: Incoming, facts: Facts) -> Decision | None:
    """Rule 12: this snapshot loses most of the content, and no answer has agreed with that yet."""
    if not incoming.shrinks:
        return None
    pending = state.pending_for(ConfirmationReason.MASS_DELETE)
    if pending is None:
        pending = _pending(ConfirmationReason.MASS_DELETE, incoming)
        facts = (*facts, ConfirmationRaised(pending))
        return Decision(Outcome.PENDING, state.awaiting(pending), facts, RequestCause.CONFIRMATION)
    return None if incoming.is_fresh(pending.arrival) else Decision(Outcome.PENDING, state, facts)


def _mass_delete_resolution(state: StreamState, incoming: Incoming) -> Resolution:
    """How a pending mass delete ends with a snapshot that applies."""
    if incoming.shrinks:
        return Resolution.CONFIRMED
    pending = state.pending_for(ConfirmationReason.MASS_DELETE)
    fresh = pending is not None and incoming.is_fresh(pending.arrival)
    return Resolution.REFUTED if fresh else Resolution.SUPERSEDED


def _pending(reason: ConfirmationReason, incoming: Incoming) -> PendingConfirmation:
    return PendingConfirmation(
        reason, incoming.key, incoming.received_at, incoming.sequence, incoming.arrival, (incoming.key,)
    )


def _resolve(
    state: StreamState, reason: ConfirmationReason, resolution: Resolution
) -> tuple[StreamState, Facts]:
    """End the pending confirmation with this reason, if there is one."""
    pending = state.pending_for(reason)
    if pending is None:
        return state, ()
    return state.without(reason), (ConfirmationResolved(pending, resolution),)


def _apply(
    state: StreamState,
    incoming: Incoming,
    number: VersionNumber,
    facts: Facts,
    *,
    passed_over: int = 0,
    missed: bool = False,
) -> Decision:
    valid_from = incoming.received_at
    if state.watermark is not None and valid_from < state.watermark.valid_from:
        valid_from = state.watermark.valid_from  # no interval ends before it begins
    watermark = Watermark(
        number,
        incoming.content,
        incoming.key,
        valid_from,
        valid_from,
        incoming.deleted,
        incoming.arrival,
    )
    state = StreamState(watermark, state.pending, state.lower, state.epochs, state.last_session)
    request = RequestCause.GAP if missed else None
    return Decision(Outcome.APPLIED, state, facts, request, passed_over, missed)
