"""The rules of the sequencer, one script each. The numbers are those of `ingestor/domain/RULES.md`."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

import ingestor.domain
from ingestor.domain.decision import Policy
from ingestor.domain.limits import MAX_REVISION
from tests.support.trading_script import Script

SCRIPTS = {
    "01 the first snapshot opens the first epoch": """
        push 5      -> applied 1/5/0, epoch 1
    """,
    "02 the next number applies": """
        push 5      -> applied 1/5/0, epoch 1
        push 6      -> applied 1/6/0
    """,
    "03 numbers skipped between two polls are explained by the polling": """
        reply 5     -> applied 1/5/0, epoch 1
        reply 9     -> applied 1/9/0, skip 6-8 polling
    """,
    "03 numbers skipped while the link was away are explained by its gap": """
        push 5              -> applied 1/5/0, epoch 1
        push 9 session=B    -> applied 1/9/0, skip 6-8 reconnected
    """,
    "03 that the link was away explains more than that we asked when it was back": """
        push 5              -> applied 1/5/0, epoch 1
        reply 9 session=B   -> applied 1/9/0, skip 6-8 reconnected
        reply 12 session=B  -> applied 1/12/0, skip 10-11 polling
    """,
    "04 a new session explains only what was skipped before its first word": """
        push 5              -> applied 1/5/0, epoch 1
        push 5 session=B    -> duplicate 1/5/0
        push 9 session=B    -> applied 1/9/0, skip 6-8 pushed, ask gap
    """,
    "04 a late word of the new session counts as its first": """
        push 5              -> applied 1/5/0, epoch 1
        push 3 session=B    -> stale 1/5/0, raised reset_suspected, ask suspicion
        push 9 session=B    -> applied 1/9/0, skip 6-8 pushed, ask gap
    """,
    "04 what is replayed is not heard": """
        push 5              -> applied 1/5/0, epoch 1
        replay 5 session=B  -> duplicate 1/5/0
        push 9 session=B    -> applied 1/9/0, skip 6-8 reconnected
    """,
    "04 numbers skipped by a push are a gap, and a fresh snapshot is asked for": """
        push 5      -> applied 1/5/0, epoch 1
        push 9      -> applied 1/9/0, skip 6-8 pushed, ask gap
        reply 9     -> duplicate 1/9/0
    """,
    "05 the same again is a duplicate": """
        push 5      -> applied 1/5/0, epoch 1
        push 5      -> duplicate 1/5/0
        reply 5     -> duplicate 1/5/0
    """,
    "06 the same number with other content is a conflict, and the later one counts": """
        push 5          -> applied 1/5/0, epoch 1
        push 5 c=other  -> conflict 1/5/1, raised conflict, ask suspicion
        reply 5 c=other -> duplicate 1/5/1, resolved conflict confirmed
    """,
    "06 an answer that agrees with neither is reported once more, without asking for ever": """
        push 5          -> applied 1/5/0, epoch 1
        push 5 c=other  -> conflict 1/5/1, raised conflict, ask suspicion
        reply 5 c=third -> conflict 1/5/2, resolved conflict superseded, raised conflict
        push 6          -> applied 1/6/0, resolved conflict superseded
    """,
    "06 a conflict that would empty the account is held like any other": """
        push 5                  -> applied 1/5/0, epoch 1
        push 5 c=empty shrinks  -> held 1/5/0, raised mass_delete, ask suspicion
        reply 5 c=empty shrinks -> applied 1/5/1, resolved mass_delete confirmed
    """,
    "07 a lower number is stale and raises the question": """
        push 5      -> applied 1/5/0, epoch 1
        push 3      -> stale 1/5/0, raised reset_suspected, ask suspicion
        push 4      -> stale 1/5/0
    """,
    "08 a fresh answer that is not lower refutes the reset": """
        push 5      -> applied 1/5/0, epoch 1
        push 3      -> stale 1/5/0, raised reset_suspected, ask suspicion
        reply 5     -> duplicate 1/5/0, resolved reset_suspected refuted
    """,
    "08 a higher answer refutes it too": """
        push 5      -> applied 1/5/0, epoch 1
        push 3      -> stale 1/5/0, raised reset_suspected, ask suspicion
        reply 6     -> applied 1/6/0, resolved reset_suspected refuted
    """,
    "08 an answer to an older question refutes nothing": """
        push 5      -> applied 1/5/0, epoch 1
        push 3      -> stale 1/5/0, raised reset_suspected, ask suspicion
        late 5      -> duplicate 1/5/0
    """,
    "09 a second witness, asked for after the doubt, opens an epoch": """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, raised reset_suspected, ask suspicion
        reply 2     -> applied 2/2/0, resolved reset_suspected confirmed, epoch 2
        push 3      -> applied 2/3/0
    """,
    "09 an answer that was asked for before the doubt is no second witness": """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, raised reset_suspected, ask suspicion
        late 2      -> stale 1/50/0
    """,
    "09 an epoch ends the other doubts with it": """
        push 50             -> applied 1/50/0, epoch 1
        push 50 c=other     -> conflict 1/50/1, raised conflict, ask suspicion
        push 51 shrinks     -> held 1/50/1, raised mass_delete, ask suspicion
        push 1              -> stale 1/50/1, raised reset_suspected, ask suspicion
        reply 2 -> applied 2/2/0, resolved reset_suspected confirmed, \
