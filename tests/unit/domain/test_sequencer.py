"""The rules of the sequencer, one script each. The numbers are those of `ingestor/domain/RULES.md`.

Invariants I4, I5, I10.
"""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

import ingestor.domain
from ingestor.domain.decision import EpochOpened, Policy, Step
from ingestor.domain.limits import MAX_REVISION
from ingestor.domain.streams import ConfirmationReason
from tests.support.trading_script import Script, parse

SCRIPTS = {
    "01 the first snapshot opens the first epoch": """
        push 5      -> applied 1/5/0, epoch 1
    """,
    "02 the next number applies": """
        push 5      -> applied 1/5/0, epoch 1
        push 6      -> applied 1/6/0
    """,
    "02 numbers that are passed over are a fact, and nothing is requested for it": """
        push 5              -> applied 1/5/0, epoch 1
        push 9              -> applied 1/9/0, passed over 3
        answer 12           -> applied 1/12/0, passed over 2
        late 20             -> applied 1/20/0, passed over 7
        push 25 session=B   -> applied 1/25/0, passed over 4
    """,
    "04 the same again is a duplicate, however it came": """
        push 5      -> applied 1/5/0, epoch 1
        push 5      -> duplicate 1/5/0
        answer 5    -> duplicate 1/5/0
        late 5      -> duplicate 1/5/0
    """,
    "05 the same number with other content is a conflict, and the later receipt counts": """
        push 5              -> applied 1/5/0, epoch 1
        push 5 c=other      -> conflict 1/5/1, raised conflict, request confirmation
        late 5 c=other      -> duplicate 1/5/1
        answer 5 c=other    -> duplicate 1/5/1, resolved conflict confirmed
    """,
    "05 an answer that agrees with neither is another conflict, and nothing more is requested": """
        push 5              -> applied 1/5/0, epoch 1
        push 5 c=other      -> conflict 1/5/1, raised conflict, request confirmation
        answer 5 c=third    -> conflict 1/5/2, resolved conflict superseded, raised conflict
        answer 5 c=fourth   -> conflict 1/5/3, resolved conflict superseded, raised conflict
        answer 5 c=fourth   -> duplicate 1/5/3, resolved conflict confirmed
    """,
    "05 a push that agrees with neither requests again": """
        push 5          -> applied 1/5/0, epoch 1
        push 5 c=other  -> conflict 1/5/1, raised conflict, request confirmation
        late 5 c=third  -> conflict 1/5/2, resolved conflict superseded, raised conflict, request confirmation
        push 5 c=fourth -> conflict 1/5/3, resolved conflict superseded, raised conflict, request confirmation
    """,
    "05 a higher number makes a conflict irrelevant": """
        push 5          -> applied 1/5/0, epoch 1
        push 5 c=other  -> conflict 1/5/1, raised conflict, request confirmation
        push 6          -> applied 1/6/0, resolved conflict superseded
    """,
    "05 a conflict that would empty the account waits like any other emptied list": """
        push 5                      -> applied 1/5/0, epoch 1
        push 5 c=empty shrinks      -> pending 1/5/0, raised mass_delete, request confirmation
        answer 5 c=empty shrinks    -> applied 1/5/1, resolved mass_delete confirmed
    """,
    "06 an answer that a push has overtaken is stale and nothing more": """
        push 5      -> applied 1/5/0, epoch 1
        push 9      -> applied 1/9/0, passed over 3
        late 5      -> stale 1/9/0, overtaken
        push 10     -> applied 1/10/0
        late 9      -> stale 1/10/0, overtaken
    """,
    "06 a duplicate sets nothing: an answer requested before it still tells": """
        push 9      -> applied 1/9/0, epoch 1
        push 9      -> duplicate 1/9/0
        late 5      -> stale 1/9/0, raised reset_suspected, request confirmation
    """,
    "06 an overtaken answer is no second answer": """
        push 50     -> applied 1/50/0, epoch 1
        answer 1    -> stale 1/50/0, raised reset_suspected, request confirmation
        push 51     -> applied 1/51/0, resolved reset_suspected superseded
        late 2      -> stale 1/51/0, overtaken
        answer 3    -> stale 1/51/0, raised reset_suspected, request confirmation
        answer 4    -> applied 2/4/0, resolved reset_suspected confirmed, epoch 2 after 1
    """,
    "07 a lower push requests once for each watermark": """
        push 50     -> applied 1/50/0, epoch 1
        push 49     -> stale 1/50/0, request confirmation
        push 48     -> stale 1/50/0
        push 50     -> duplicate 1/50/0
        push 49     -> stale 1/50/0
        push 51     -> applied 1/51/0
        push 49     -> stale 1/51/0, request confirmation
        push 49     -> stale 1/51/0
    """,
    "07 a lower push requests again after a fresh answer, and not after an older one": """
        push 50     -> applied 1/50/0, epoch 1
        push 49     -> stale 1/50/0, request confirmation
        late 50     -> duplicate 1/50/0
        push 48     -> stale 1/50/0
        answer 50   -> duplicate 1/50/0
        push 47     -> stale 1/50/0, request confirmation
    """,
    "07 pushes alone never make a reset": """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, request confirmation
        push 2      -> stale 1/50/0
        push 3      -> stale 1/50/0
        push 51     -> applied 1/51/0
    """,
    "08 two answers, the second requested after the first had come, open an epoch": """
        push 50     -> applied 1/50/0, epoch 1
        answer 1    -> stale 1/50/0, raised reset_suspected, request confirmation
        late 2      -> stale 1/50/0
        answer 2    -> applied 2/2/0, resolved reset_suspected confirmed, epoch 2 after 2
        push 3      -> applied 2/3/0
    """,
    "08 the stale snapshots before the reset was confirmed are counted": """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, request confirmation
        push 2      -> stale 1/50/0
        answer 3    -> stale 1/50/0, raised reset_suspected, request confirmation
        push 4      -> stale 1/50/0
        answer 5    -> applied 2/5/0, resolved reset_suspected confirmed, epoch 2 after 4
        push 4      -> stale 2/5/0, request confirmation
    """,
    "08 a new session needs two answers too": """
        push 50             -> applied 1/50/0, epoch 1
        answer 1 session=B  -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 1 session=B  -> applied 2/1/0, resolved reset_suspected confirmed, epoch 2 after 1
    """,
    "08 a fresh answer that is not lower refutes the reset": """
        push 50     -> applied 1/50/0, epoch 1
        answer 1    -> stale 1/50/0, raised reset_suspected, request confirmation
        push 50     -> duplicate 1/50/0
        late 50     -> duplicate 1/50/0, resolved reset_suspected refuted
    """,
    "08 a fresh answer that is higher refutes it too": """
        push 50     -> applied 1/50/0, epoch 1
        answer 1    -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 51   -> applied 1/51/0, resolved reset_suspected refuted
    """,
    "08 an answer that was requested before the first one came refutes nothing": """
        push 50     -> applied 1/50/0, epoch 1
        answer 1    -> stale 1/50/0, raised reset_suspected, request confirmation
        late 50     -> duplicate 1/50/0
        answer 50   -> duplicate 1/50/0, resolved reset_suspected refuted
    """,
    "08 a higher push supersedes it": """
        push 50     -> applied 1/50/0, epoch 1
        answer 1    -> stale 1/50/0, raised reset_suspected, request confirmation
        push 51     -> applied 1/51/0, resolved reset_suspected superseded
    """,
    "08 a counter that was seen rising may have passed W: a higher answer only supersedes": """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, request confirmation
        answer 2    -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 51   -> applied 1/51/0, resolved reset_suspected superseded
    """,
    "08 a counter that was seen once may have risen later": """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, request confirmation
        push 2      -> stale 1/50/0
        answer 1    -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 51   -> applied 1/51/0, resolved reset_suspected superseded
    """,
    "08 a counter that was seen falling has passed nothing: a higher answer refutes": """
        push 50     -> applied 1/50/0, epoch 1
        push 2      -> stale 1/50/0, request confirmation
        answer 1    -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 51   -> applied 1/51/0, resolved reset_suspected refuted
    """,
    "08 a counter that was seen standing still has passed nothing either": """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, request confirmation
        answer 1    -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 51   -> applied 1/51/0, resolved reset_suspected refuted
    """,
    "08 an answer that is the same refutes it even where the numbers were seen rising": """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, request confirmation
        answer 2    -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 50   -> duplicate 1/50/0, resolved reset_suspected refuted
    """,
    "08 an epoch ends what else is pending": """
        push 50             -> applied 1/50/0, epoch 1
        push 50 c=other     -> conflict 1/50/1, raised conflict, request confirmation
        push 51 shrinks     -> pending 1/50/1, raised mass_delete, request confirmation
        answer 1            -> stale 1/50/1, raised reset_suspected, request confirmation
        answer 2 -> applied 2/2/0, resolved reset_suspected confirmed, \
resolved conflict superseded, resolved mass_delete superseded, epoch 2 after 1
    """,
    "08 a second answer that would empty the account is pending, and a third one decides": """
        push 50             -> applied 1/50/0, epoch 1
        answer 1            -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 2 shrinks    -> pending 1/50/0, raised mass_delete, request confirmation
        late 2 shrinks      -> stale 1/50/0
        answer 3 shrinks    -> applied 2/3/0, resolved reset_suspected confirmed, \
resolved mass_delete confirmed, epoch 2 after 3
    """,
    "08 a third answer with everything in it opens the epoch": """
        push 50             -> applied 1/50/0, epoch 1
        answer 1            -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 2 shrinks    -> pending 1/50/0, raised mass_delete, request confirmation
        answer 3            -> applied 2/3/0, resolved reset_suspected confirmed, \
resolved mass_delete superseded, epoch 2 after 2
    """,
    "08 what an emptied answer raised is refuted with the reset": """
        push 50             -> applied 1/50/0, epoch 1
        answer 1            -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 2 shrinks    -> pending 1/50/0, raised mass_delete, request confirmation
        answer 50           -> duplicate 1/50/0, resolved reset_suspected refuted, \
resolved mass_delete refuted
    """,
    "10 another user is another stream, which begins by itself": """
        push 1      -> applied 1/1/0, epoch 1
    """,
    "11 a deleted account is a state like any other": """
        push 5          -> applied 1/5/0, epoch 1
        push 6 deleted  -> applied 1/6/0
    """,
    "12 a snapshot that loses most of the account waits for a fresh answer": """
        push 5              -> applied 1/5/0, epoch 1
        push 6 shrinks      -> pending 1/5/0, raised mass_delete, request confirmation
        late 7 shrinks      -> pending 1/5/0
        push 7 shrinks      -> pending 1/5/0
        answer 7 shrinks    -> applied 1/7/0, passed over 1, resolved mass_delete confirmed
    """,
    "12 a fresh answer with everything in it refutes the loss": """
        push 5              -> applied 1/5/0, epoch 1
        push 6 shrinks      -> pending 1/5/0, raised mass_delete, request confirmation
        answer 7            -> applied 1/7/0, passed over 1, resolved mass_delete refuted
    """,
    "12 a fresh answer that nothing has changed refutes it too, and no other word does": """
        push 5              -> applied 1/5/0, epoch 1
        push 6 shrinks      -> pending 1/5/0, raised mass_delete, request confirmation
        push 5              -> duplicate 1/5/0
        push 6 shrinks      -> pending 1/5/0
        late 5              -> duplicate 1/5/0, resolved mass_delete refuted
    """,
    "12 a higher snapshot that is not fresh only supersedes the loss": """
        push 5              -> applied 1/5/0, epoch 1
        push 6 shrinks      -> pending 1/5/0, raised mass_delete, request confirmation
        late 7              -> applied 1/7/0, passed over 1, resolved mass_delete superseded
        push 8 shrinks      -> pending 1/7/0, raised mass_delete, request confirmation
        push 9              -> applied 1/9/0, passed over 1, resolved mass_delete superseded
    """,
    "12 a conflict leaves an emptied list pending": """
        push 5              -> applied 1/5/0, epoch 1
        push 6 shrinks      -> pending 1/5/0, raised mass_delete, request confirmation
        push 5 c=other      -> conflict 1/5/1, raised conflict, request confirmation
        answer 5 c=other    -> duplicate 1/5/1, resolved conflict confirmed, resolved mass_delete refuted
    """,
    "12 an emptied list that is confirmed makes a conflict irrelevant": """
        push 5              -> applied 1/5/0, epoch 1
        push 5 c=other      -> conflict 1/5/1, raised conflict, request confirmation
        push 6 shrinks      -> pending 1/5/1, raised mass_delete, request confirmation
        answer 6 shrinks    -> applied 1/6/0, resolved mass_delete confirmed, resolved conflict superseded
    """,
    "13 an asset that is missing is for the holdings to say": """
        push 5      -> applied 1/5/0, epoch 1
        push 6 c=x  -> applied 1/6/0
    """,
    "14 nothing without a proper number gets here: the decoder rejects it": """
        push 0      -> applied 1/0/0, epoch 1
    """,
}

