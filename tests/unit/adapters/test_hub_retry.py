"""How long the link waits before its next attempt."""

from random import Random

import pytest
from typing_extensions import override

from ingestor.adapters.hub.causes import LinkFailure, Step
from ingestor.adapters.hub.options import LinkTiming
from ingestor.adapters.hub.retry import Retry

LOST = LinkFailure("eof")
REFUSED = LinkFailure("http_401", step=Step.NEGOTIATE)


class Longest(Random):
    @override
    def random(self) -> float:
        return 1.0


def retry() -> Retry:
    return Retry(LinkTiming(), Longest())


def pauses(
    retry: Retry, count: int, failure: LinkFailure = LOST, *, lived: float = 0.0, answered: bool = False
) -> list[float]:
    return [retry.pause(failure, "key", lived_seconds=lived, answered=answered) for _ in range(count)]


def test_failures_in_a_row_wait_longer_up_to_the_cap() -> None:
    assert pauses(retry(), 8) == [1, 2, 4, 8, 16, 32, 60, 60]


def test_a_session_that_lived_resets_the_back_off() -> None:
    after = retry()
    pauses(after, 6)
    assert pauses(after, 1, lived=61) == [1]
    assert pauses(after, 1) == [2]


def test_answered_commands_reset_the_back_off() -> None:
    """Links of 30 s whose commands were answered each time."""
    assert pauses(retry(), 10, lived=30, answered=True) == [1] * 10
    assert pauses(retry(), 3, lived=30) == [1, 2, 4]


def test_a_hub_that_ends_every_session_right_after_its_answers_is_not_met_in_a_tight_loop() -> None:
    assert pauses(retry(), 4, lived=0.5, answered=True) == [1, 2, 4, 8]


def test_a_key_that_has_worked_is_tried_again_soon_for_a_while() -> None:
    after = retry()
    after.opened("key")
    assert pauses(after, 5, REFUSED) == [5, 15, 60, 300, 300]
    after.opened("key")
    assert pauses(after, 1, REFUSED) == [5]


def test_a_key_that_has_never_worked_waits_long() -> None:
    after = retry()
    after.opened("another key")
    assert pauses(after, 2, REFUSED) == [300, 300]


def test_the_pause_for_a_refused_key_has_jitter() -> None:
    after = Retry(LinkTiming(), Random(1))
    drawn = pauses(after, 100, REFUSED)
    assert all(150 <= pause <= 300 for pause in drawn)
    assert len(set(drawn)) > 90


@pytest.mark.parametrize("failure", [LOST, LinkFailure("http_429")])
def test_the_hubs_retry_after_is_added(failure: LinkFailure) -> None:
    later = LinkFailure(failure.cause, retry_after_seconds=30)
    assert pauses(retry(), 1, later) == [31]


def test_a_page_of_something_before_the_hub_says_nothing_about_the_key() -> None:
    page = LinkFailure("http_403", step=Step.NEGOTIATE, before_hub=True)
    assert pauses(retry(), 3, page) == [1, 2, 4]
