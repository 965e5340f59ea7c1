"""`stop` comes back within two seconds, whatever the link is doing; `linked` measures it in every test.

Invariant I20.
"""

import threading

import pytest

from ingestor.domain.records import SessionEnd
from tests.support.fault_hub import (
    CLOSE,
    PING,
    Act,
    FaultHub,
    Peer,
    frame,
    http_answer,
    invocation,
    negotiated,
    stay,
)
from tests.support.hub_listener import RecordingListener, linked, make_link, quick
from tests.support.waiting import eventually

LONG = {
    "negotiate_seconds": 30.0,
    "start_seconds": 30.0,
    "handshake_seconds": 30.0,
    "receive_seconds": 30.0,
    "send_seconds": 30.0,
    "backoff_base_seconds": 1000.0,
    "backoff_cap_seconds": 1000.0,
}


def hangs(peer: Peer) -> None:
    peer.until_gone()


def mute(peer: Peer) -> None:
    peer.raw(peer.accept_answer())
    peer.until_gone()


def away(peer: Peer) -> None:
    peer.raw(http_answer("503 Away"))


@pytest.mark.parametrize(
    ("negotiation", "session", "state"),
    [
        (hangs, stay, "negotiating"),
        (negotiated, hangs, "connecting"),
        (negotiated, mute, "handshaking"),
        (negotiated, stay, "up"),
        (away, stay, "waiting"),
    ],
)
def test_stop_is_prompt_in_every_state(negotiation: Act, session: Act, state: str) -> None:
    listener = RecordingListener()
    with FaultHub([session], [negotiation]) as hub:
        with linked(hub.url, listener, quick(**LONG)) as link:
            eventually(lambda: link.state.name == state)
        assert link.state.name == "stopped"
        assert link.state.abandoned_threads == 0
        assert not link.alive()


def test_stop_closes_the_session_cleanly_and_sends_a_close_frame() -> None:
    listener = RecordingListener()
    with FaultHub() as hub:
        with linked(hub.url, listener):
            eventually(lambda: listener.opened)
        eventually(lambda: (CLOSE, (1000).to_bytes(2, "big")) in hub.received)
    assert [(each.end, each.cause) for each in listener.closed] == [(SessionEnd.CLEAN, "stopped")]


def test_stop_is_prompt_while_the_hub_takes_nothing() -> None:
    listener = RecordingListener()
    stuck = threading.Event()

    def act(peer: Peer) -> None:
        peer.shake()
        for _ in range(40):
            peer.raw(frame(b"p" * 125, PING) * 20_000)
        stuck.wait(8)

    with FaultHub([act]) as hub:
        try:
            with linked(hub.url, listener, quick(**LONG)):
                eventually(lambda: listener.opened)
                threading.Event().wait(1.0)  # until the answers to the pings fill all buffers
        finally:
            stuck.set()


def test_stop_is_prompt_while_the_listener_is_stuck_and_nothing_follows_the_end() -> None:
    release = threading.Event()
    listener = RecordingListener(on_records=lambda _: release.wait(20))

    def act(peer: Peer) -> None:
        peer.shake()
        for number in range(10_000):
            peer.records(invocation(number, 1000))

    with FaultHub([act]) as hub:
        with linked(hub.url, listener) as link:
            eventually(lambda: listener.received)
        received = listener.closed[0].received
        release.set()
        eventually(lambda: link.state.abandoned_threads == 0)
        assert len(listener.received) == received
        assert not listener.broken


def test_stop_is_prompt_in_a_flood() -> None:
    listener = RecordingListener()

    def act(peer: Peer) -> None:
        peer.shake()
        blob = b"".join(frame(invocation(number) + b"\x1e") for number in range(1000))
        while True:
            peer.raw(blob)

    with FaultHub([act]) as hub, linked(hub.url, listener):
        eventually(lambda: len(listener.received) > 50_000)


def test_a_link_that_never_started_can_be_stopped() -> None:
    link = make_link("http://localhost/hub", RecordingListener())
    assert link.stop(1.0)
    assert not link.alive()