resolved conflict superseded, resolved mass_delete superseded, epoch 2
    """,
    "09 a second witness that would empty the account is held, and a third one decides": """
        push 50             -> applied 1/50/0, epoch 1
        push 1              -> stale 1/50/0, raised reset_suspected, ask suspicion
        reply 2 shrinks     -> held 1/50/0, raised mass_delete, ask suspicion
        late 2 shrinks      -> stale 1/50/0
        reply 3 shrinks     -> applied 2/3/0, resolved reset_suspected confirmed, \
resolved mass_delete confirmed, epoch 2
    """,
    "09 a third witness with everything in it opens the epoch and refutes the loss": """
        push 50             -> applied 1/50/0, epoch 1
        push 1              -> stale 1/50/0, raised reset_suspected, ask suspicion
        reply 2 shrinks     -> held 1/50/0, raised mass_delete, ask suspicion
        reply 3             -> applied 2/3/0, resolved reset_suspected confirmed, \
resolved mass_delete superseded, epoch 2
    """,
    "09 an empty witness of a reset that was none is refuted with it": """
        push 50             -> applied 1/50/0, epoch 1
        push 1              -> stale 1/50/0, raised reset_suspected, ask suspicion
        reply 2 shrinks     -> held 1/50/0, raised mass_delete, ask suspicion
        reply 50            -> duplicate 1/50/0, resolved reset_suspected refuted, \
resolved mass_delete refuted
    """,
    "09 an answer that W has overtaken is no second witness, and is asked for again": """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, raised reset_suspected, ask suspicion
        push 51     -> applied 1/51/0
        late 2      -> stale 1/51/0, ask suspicion
        reply 2     -> applied 2/2/0, resolved reset_suspected confirmed, epoch 2
    """,
    "10 the first answer of a new session may be lower, and still needs a second": """
        push 50             -> applied 1/50/0, epoch 1
        reply 1 session=B   -> stale 1/50/0, raised reset_suspected, ask suspicion
        reply 1 session=B   -> applied 2/1/0, resolved reset_suspected confirmed, epoch 2
    """,
    "12 nothing without a proper number gets here: the decoder refuses it": """
        push 0      -> applied 1/0/0, epoch 1
    """,
    "13 another user is another stream, which begins by itself": """
        push 1      -> applied 1/1/0, epoch 1
    """,
    "14 a deleted account is a state like any other": """
        push 5          -> applied 1/5/0, epoch 1
        push 6 deleted  -> applied 1/6/0
    """,
    "15 a snapshot that loses most of the account waits for a second answer": """
        push 5              -> applied 1/5/0, epoch 1
        push 6 shrinks      -> held 1/5/0, raised mass_delete, ask suspicion
        push 7 shrinks      -> held 1/5/0
        reply 7 shrinks     -> applied 1/7/0, resolved mass_delete confirmed, skip 6-6 polling
    """,
    "15 an answer with everything in it refutes the loss": """
        push 5              -> applied 1/5/0, epoch 1
        push 6 shrinks      -> held 1/5/0, raised mass_delete, ask suspicion
        reply 7             -> applied 1/7/0, resolved mass_delete refuted, skip 6-6 polling
    """,
    "15 an answer that nothing has changed refutes it too": """
        push 5              -> applied 1/5/0, epoch 1
        push 6 shrinks      -> held 1/5/0, raised mass_delete, ask suspicion
        reply 5             -> duplicate 1/5/0, resolved mass_delete refuted
    """,
    "16 an asset that is missing is the projection's affair": """
        push 5      -> applied 1/5/0, epoch 1
        push 6 c=x  -> applied 1/6/0
    """,
    "17 what is replayed raises no doubts and never goes back": """
        push 5              -> applied 1/5/0, epoch 1
        replay 3            -> stale 1/5/0
        replay 5            -> duplicate 1/5/0
        replay 5 c=other    -> stale 1/5/0
        replay 8 shrinks    -> applied 1/8/0, skip 6-7 replayed
    """,
}

PAIRS = {
    "15 pairs: the first list, the same again, a changed one": """
        push 0 c=a      -> applied 1/1/0, epoch 1
        push 0 c=a      -> duplicate 1/1/0
        reply 0 c=b     -> applied 1/2/0
    """,
    "15 pairs: a list that loses most of it waits for a second answer": """
        push 0 c=a          -> applied 1/1/0, epoch 1
        push 0 c=b shrinks  -> held 1/1/0, raised mass_delete, ask suspicion
        reply 0 c=b shrinks -> applied 1/2/0, resolved mass_delete confirmed
    """,
    "17 pairs: what is replayed never goes back": """
        push 0 c=a      -> applied 1/1/0, epoch 1
        replay 0 c=b    -> stale 1/1/0
        replay 0 c=a    -> duplicate 1/1/0
    """,
}


def check(script: Script, text: str) -> None:
    for line in text.strip().splitlines():
        given, expected = (part.strip() for part in line.split("->"))
        assert script.play(given) == expected, given


@pytest.mark.parametrize("name", SCRIPTS)
def test_balances(name: str) -> None:
    check(Script(), SCRIPTS[name])


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str) -> None:
    check(Script(sequenced=False), PAIRS[name])


def test_06_a_number_has_no_more_revisions_than_can_be_stored() -> None:
    script = Script()
    check(script, "push 5 -> applied 1/5/0, epoch 1")
    held = script.state.watermark
    assert held is not None
    last = replace(held, mark=replace(held.mark, revision=MAX_REVISION))
    script.state = replace(script.state, watermark=last)
    check(
        script,
        f"""
        push 5 c=other          -> stale 1/5/{MAX_REVISION}
        push 5 c=empty shrinks  -> stale 1/5/{MAX_REVISION}
        push 6                  -> applied 1/6/0
        """,
    )


def test_10_one_confirmation_is_enough_where_the_operator_says_so() -> None:
    check(
        Script(Policy(reset_confirmations=1)),
        """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, raised reset_suspected, ask suspicion
        reply 2     -> applied 2/2/0, resolved reset_suspected confirmed, epoch 2
        reply 1 -> applied 3/1/0, raised reset_suspected, resolved reset_suspected confirmed, epoch 3
        """,
    )


def test_09_one_confirmation_does_not_make_an_empty_witness_enough() -> None:
    check(
        Script(Policy(reset_confirmations=1)),
        """
        push 50         -> applied 1/50/0, epoch 1
        reply 1 shrinks -> held 1/50/0, raised reset_suspected, raised mass_delete, ask suspicion
        reply 1 shrinks -> applied 2/1/0, resolved reset_suspected confirmed, \