CONTIGUOUS = {
    "03 numbers that a push passes over were missed, and a snapshot is requested": """
        push 5      -> applied 1/5/0, epoch 1
        push 6      -> applied 1/6/0
        push 9      -> applied 1/9/0, passed over 2, missed, request gap
        answer 9    -> duplicate 1/9/0
    """,
    "03 one number that is passed over is enough": """
        push 5      -> applied 1/5/0, epoch 1
        push 7      -> applied 1/7/0, passed over 1, missed, request gap
    """,
    "03 numbers that an answer passes over do not count as missed": """
        push 5      -> applied 1/5/0, epoch 1
        answer 9    -> applied 1/9/0, passed over 3
        late 12     -> applied 1/12/0, passed over 2
    """,
    "03 numbers passed over before the first word of a session belong to the gap between sessions": """
        push 5              -> applied 1/5/0, epoch 1
        push 9 session=B    -> applied 1/9/0, passed over 3
        push 12 session=B   -> applied 1/12/0, passed over 2, missed, request gap
    """,
    "03 a duplicate is a word of the session": """
        push 5              -> applied 1/5/0, epoch 1
        push 5 session=B    -> duplicate 1/5/0
        push 9 session=B    -> applied 1/9/0, passed over 3, missed, request gap
    """,
    "03 a stale snapshot is a word of the session": """
        push 5              -> applied 1/5/0, epoch 1
        push 3 session=B    -> stale 1/5/0, request confirmation
        push 9 session=B    -> applied 1/9/0, passed over 3, missed, request gap
    """,
    "03 what waits for confirmation has missed nothing yet": """
        push 5              -> applied 1/5/0, epoch 1
        push 9 shrinks      -> pending 1/5/0, raised mass_delete, request confirmation
        push 10             -> applied 1/10/0, passed over 4, missed, resolved mass_delete superseded, \
request gap
    """,
}

