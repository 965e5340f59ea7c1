"""The link against a SignalR server that shares no line with us."""

import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from ingestor.adapters.hub.link import HubLink
from ingestor.domain.commands import ArgumentForm, Command
from tests.support.hub_listener import Ear, linked
from tests.support.third_party_hub import AccountHub, on_aiohttp, on_uvicorn
from tests.support.waiting import eventually


def ask(link: HubLink, ear: Ear, command_id: str) -> None:
    """Ask for balances in the newest session, and wait for event and Completion."""
    session = ear.opened[-1].session
    link.ask(session, Command.GET_BALANCES, command_id, ArgumentForm.POSITIONAL)
    eventually(lambda: (session, command_id, None) in ear.completions)
    eventually(lambda: any(command_id.encode() in raw for raw in ear.raws))


@pytest.mark.parametrize("negotiation", ["always", "never"])
def test_connect_ask_and_be_answered(monkeypatch: pytest.MonkeyPatch, negotiation: str) -> None:
    ear = Ear()
    with on_aiohttp(monkeypatch) as url, linked(url, ear, negotiation=negotiation) as link:
        eventually(lambda: ear.opened)
        ask(link, ear, "one")
        link.ask(ear.opened[0].session, Command.GET_PAIRS, "two", ArgumentForm.POSITIONAL)
        eventually(lambda: len(ear.completions) == 2)
        _, command_id, error = ear.completions[1]
        assert command_id == "two"
        assert error
        assert AccountHub.asked[-2:] == [("GetBalances", "one"), ("GetPairs", "two")]
        assert ear.closed == []


def test_a_restart_of_the_hub_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    ear = Ear()
    with ExitStack() as first, ExitStack() as rest:
        url = first.enter_context(on_aiohttp(monkeypatch))
        link = rest.enter_context(linked(url, ear))
        eventually(lambda: ear.opened)
        ask(link, ear, "before")
        first.close()
        eventually(lambda: link.state.obstacle == "refused")
        with on_aiohttp(monkeypatch, urlsplit(url).port or 0):
            eventually(lambda: len(ear.opened) == 2)
            ask(link, ear, "after")
            rest.close()


def test_pings_on_the_websockets_own_level_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock signalrcore dies at the first; uvicorn cuts who does not answer."""
    ear = Ear()
    with on_uvicorn(monkeypatch, ping_seconds=0.3) as url, linked(url, ear) as link:
        eventually(lambda: ear.opened)
        time.sleep(2.0)
        ask(link, ear, "later")
        assert len(ear.opened) == 1
