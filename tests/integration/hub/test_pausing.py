"""A paused link closes in good order whatever it is doing, stays away, and connects at once when resumed."""

import time

import pytest
from structlog.testing import capture_logs

from ingestor.adapters.hub import link as module
from ingestor.adapters.hub.attempt import Attempt
from ingestor.adapters.hub.link import HubLink
from ingestor.adapters.hub.options import LinkOptions
from ingestor.domain.records import SessionEnd
from ingestor.pipeline.ports import Clock, LinkListener
from tests.integration.hub.test_stopping import LONG, away, hangs, mute
from tests.support.fault_hub import Act, FaultHub, negotiated, stay
from tests.support.hub_listener import RecordingListener, linked, make_link, quick
from tests.support.waiting import eventually


@pytest.mark.parametrize(
    ("negotiation", "sessions", "state", "requests"),
    [
        (hangs, [stay], "negotiating", 1),
        (negotiated, [hangs, stay], "connecting", 2),
        (negotiated, [mute, stay], "handshaking", 2),
        (away, [stay], "waiting", 1),
    ],
)
def test_a_link_that_is_not_up_is_paused(
    negotiation: Act, sessions: list[Act], state: str, requests: int
) -> None:
    listener = RecordingListener()
    hub = FaultHub(sessions, [negotiation, negotiated])
    with hub, linked(hub.url, listener, quick(**LONG)) as link:
        eventually(lambda: link.state.name == state and len(hub.requests) == requests)
        link.pause(paused=True)
        eventually(lambda: link.state.name == "paused", within=5)
        assert link.state.connection_error is None
        assert (listener.opened, listener.closed) == ([], [])

        link.pause(paused=False)
        eventually(lambda: listener.opened, within=5)


def test_a_session_ends_in_good_order_and_another_begins_at_once() -> None:
    """Invariant I11: the one that pauses is named as the cause of what is missed."""
    listener = RecordingListener()
    hub = FaultHub([stay, stay])
    with capture_logs() as logs, hub, linked(hub.url, listener, quick(**LONG)) as link:
        eventually(lambda: listener.opened)
        link.pause(paused=True)
        link.pause(paused=True)
        eventually(lambda: link.state.name == "paused", within=5)
        assert [(each.end, each.cause) for each in listener.closed] == [(SessionEnd.CLEAN, "paused")]
        assert link.state.links_lost_last_hour == 0
        link.reconnect()
        time.sleep(0.3)
        assert (link.state.name, len(listener.opened)) == ("paused", 1)

        link.pause(paused=False)
        eventually(lambda: len(listener.opened) == 2, within=5)
        assert listener.opened[1].attempts == 1
        eventually(lambda: link.state.name == "up")
    events = [each["event"] for each in logs]
    assert [each for each in events if each in {"link_paused", "link_resumed", "link_lost"}] == [
        "link_paused",
        "link_resumed",
    ]


def test_a_pause_that_comes_just_before_an_attempt_ends_that(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mocked: whoever pauses finds no attempt yet, while the link has already decided to make one."""
    listener = RecordingListener()
    links: list[HubLink] = []

    class Late(Attempt):
        def __init__(self, options: LinkOptions, listener: LinkListener, clock: Clock) -> None:
            super().__init__(options, listener, clock)
            links[0]._paused.set()

    monkeypatch.setattr(module, "Attempt", Late)
    hub = FaultHub([stay])
    with hub:
        links.append(make_link(hub.url, listener, quick(**LONG)))
        links[0].start()
        eventually(lambda: links[0].state.name == "paused", within=5)
        assert links[0].stop(2.0)


def test_a_link_that_starts_paused_connects_to_nothing() -> None:
    listener = RecordingListener()
    hub = FaultHub([stay])
    with hub:
        link = make_link(hub.url, listener, quick())
        link.pause(paused=True)
        link.start()
        eventually(lambda: link.state.name == "paused")
        assert hub.requests == []
        assert link.stop(2.0)
        assert link.state.name == "stopped"
