"""Which snapshot becomes state: a pure function over (stream state, offered event).

The theory. The hub numbers an account's balance snapshots but promises nothing about the numbers: not
their scope, step or start, and not that they never begin again. It keeps nothing for us and sends nothing
twice on request. FIX and the exchanges' feeds went through the same, and their experience gives these rules:

* **Higher applies.** Every event is a full snapshot, so skipping numbers never harms the state. It may harm
  the history: a skip that our own polling does not explain is a gap, and asks for a fresh snapshot.
* **Equal is a duplicate only if the content is equal**, and then it is worth something: until its receipt,
  nothing had changed. Equal with other content is a conflict: both are kept, the later receipt counts, and
  someone is told.
* **Lower never applies on its own word.** It is stale, or the counter has begun again. Only a fresh answer,
  asked for after the doubt arose and after our state was set, can tell; if it is lower too, that is the
  second witness, and a new epoch opens with both on record. Epochs in quick succession are two back ends
  behind one name: then we hold for an hour.
* **Emptied lists are not believed at once.** A snapshot that loses most of what was there needs a second
  answer that agrees.

Streams without numbers (pairs) are ordered by arrival and deduplicated by content, under the last rule too.

Nothing here reads a clock or does I/O; a decision is a value, and somebody else acts on it. The numbers in
the comments are the rows of the rules table in `ingestor/domain/RULES.md`.
"""

from datetime import timedelta

from msgspec.structs import replace

from ingestor.domain.commands import Cause
from ingestor.domain.decision import (
    Decision,
    DoubtRaised,
    DoubtResolved,
    EpochCause,
    EpochOpened,
    Notes,
    Offer,
    Outcome,
    Policy,
    Skip,
    SkipCause,
)
from ingestor.domain.limits import MAX_REVISION
from ingestor.domain.streams import (
    Doubt,
    Mark,
    Resolution,
    StreamState,
    Suspicion,
    Watermark,
)

_HOUR = timedelta(hours=1)


def decide(state: StreamState, offer: Offer, policy: Policy) -> Decision:
    """The decision for an event that carries the source's sequence (balances)."""
    first_of_session = state.heard_in != offer.key.session
    if first_of_session and not offer.replayed:
        state = replace(state, heard_in=offer.key.session)
    held = state.watermark
    if held is None:  # rule 1
        opened = EpochOpened(EpochCause.FIRST_SEEN, 1, offer.sequence, None, (offer.key,))
        return _apply(state, offer, Mark(1, offer.sequence, 0), (opened,))
    if offer.sequence < held.mark.sequence:
        return _lower(state, offer, policy, held)
    notes: Notes = ()
    if state.doubts:
        # Rule 8: a fresh answer that is not lower refutes a reset; what was stale stays stale.
        state, notes = _resolve(state, offer, Doubt.RESET, Resolution.REFUTED, needs_fresh=True)
    if offer.sequence > held.mark.sequence:
        return _higher(state, offer, held, notes, first_of_session=first_of_session)
    if offer.content == held.content:
        return _same(state, offer, held, notes)
    if offer.replayed:
        return Decision(Outcome.STALE, state, notes)
    return _conflict(state, offer, held.mark, notes)


def decide_by_arrival(state: StreamState, offer: Offer) -> Decision:
    """The decision for a stream without a sequence (pairs): order of arrival, equality of content."""
    held = state.watermark
    if held is None:
        opened = EpochOpened(EpochCause.FIRST_SEEN, 1, 1, None, (offer.key,))
        return _apply(state, offer, Mark(1, 1, 0), (opened,))
    if offer.content == held.content:
        return _same(state, offer, held, ())
    if offer.replayed:
        return Decision(Outcome.STALE, state)
    return _unless_emptied(state, offer, replace(held.mark, sequence=held.mark.sequence + 1), ())


