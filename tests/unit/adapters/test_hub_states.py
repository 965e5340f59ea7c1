"""The table that the link runs by: complete, free of dead ends, and drawn as it is."""

import pytest

from ingestor.adapters.hub.states import TRANSITIONS, LinkEvent, LinkState, after
from tests.support.link_diagram import PAGE, drawn


def reachable(start: LinkState) -> set[LinkState]:
    found = {start}
    while more := {to for (state, _), to in TRANSITIONS.items() if state in found} - found:
        found |= more
    return found


def test_every_state_can_be_reached() -> None:
    assert reachable(LinkState.IDLE) == set(LinkState)


@pytest.mark.parametrize("state", sorted(set(LinkState) - {LinkState.STOPPED}))
def test_every_state_leads_to_the_end(state: LinkState) -> None:
    assert LinkState.STOPPED in reachable(state)


def test_nothing_follows_the_end() -> None:
    assert reachable(LinkState.STOPPED) == {LinkState.STOPPED}


@pytest.mark.parametrize("state", sorted(set(LinkState) - {LinkState.STOPPED, LinkState.CLOSING}))
def test_stop_has_an_effect_in_every_state_but_while_closing(state: LinkState) -> None:
    assert after(state, LinkEvent.STOP) in {LinkState.CLOSING, LinkState.STOPPED}


@pytest.mark.parametrize("state", sorted(set(LinkState) - {LinkState.CLOSING}))
def test_only_a_torn_down_attempt_may_be_followed_by_another(state: LinkState) -> None:
    following = {event: to for (begin, event), to in TRANSITIONS.items() if begin is state}
    assert following.get(LinkEvent.DUE) in {None, LinkState.NEGOTIATING}
    assert LinkEvent.TORN_DOWN not in following


def test_what_the_table_does_not_allow_is_a_bug() -> None:
    with pytest.raises(KeyError):
        after(LinkState.STOPPED, LinkEvent.START)


def test_the_diagram_on_the_page_is_the_table() -> None:
    """Drawn anew by `python -m tests.support.link_diagram`."""
    page = PAGE.read_text("utf-8")
    assert "stateDiagram" in page
    assert drawn(page) == page
