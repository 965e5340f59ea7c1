"""Laws of the sequencer that hold whatever arrives, in whatever order."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from ingestor.domain.decision import (
    Decision,
    EpochOpened,
    Offer,
    Outcome,
    Policy,
)
from ingestor.domain.streams import Doubt, StreamState
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
        st.sampled_from(["push", "reply", "late", "replay"]),
        st.integers(0, 8),
        st.sampled_from("abc"),
        st.booleans(),
        st.sampled_from("AB"),
        st.sampled_from([1, 1, 1, -7200, 7200]),
    ),
    max_size=40,
)


@settings(max_examples=1000, deadline=None)
@given(HISTORIES, st.randoms(use_true_random=False), st.integers(0, 20))
def test_any_order_and_any_repetition_of_pushes_ends_in_the_newest_state(
    history: dict[int, bool], chance: random.Random, repeats: int
) -> None:
    """Rules 2 to 5, 7, 8, 14 and 16: the state is that of the sorted, unique input."""
    lines = [f"push {sequence}{' deleted' if gone else ''}" for sequence, gone in history.items()]
    shuffled = lines + chance.choices(lines, k=repeats)
    chance.shuffle(shuffled)
    # A fresh answer that is not lower may come at any time (rule 8): here, the newest snapshot itself.
    newest = max(history)
    shuffled.append(f"reply {newest}{' deleted' if history[newest] else ''}")
    script, tidy = Script(), Script()
    for line in shuffled:
        script.play(line)
    for sequence in sorted(history):
        tidy.play(f"push {sequence}{' deleted' if history[sequence] else ''}")

    assert script.state.watermark is not None
    assert tidy.state.watermark is not None
    assert script.state.watermark.mark == tidy.state.watermark.mark
    assert script.state.watermark.content == tidy.state.watermark.content
    assert script.state.watermark.deleted == tidy.state.watermark.deleted
    assert script.state.doubts == ()


@settings(max_examples=1500, deadline=None)
@given(LINES, st.booleans(), st.integers(1, 3), st.integers(0, 3))
def test_whatever_arrives_the_state_never_goes_back(
    lines: list[str], sequenced: bool, confirmations: int, epochs: int
) -> None:
    """I4, I5 and I10, rules 9 and 15, and that nothing grows without bound."""
    policy = Policy(confirmations, epochs)
    script = Script(policy, sequenced=sequenced)
    for line in lines:
        before = script.state
        offer = parse(script, line)
        decision = script.offer(offer)
        _never_back(before, decision)
        _only_through_an_epoch(before, offer, decision, policy)
        _emptied_only_by_two(before, offer, decision)
        _bounded(decision.state, policy)
        if offer.replayed:
            assert decision.ask is None
            assert len(decision.state.doubts) <= len(before.doubts)


def _never_back(before: StreamState, decision: Decision) -> None:
    old, new = before.watermark, decision.state.watermark
    assert new is not None
    if old is None:
        return
    assert new.mark >= old.mark
    assert new.valid_from >= old.valid_from
    assert new.confirmed_until >= old.confirmed_until
    moved = new.mark > old.mark
    assert moved == (decision.outcome in {Outcome.APPLIED, Outcome.CONFLICT})


def _only_through_an_epoch(before: StreamState, offer: Offer, decision: Decision, policy: Policy) -> None:
    old, new = before.watermark, decision.state.watermark
    if old is None or new is None or new.mark.epoch == old.mark.epoch:
        return
    (opened,) = [note for note in decision.notes if isinstance(note, EpochOpened)]
    assert opened.epoch == old.mark.epoch + 1
    assert len(opened.witnesses) >= policy.reset_confirmations
    assert opened.witnesses[-1] == offer.key
    doubt = before.doubt(Doubt.RESET)
    assert offer.asked_line is not None
    assert offer.asked_line > max(old.line, 0 if doubt is None else doubt.line)


def _emptied_only_by_two(before: StreamState, offer: Offer, decision: Decision) -> None:
    moved = before.watermark is not None and decision.state.watermark != before.watermark
    if offer.replayed or not offer.shrinks or not moved or decision.outcome is Outcome.DUPLICATE:
        return
    doubt = before.doubt(Doubt.MASS_DELETE)
    assert doubt is not None
    assert offer.asked_line is not None
    assert offer.asked_line > doubt.line


def _bounded(state: StreamState, policy: Policy) -> None:
    sorts = [suspicion.doubt for suspicion in state.doubts]
    assert len(sorts) == len(set(sorts))
    assert all(len(each.witnesses) <= max(policy.reset_confirmations, 1) for each in state.doubts)
    assert len(state.epochs) <= max(policy.epochs_per_hour, 1)