def _same(state: StreamState, offer: Offer, held: Watermark, notes: Notes) -> Decision:
    """Rule 5: nothing has changed until now, and a fresh answer that says so ends the doubts."""
    if state.doubts:
        state, conflict = _resolve(state, offer, Doubt.CONFLICT, Resolution.CONFIRMED, needs_fresh=True)
        state, emptied = _resolve(state, offer, Doubt.MASS_DELETE, Resolution.REFUTED, needs_fresh=True)
        notes = (*notes, *conflict, *emptied)
    if not offer.replayed and offer.received_at > held.confirmed_until:
        state = replace(state, watermark=replace(held, confirmed_until=offer.received_at))
    return Decision(Outcome.DUPLICATE, state, notes)


def _higher(
    state: StreamState, offer: Offer, held: Watermark, notes: Notes, *, first_of_session: bool
) -> Decision:
    """Rules 2, 3 and 4."""
    mark = Mark(held.mark.epoch, offer.sequence, 0)
    if offer.sequence == held.mark.sequence + 1:
        return _unless_emptied(state, offer, mark, notes)
    decision = _unless_emptied(state, offer, mark, notes)
    if decision.outcome is not Outcome.APPLIED:
        return decision  # the watermark has not moved: the skip is told when the confirming answer applies
    cause = _skip_cause(offer, first_of_session=first_of_session)
    skip = Skip(held.mark.sequence + 1, offer.sequence - 1, held.confirmed_until, cause)
    ask = Cause.GAP if cause is SkipCause.PUSHED else None
    return replace(decision, notes=(*decision.notes, skip), ask=ask)


def _skip_cause(offer: Offer, *, first_of_session: bool) -> SkipCause:
    if offer.replayed:
        return SkipCause.REPLAYED
    if first_of_session:
        return SkipCause.RECONNECTED
    return SkipCause.PUSHED if offer.asked_line is None else SkipCause.POLLING


def _lower(state: StreamState, offer: Offer, policy: Policy, held: Watermark) -> Decision:
    """Rules 7, 9, 10 and 11."""
    if offer.replayed:
        return Decision(Outcome.STALE, state)
    suspicion = state.doubt(Doubt.RESET)
    witness = (offer.key, offer.sequence)
    notes: Notes = ()
    if suspicion is None:
        fresh = _is_fresh(offer, held.line)
        suspicion = Suspicion(Doubt.RESET, offer.key, offer.received_at, offer.line, (witness,))
        notes = (DoubtRaised(suspicion, offer.sequence),)
    elif _is_fresh(offer, max(suspicion.line, held.line)):
        fresh = True
        known = suspicion.witnesses[: policy.reset_confirmations - 1]
        suspicion = replace(suspicion, witnesses=(*known, witness), line=offer.line)
    else:  # late neighbours of the first witness prove nothing more
        # Nor does the answer, if W has moved on after it was asked for; but then it is still owed to us.
        return Decision(
            Outcome.STALE, state, ask=Cause.SUSPICION if _is_fresh(offer, suspicion.line) else None
        )

    state = state.doubting(suspicion)
    if not fresh or len(suspicion.witnesses) < policy.reset_confirmations:
        return Decision(Outcome.STALE, state, notes, Cause.SUSPICION)
    recent = tuple(at for at in state.epochs if offer.received_at - at < _HOUR)
    if len(recent) >= policy.epochs_per_hour:
        return Decision(Outcome.STALE, state, notes, degraded=True)
    waiting = _held(state, offer, notes)  # an empty account after a reset may be one that is not loaded yet
    if waiting is not None:
        return waiting

    opened = EpochOpened(
        EpochCause.SUSPECTED_SERVER_RESET,
        held.mark.epoch + 1,
        offer.sequence,
        held.mark.sequence,
        tuple(key for key, _ in suspicion.witnesses),
    )
    state, reset = _resolve(state, offer, Doubt.RESET, Resolution.CONFIRMED)
    state, conflict = _resolve(state, offer, Doubt.CONFLICT, Resolution.SUPERSEDED)
    agreed = Resolution.CONFIRMED if offer.shrinks else Resolution.SUPERSEDED
    state, emptied = _resolve(state, offer, Doubt.MASS_DELETE, agreed)
    state = replace(state, epochs=(*recent, offer.received_at))
    notes = (*notes, *reset, *conflict, *emptied, opened)
    return _apply(state, offer, Mark(held.mark.epoch + 1, offer.sequence, 0), notes)


