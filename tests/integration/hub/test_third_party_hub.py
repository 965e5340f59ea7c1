"""The link against a SignalR server that shares no line with us; the daemon against it is in acceptance."""

import pytest

from ingestor.adapters.hub.link import HubLink
from ingestor.domain.requests import ArgumentForm, Command
from tests.support.hub_listener import RecordingListener, linked
from tests.support.third_party_hub import Account, Pings, on_aiohttp, on_uvicorn
from tests.support.waiting import eventually


def request(link: HubLink, listener: RecordingListener, request_id: str) -> None:
    """Request balances in the newest session, and wait for event and Completion."""
    session = listener.opened[-1].session
    link.request(session, Command.GET_BALANCES, request_id, ArgumentForm.POSITIONAL)
    eventually(lambda: (session, request_id, None) in listener.completions)
    eventually(lambda: any(request_id.encode() in raw for raw in listener.raws))


@pytest.mark.parametrize("negotiation", ["always", "never"])
def test_connect_request_and_be_answered_or_refused(negotiation: str) -> None:
    listener = RecordingListener()
    account = Account(pairs=None)
    with on_aiohttp(account) as hub, linked(hub.url, listener, negotiation=negotiation) as link:
        eventually(lambda: listener.opened)
        request(link, listener, "one")
        link.request(listener.opened[0].session, Command.GET_PAIRS, "two", ArgumentForm.POSITIONAL)
        eventually(lambda: len(listener.completions) == 2)
        _, request_id, error = listener.completions[1]
        assert request_id == "two"
        assert error
        assert account.commands == [("GetBalances", "one"), ("GetPairs", "two")]
        assert listener.closed == []


def test_pings_on_the_websockets_own_level_are_answered() -> None:
    """Stock signalrcore dies at the first; uvicorn cuts who does not answer."""
    listener = RecordingListener()
    with on_uvicorn(Account()) as hub, linked(hub.url, listener) as link:
        eventually(lambda: listener.opened)
        enough = Pings.answered + 4
        eventually(lambda: Pings.answered >= enough)
        request(link, listener, "later")
        assert len(listener.opened) == 1