PAIRS = {
    "04 pairs: the first list, the same again, a changed one": """
        push 0 c=a      -> applied 1/1/0, epoch 1
        push 0 c=a      -> duplicate 1/1/0
        answer 0 c=b    -> applied 1/2/0
        push 0 c=a      -> applied 1/3/0
    """,
    "06 pairs: an answer that a push has overtaken may be older than it, so another is requested": """
        push 0 c=a      -> applied 1/1/0, epoch 1
        push 0 c=b      -> applied 1/2/0
        late 0 c=a      -> stale 1/2/0, request confirmation
        late 0 c=b      -> duplicate 1/2/0
        answer 0 c=a    -> applied 1/3/0
    """,
    "12 pairs: a list that loses most of it waits for a fresh answer": """
        push 0 c=a              -> applied 1/1/0, epoch 1
        push 0 c=b shrinks      -> pending 1/1/0, raised mass_delete, request confirmation
        push 0 c=b shrinks      -> pending 1/1/0
        answer 0 c=b shrinks    -> applied 1/2/0, resolved mass_delete confirmed
    """,
    "12 pairs: a fresh answer that nothing has changed refutes the loss": """
        push 0 c=a              -> applied 1/1/0, epoch 1
        push 0 c=b shrinks      -> pending 1/1/0, raised mass_delete, request confirmation
        push 0 c=a              -> duplicate 1/1/0
        answer 0 c=a            -> duplicate 1/1/0, resolved mass_delete refuted
    """,
    "12 pairs: another list pushed meanwhile supersedes the loss": """
        push 0 c=a              -> applied 1/1/0, epoch 1
        push 0 c=b shrinks      -> pending 1/1/0, raised mass_delete, request confirmation
        push 0 c=c              -> applied 1/2/0, resolved mass_delete superseded
    """,
}