def _conflict(state: StreamState, offer: Offer, mark: Mark, notes: Notes) -> Decision:
    """Rule 6: the later receipt wins, and a fresh answer is asked for unless this is one."""
    if mark.revision == MAX_REVISION:
        return Decision(Outcome.STALE, state, notes)
    mark = replace(mark, revision=mark.revision + 1)
    if offer.shrinks:
        return _unless_emptied(state, offer, mark, notes)
    earlier = state.doubt(Doubt.CONFLICT)
    state, ended = _resolve(state, offer, Doubt.CONFLICT, Resolution.SUPERSEDED)
    witness = ((offer.key, offer.sequence),)
    suspicion = Suspicion(Doubt.CONFLICT, offer.key, offer.received_at, offer.line, witness)
    notes = (*notes, *ended, DoubtRaised(suspicion, offer.sequence))
    # An answer that agrees with neither is reported as a conflict of its own; asking again would only spin.
    ask = None if earlier is not None and _is_fresh(offer, earlier.line) else Cause.SUSPICION
    applied = _apply(state.doubting(suspicion), offer, mark, notes)
    return replace(applied, outcome=Outcome.CONFLICT, ask=ask)


def _unless_emptied(state: StreamState, offer: Offer, mark: Mark, notes: Notes) -> Decision:
    """Apply, but hold a snapshot that lost most of its content until a second answer agrees (rule 15)."""
    if not offer.shrinks and not state.doubts:
        return _apply(state, offer, mark, notes)  # nearly all of them
    waiting = _held(state, offer, notes)
    if waiting is not None:
        return waiting
    agreed = Resolution.CONFIRMED if offer.shrinks else Resolution.REFUTED
    state, emptied = _resolve(state, offer, Doubt.MASS_DELETE, agreed)
    state, conflict = _resolve(state, offer, Doubt.CONFLICT, Resolution.SUPERSEDED)
    return _apply(state, offer, mark, (*notes, *emptied, *conflict))


def _held(state: StreamState, offer: Offer, notes: Notes) -> Decision | None:
    """Rule 15, where this snapshot loses most of the content and no answer has agreed with that yet."""
    if not offer.shrinks or offer.replayed:
        return None
    doubt = state.doubt(Doubt.MASS_DELETE)
    if doubt is None:
        witness = ((offer.key, offer.sequence),)
        doubt = Suspicion(Doubt.MASS_DELETE, offer.key, offer.received_at, offer.line, witness)
        notes = (*notes, DoubtRaised(doubt, offer.sequence))
        return Decision(Outcome.HELD, state.doubting(doubt), notes, Cause.SUSPICION)
    return None if _is_fresh(offer, doubt.line) else Decision(Outcome.HELD, state, notes)


def _resolve(
    state: StreamState, offer: Offer, sort: Doubt, resolution: Resolution, *, needs_fresh: bool = False
) -> tuple[StreamState, Notes]:
    """End the doubt of this sort, if there is one (and if this event is a fresh answer, where it must be)."""
    suspicion = state.doubt(sort)
    if suspicion is None or (needs_fresh and not _is_fresh(offer, suspicion.line)):
        return state, ()
    return state.trusting(sort), (DoubtResolved(suspicion, resolution),)


def _is_fresh(offer: Offer, line: int) -> bool:
    """Whether this event answers a command that was asked after that line."""
    return offer.asked_line is not None and offer.asked_line > line


def _apply(state: StreamState, offer: Offer, mark: Mark, notes: Notes) -> Decision:
    valid_from = offer.received_at
    if state.watermark is not None and valid_from < state.watermark.confirmed_until:
        # A wall clock that steps back must not turn intervals inside out.
        valid_from = state.watermark.confirmed_until
    watermark = Watermark(
        mark=mark,
        content=offer.content,
        event=offer.key,
        valid_from=valid_from,
        confirmed_until=valid_from,
        deleted=offer.deleted,
        line=offer.line,
    )
    return Decision(Outcome.APPLIED, replace(state, watermark=watermark), notes)
