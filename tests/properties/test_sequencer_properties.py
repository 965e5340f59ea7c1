"""Laws of the sequencer that hold whatever arrives, in whatever order."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from ingestor.domain.decision import (
    ConfirmationRaised,
    ConfirmationResolved,
    Decision,
    EpochOpened,
    Incoming,
    Outcome,
    Policy,
    Step,
)
from ingestor.domain.requests import RequestCause
from ingestor.domain.streams import ConfirmationReason, Resolution, StreamState
from tests.support.trading_script import Script, parse

# One snapshot per sequence, as a hub in good health sends them; some of them flag the account as deleted.
HISTORIES = st.dictionaries(st.integers(0, 40), st.booleans(), min_size=1, max_size=12)

LINES = st.lists(
    st.builds(
        lambda verb, sequence, content, shrinks, session, later: " ".join(
            [
                verb,
                str(sequence),
                f"c={content}",
                f"session={session}",
                f"{later:+d}",
                *(["shrinks"] if shrinks else []),
            ]
        ),
        st.sampled_from(["push", "push", "answer", "late"]),
        st.integers(0, 8),
        st.sampled_from("abc"),
        st.booleans(),
        st.sampled_from("AB"),
        st.sampled_from([1, 1, 1, -7200, 7200]),
    ),
    max_size=40,
)
POLICIES = st.builds(Policy, st.sampled_from(Step), st.integers(1, 3), st.integers(0, 3))


@settings(max_examples=250, deadline=None)
@given(HISTORIES, st.randoms(use_true_random=False), st.integers(0, 20))
def test_any_order_and_any_repetition_of_pushes_ends_in_the_newest_state(
    history: dict[int, bool], rng: random.Random, repeats: int
) -> None:
    """Rules 2, 4, 7 and 11: the state is that of the sorted, unique input, and nothing is pending.

    Invariants I4, I5.
    """
    lines = [f"push {sequence}{' deleted' if gone else ''}" for sequence, gone in history.items()]
    shuffled = lines + rng.choices(lines, k=repeats)
    rng.shuffle(shuffled)
    script, tidy = Script(), Script()
    for line in shuffled:
        script.play(line)
    for sequence in sorted(history):
        tidy.play(f"push {sequence}{' deleted' if history[sequence] else ''}")

    assert script.state.watermark is not None
    assert tidy.state.watermark is not None
    assert script.state.watermark.number == tidy.state.watermark.number
    assert script.state.watermark.content == tidy.state.watermark.content
    assert script.state.watermark.deleted == tidy.state.watermark.deleted
    assert script.state.pending == ()


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=20))
def test_a_healthy_hub_whose_answers_are_late_raises_nothing(steps: list[int]) -> None:
    """Rules 2 and 6: answers computed before a push and sent after it; the counter rises by any step."""
    script, sequence = Script(), 0
    script.play("push 0")
    for step in steps:
        computed, sequence = sequence, sequence + 1 + step
        push = script.decide(parse(script, f"push {sequence}"))
        answer = script.decide(parse(script, f"late {computed}"))
        assert (push.outcome, push.passed_over, answer.outcome) == (Outcome.APPLIED, step, Outcome.STALE)
        assert (push.request, answer.request, push.facts, answer.facts) == (None, None, (), ())


@settings(max_examples=600, deadline=None)
@given(LINES, st.booleans(), POLICIES)
def test_whatever_arrives_the_state_never_goes_back(
    lines: list[str], sequenced: bool, policy: Policy
) -> None:
    """I4, I5 and I10, rules 6 to 9 and 12, and that nothing grows without bound."""
    script = Script(policy, sequenced=sequenced)
    for line in lines:
        before = script.state
        incoming = parse(script, line)
        decision = script.decide(incoming)
        assert decision == Script(policy, sequenced, before).decide(incoming), "pure"
        _never_back(before, decision)
        _passed_over(before, incoming, decision, policy, sequenced=sequenced)
        _only_through_an_epoch(before, incoming, decision, policy)
        _emptied_only_by_two(before, incoming, decision)
        _confirmations_add_up(before, incoming, decision)
        _bounded(decision.state, policy)


def _never_back(before: StreamState, decision: Decision) -> None:
    old, new = before.watermark, decision.state.watermark
    assert new is not None
    if old is None:
        return
    assert new.number >= old.number
    assert new.valid_from >= old.valid_from
    assert new.confirmed_until >= new.valid_from
    moved = new.number > old.number
    assert moved == (decision.outcome in {Outcome.APPLIED, Outcome.CONFLICT})
    assert moved == (new.event != old.event)
    if not moved:
        assert new.confirmed_until >= old.confirmed_until


def _passed_over(
    before: StreamState, incoming: Incoming, decision: Decision, policy: Policy, *, sequenced: bool
) -> None:
    old, new = before.watermark, decision.state.watermark
    assert new is not None
    if (
        not sequenced
        or old is None
        or decision.outcome is not Outcome.APPLIED
        or new.number.epoch > old.number.epoch
    ):
        assert (decision.passed_over, decision.missed) == (0, False)
        return
    assert decision.passed_over == max(0, new.number.sequence - old.number.sequence - 1)
    assert decision.missed == (
        decision.passed_over > 0
        and policy.step is Step.CONTIGUOUS
        and incoming.requested is None
        and before.last_session == incoming.key.session
    )
    assert decision.missed == (decision.request is RequestCause.GAP)


def _only_through_an_epoch(
    before: StreamState, incoming: Incoming, decision: Decision, policy: Policy
) -> None:
    old, new = before.watermark, decision.state.watermark
    if old is None or new is None or new.number.epoch == old.number.epoch:
        return
    (opened,) = [fact for fact in decision.facts if isinstance(fact, EpochOpened)]
    assert opened.epoch == old.number.epoch + 1
    assert len(opened.evidence) == policy.reset_confirmations
    assert opened.evidence[-1] == incoming.key
    assert len(set(opened.evidence)) == len(opened.evidence)
    assert opened.stale_snapshots >= policy.reset_confirmations - 1
    pending = before.pending_for(ConfirmationReason.RESET)
    assert incoming.requested is not None
    assert incoming.requested > max(old.arrival, 0 if pending is None else pending.arrival)


def _emptied_only_by_two(before: StreamState, incoming: Incoming, decision: Decision) -> None:
    moved = decision.outcome in {Outcome.APPLIED, Outcome.CONFLICT}
    if before.watermark is None or not incoming.shrinks or not moved:
        return
    pending = before.pending_for(ConfirmationReason.MASS_DELETE)
    assert pending is not None
    assert incoming.requested is not None
    assert incoming.requested > pending.arrival


def _confirmations_add_up(before: StreamState, incoming: Incoming, decision: Decision) -> None:
    """What was pending or is raised is pending afterwards or resolved, by a fresh answer where it must be."""
    pending = [(each.reason, each.raised_by) for each in before.pending]
    for fact in decision.facts:
        if isinstance(fact, ConfirmationRaised):
            assert all(reason is not fact.confirmation.reason for reason, _ in pending)
            pending.append((fact.confirmation.reason, fact.confirmation.raised_by))
        elif isinstance(fact, ConfirmationResolved):
            pending.remove((fact.confirmation.reason, fact.confirmation.raised_by))
            if fact.resolution in {Resolution.CONFIRMED, Resolution.REFUTED}:
                assert incoming.requested is not None
    assert sorted(pending) == sorted((each.reason, each.raised_by) for each in decision.state.pending)


def _bounded(state: StreamState, policy: Policy) -> None:
    reasons = [each.reason for each in state.pending]
    assert len(reasons) == len(set(reasons))
    assert all(len(each.evidence) <= policy.reset_confirmations for each in state.pending)
    assert len(state.epochs) <= max(policy.epochs_per_hour, 1)
