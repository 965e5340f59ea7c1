"""The link against a SignalR server that shares no line with us; the daemon against it is in acceptance."""

import pytest

from ingestor.adapters.hub.link import HubLink
from ingestor.domain.commands import ArgumentForm, Command
from tests.support.hub_listener import Ear, linked
from tests.support.third_party_hub import Account, Pings, on_aiohttp, on_uvicorn
from tests.support.waiting import eventually


def ask(link: HubLink, ear: Ear, command_id: str) -> None:
    """Ask for balances in the newest session, and wait for event and Completion."""
    session = ear.opened[-1].session
    link.ask(session, Command.GET_BALANCES, command_id, ArgumentForm.POSITIONAL)
    eventually(lambda: (session, command_id, None) in ear.completions)
    eventually(lambda: any(command_id.encode() in raw for raw in ear.raws))


@pytest.mark.parametrize("negotiation", ["always", "never"])
def test_connect_ask_and_be_answered_or_refused(negotiation: str) -> None:
    ear = Ear()
    account = Account(pairs=None)
    with on_aiohttp(account) as hub, linked(hub.url, ear, negotiation=negotiation) as link:
        eventually(lambda: ear.opened)
        ask(link, ear, "one")
        link.ask(ear.opened[0].session, Command.GET_PAIRS, "two", ArgumentForm.POSITIONAL)
        eventually(lambda: len(ear.completions) == 2)
        _, command_id, error = ear.completions[1]
        assert command_id == "two"
        assert error
        assert account.asked == [("GetBalances", "one"), ("GetPairs", "two")]
        assert ear.closed == []


def test_pings_on_the_websockets_own_level_are_answered() -> None:
    """Stock signalrcore dies at the first; uvicorn cuts who does not answer."""
    ear = Ear()
    with on_uvicorn(Account()) as hub, linked(hub.url, ear) as link:
        eventually(lambda: ear.opened)
        enough = Pings.answered + 4
        eventually(lambda: Pings.answered >= enough)
        ask(link, ear, "later")
        assert len(ear.opened) == 1