resolved mass_delete confirmed, epoch 2
        """,
    )


def test_09_three_confirmations_ask_again_after_the_second() -> None:
    check(
        Script(Policy(reset_confirmations=3)),
        """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, raised reset_suspected, ask suspicion
        reply 2     -> stale 1/50/0, ask suspicion
        reply 3     -> applied 2/3/0, resolved reset_suspected confirmed, epoch 2
        """,
    )


def test_11_resets_in_quick_succession_are_not_followed_until_an_hour_has_passed() -> None:
    script = Script(Policy(epochs_per_hour=1))
    check(
        script,
        """
        push 50     -> applied 1/50/0, epoch 1
        push 1      -> stale 1/50/0, raised reset_suspected, ask suspicion
        reply 10    -> applied 2/10/0, resolved reset_suspected confirmed, epoch 2
        push 2      -> stale 2/10/0, raised reset_suspected, ask suspicion
        reply 3     -> stale 2/10/0, degraded
        reply 4     -> stale 2/10/0, degraded
        reply 5 +3600 -> applied 3/5/0, resolved reset_suspected confirmed, epoch 3
        """,
    )
    assert len(script.state.epochs) == 1, "what is older than an hour is forgotten"


def test_11_a_held_stream_does_not_hoard_witnesses() -> None:
    script = Script(Policy(epochs_per_hour=0))
    script.play("push 50")
    script.play("push 1")
    for _ in range(20):
        script.play("reply 2")

    (suspicion,) = script.state.doubts
    assert len(suspicion.witnesses) == 2


def test_05_a_duplicate_extends_what_is_confirmed() -> None:
    script = Script()
    script.play("push 5")
    script.play("push 5 +60")

    assert script.state.watermark is not None
    assert script.state.watermark.confirmed_until == script.now
    assert script.state.watermark.valid_from == script.now - timedelta(seconds=60)


def test_17_a_replayed_duplicate_confirms_nothing() -> None:
    script = Script()
    script.play("push 5")
    script.play("replay 5 +60")

    assert script.state.watermark is not None
    assert script.state.watermark.confirmed_until == script.now - timedelta(seconds=60)


def test_a_clock_that_steps_back_does_not_turn_intervals_inside_out() -> None:
    script = Script()
    script.play("push 5")
    first = script.state.watermark
    script.play("push 6 -3600")
    script.play("push 6 -3600")
    second = script.state.watermark

    assert first is not None
    assert second is not None
    assert second.valid_from == first.confirmed_until == second.confirmed_until


def test_14_the_flag_is_part_of_the_state() -> None:
    script = Script()
    script.play("push 5")
    script.play("push 6 deleted")

    assert script.state.watermark is not None
    assert script.state.watermark.deleted


def test_every_rule_of_the_table_has_a_script() -> None:
    table = (Path(ingestor.domain.__file__).parent / "RULES.md").read_text()
    rules = {f"{int(number):02}" for number in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)}
    here = Path(__file__).read_text()
    scripts = {name[:2] for name in (*SCRIPTS, *PAIRS)} | set(re.findall(r"def test_(\d\d)_", here))

    assert len(rules) == 17
    assert rules <= scripts