def check(script: Script, text: str) -> None:
    for line in text.strip().splitlines():
        given, expected = (part.strip() for part in line.split("->"))
        assert script.play(given) == expected, given


@pytest.mark.parametrize("name", SCRIPTS)
def test_balances(name: str) -> None:
    check(Script(), SCRIPTS[name])


@pytest.mark.parametrize("name", CONTIGUOUS)
def test_balances_of_a_hub_that_pushes_every_number(name: str) -> None:
    check(Script(Policy(Step.CONTIGUOUS)), CONTIGUOUS[name])


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str) -> None:
    check(Script(sequenced=False), PAIRS[name])


def test_05_a_number_has_no_more_revisions_than_can_be_stored() -> None:
    script = Script()
    check(script, "push 5 -> applied 1/5/0, epoch 1")
    watermark = script.state.watermark
    assert watermark is not None
    last = replace(watermark, number=replace(watermark.number, revision=MAX_REVISION))
    script.state = replace(script.state, watermark=last)
    check(
        script,
        f"""
        push 5 c=other          -> stale 1/5/{MAX_REVISION}
        push 5 c=empty shrinks  -> stale 1/5/{MAX_REVISION}
        push 6                  -> applied 1/6/0
        """,
    )


def test_08_one_answer_is_enough_where_the_operator_says_so() -> None:
    check(
        Script(Policy(reset_confirmations=1)),
        """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, request confirmation
        answer 2    -> applied 2/2/0, raised reset_suspected, resolved reset_suspected confirmed, \
epoch 2 after 1
        answer 1    -> applied 3/1/0, raised reset_suspected, resolved reset_suspected confirmed, epoch 3
        """,
    )


def test_08_one_answer_is_not_enough_where_it_empties_the_account() -> None:
    check(
        Script(Policy(reset_confirmations=1)),
        """
        push 50             -> applied 1/50/0, epoch 1
        answer 1 shrinks    -> pending 1/50/0, raised reset_suspected, raised mass_delete, \
request confirmation
        answer 1 shrinks    -> applied 2/1/0, resolved reset_suspected confirmed, \
resolved mass_delete confirmed, epoch 2 after 1
        """,
    )


def test_08_where_three_answers_are_needed_each_requests_the_next() -> None:
    check(
        Script(Policy(reset_confirmations=3)),
        """
        push 50     -> applied 1/50/0, epoch 1
        answer 1    -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 2    -> stale 1/50/0, request confirmation
        late 2      -> stale 1/50/0
        answer 3    -> applied 2/3/0, resolved reset_suspected confirmed, epoch 2 after 3
        """,
    )


def test_08_the_epoch_names_its_evidence_and_the_stale_snapshots_before_it() -> None:
    script = Script()
    for line in ("push 50", "push 1", "answer 2"):
        script.play(line)
    first_lower = script.now - timedelta(seconds=1)
    decision = script.decide(parse(script, "answer 3"))

    (opened,) = [fact for fact in decision.facts if isinstance(fact, EpochOpened)]
    assert [key.ordinal for key in opened.evidence] == [3, 4]
    assert (opened.first_sequence, opened.previous_sequence) == (3, 50)
    assert (opened.stale_snapshots, opened.first_stale_at) == (2, first_lower)


def test_08_an_epoch_that_is_opened_at_once_has_passed_nothing_over() -> None:
    script = Script(Policy(reset_confirmations=1))
    script.play("push 50")
    decision = script.decide(parse(script, "answer 3"))

    (opened,) = [fact for fact in decision.facts if isinstance(fact, EpochOpened)]
    assert (opened.stale_snapshots, opened.first_stale_at) == (0, None)


def test_09_resets_in_quick_succession_are_not_followed_until_an_hour_has_passed() -> None:
    script = Script(Policy(epochs_per_hour=1))
    check(
        script,
        """
        push 50         -> applied 1/50/0, epoch 1
        answer 1        -> stale 1/50/0, raised reset_suspected, request confirmation
        answer 10       -> applied 2/10/0, resolved reset_suspected confirmed, epoch 2 after 1
        answer 2        -> stale 2/10/0, raised reset_suspected, request confirmation
        answer 3        -> stale 2/10/0, degraded
        answer 4        -> stale 2/10/0, degraded
        answer 5 +3595  -> stale 2/10/0, degraded
        answer 5        -> stale 2/10/0, degraded
        answer 5        -> applied 3/5/0, resolved reset_suspected confirmed, epoch 3 after 5
        """,
    )
    assert len(script.state.epochs) == 1, "what is older than an hour is forgotten"


def test_09_a_degraded_stream_keeps_no_more_evidence_than_needed() -> None:
    script = Script(Policy(epochs_per_hour=0))
    script.play("push 50")
    for _ in range(20):
        script.play("answer 2")

    pending = script.state.pending_for(ConfirmationReason.RESET)
    assert pending is not None
    assert [key.ordinal for key in pending.evidence] == [2, 21], "the first and the latest"


def test_04_a_duplicate_extends_what_is_confirmed() -> None:
    script = Script()
    script.play("push 5")
    script.play("push 5 +60")

    assert script.state.watermark is not None
    assert script.state.watermark.confirmed_until == script.now
    assert script.state.watermark.valid_from == script.now - timedelta(seconds=60)


def test_a_clock_that_steps_back_does_not_turn_intervals_inside_out() -> None:
    script = Script()
    script.play("push 5")
    first = script.state.watermark
    script.play("push 6 -3600")
    second = script.state.watermark
    script.play("push 6 -3600")

    assert first is not None
    assert second is not None
    assert second.valid_from == first.valid_from == second.confirmed_until
    assert script.state.watermark == second, "an earlier stamp confirms nothing"


def test_a_confirmation_in_the_future_moves_no_later_version() -> None:
    """A clock that was ahead for a moment must not push what follows behind it."""
    script = Script()
    script.play("push 5")
    script.play("push 5 +3600")
    script.play("push 6 -3590")

    assert script.state.watermark is not None
    assert script.state.watermark.valid_from == script.now


def test_11_the_flag_is_part_of_the_state() -> None:
    script = Script()
    script.play("push 5")
    script.play("push 6 deleted")

    assert script.state.watermark is not None
    assert script.state.watermark.deleted


def test_every_rule_of_the_table_has_a_script() -> None:
    table = (Path(ingestor.domain.__file__).parent / "RULES.md").read_text()
    rules = {f"{int(number):02}" for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    here = Path(__file__).read_text()
    scripts = {name[:2] for name in (*SCRIPTS, *CONTIGUOUS, *PAIRS)}
    scripts |= set(re.findall(r"def test_(\d\d)_", here))

    assert len(rules) == 14
    assert rules <= scripts
