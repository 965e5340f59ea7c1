"""When the link tries again, and what it does before and after it loses a silent hub."""

import json
import time
from pathlib import Path
from typing import TypeVar

import pytest
from structlog.testing import capture_logs

from ingestor.domain.requests import ArgumentForm, Command
from tests.support.fault_hub import END, TEXT, Act, FaultHub, Peer, frame, http_answer, negotiated, stay
from tests.support.hub_listener import KEY, RecordingListener, linked, quick
from tests.support.waiting import eventually

T = TypeVar("T")


def answers(status: str) -> Act:
    return lambda peer: peer.raw(http_answer(status))


def gone(peer: Peer) -> None:
    """A session that opens and ends."""
    peer.shake()


REFUSED = answers("401 Unauthorized")


@pytest.mark.parametrize(("status", "fast"), [("401 Unauthorized", False), ("503 Away", True)])
def test_a_refused_key_slows_the_link_down(status: str, *, fast: bool) -> None:
    """Invariant I13."""
    listener = RecordingListener()
    hub = FaultHub(negotiations=[answers(status)])
    with hub, linked(hub.url, listener, quick(refused_seconds=60.0)) as link:
        eventually(lambda: hub.requests)
        time.sleep(0.5)
        assert (len(hub.requests) > 3) == fast
        due = link.state.next_attempt_in_seconds
        assert fast or (due is not None and 29 < due < 60)


def test_a_key_that_has_worked_is_tried_again_soon() -> None:
    listener = RecordingListener()
    timing = quick(refused_seconds=60.0, refused_first_seconds=(0.1, 0.2))
    hub = FaultHub([gone, stay], [negotiated, REFUSED, REFUSED, negotiated])
    with hub, linked(hub.url, listener, timing):
        eventually(lambda: len(listener.opened) == 2, within=5)
        assert listener.opened[1].connection_errors == ("http_401",)


def test_a_reconnect_ends_the_pause_at_once() -> None:
    listener = RecordingListener()
    hub = FaultHub([stay], [REFUSED, negotiated])
    with hub, linked(hub.url, listener, quick(refused_seconds=60.0)) as link:
        eventually(lambda: (link.state.next_attempt_in_seconds or 0) > 20)
        link.reconnect()
        eventually(lambda: listener.opened, within=5)


@pytest.mark.parametrize("refusal", ["401 Unauthorized", "403 Forbidden"])
def test_a_changed_key_file_is_tried_at_once(refusal: str, tmp_path: Path) -> None:
    listener = RecordingListener()
    file = tmp_path / "key"
    file.write_text("old-key")

    def negotiation(peer: Peer) -> None:
        good = peer.request.headers["authorization"] == "Bearer new-key"
        (negotiated if good else answers(refusal))(peer)

    hub = FaultHub(negotiations=[negotiation])
    with hub, linked(hub.url, listener, quick(refused_seconds=600.0), key=file.read_text) as link:
        eventually(lambda: link.state.name == "waiting")
        time.sleep(0.3)
        assert len(hub.requests) == 1
        file.unlink()  # some write a secret anew by removing it first
        time.sleep(0.2)
        file.write_text("new-key")
        eventually(lambda: listener.opened, within=2)
        assert link.state.next_attempt_in_seconds is None


def test_a_key_that_appears_is_read_at_once(tmp_path: Path) -> None:
    listener = RecordingListener()
    file = tmp_path / "key"
    slow = quick(backoff_base_seconds=600.0, backoff_cap_seconds=600.0)
    with FaultHub() as hub, linked(hub.url, listener, slow, key=file.read_text) as link:
        eventually(lambda: link.state.name == "waiting")
        file.write_text(KEY)
        eventually(lambda: listener.opened, within=2)


def answers_each_request(peer: Peer) -> None:
    peer.shake()
    while True:
        opcode, payload = peer.message()
        message = json.loads(payload.rstrip(END)) if opcode == TEXT else {}
        if message.get("type") == 1:
            peer.records(json.dumps({"type": 3, "invocationId": message["invocationId"]}).encode())


def nth(values: list[T], number: int) -> T:
    """The value once it is there."""
    eventually(lambda: len(values) > number)
    return values[number]


def test_sessions_whose_commands_were_answered_do_not_wait_longer_each_time() -> None:
    listener = RecordingListener()

    def answers_once(peer: Peer) -> None:
        peer.shake()
        request = json.loads(peer.message()[1].rstrip(END))
        peer.records(json.dumps({"type": 3, "invocationId": request["invocationId"]}).encode())

    timing = quick(backoff_base_seconds=0.05, backoff_cap_seconds=600.0, answered_seconds=0.0)
    with FaultHub([answers_once]) as hub, linked(hub.url, listener, timing) as link:
        for number in range(12):  # without the reset the last pause would be up to 100 s
            session = nth(listener.opened, number).session
            link.request(session, Command.GET_BALANCES, str(number), ArgumentForm.POSITIONAL)
            nth(listener.closed, number)
        assert link.state.links_lost_last_hour >= 11


def test_a_hub_that_pings_rarely_is_asked_once_a_silence_and_stays() -> None:
    listener = RecordingListener()
    timing = quick(receive_seconds=0.6, ping_seconds=0.2)
    with FaultHub([answers_each_request]) as hub, linked(hub.url, listener, timing) as link:
        for number in range(4):
            session = nth(listener.silences, number)
            assert len(listener.silences) == number + 1
            link.request(session, Command.GET_BALANCES, str(number), ArgumentForm.POSITIONAL)
            nth(listener.completions, number)
        assert len(listener.opened) == 1


def test_a_hub_that_is_silent_for_good_is_asked_once_and_the_setting_is_named() -> None:
    listener = RecordingListener()
    with capture_logs() as logs, FaultHub() as hub:
        with linked(hub.url, listener, quick(receive_seconds=0.3, ping_seconds=0.1)) as link:
            eventually(lambda: len(listener.closed) == 3)
            eventually(lambda: link.state.links_lost_last_hour == 3)
        assert [closed.cause for closed in listener.closed[:3]] == ["silent"] * 3
        assert [opened.session for opened in listener.opened[:3]] == listener.silences[:3]
    named = [each for each in logs if each["event"] == "link_lost_repeatedly"]
    assert [each["setting"] for each in named] == ["hub.receive_deadline_seconds"]


def test_a_hub_that_drops_silent_clients_makes_the_setting_named() -> None:
    listener = RecordingListener()

    def drops(peer: Peer) -> None:
        peer.shake()
        peer.sock.settimeout(0.3)
        peer.listen()  # ends by its time-out, as the client says nothing for so long

    timing = quick(ping_seconds=1.0)
    with capture_logs() as logs, FaultHub([drops]) as hub, linked(hub.url, listener, timing):
        eventually(lambda: len(listener.closed) == 3)
    named = [each for each in logs if each["event"] == "link_lost_repeatedly"]
    assert [each["setting"] for each in named] == ["hub.ping_interval_seconds"]


def test_the_hubs_words_about_a_handshake_never_bring_the_key_back() -> None:
    """Invariant I18."""
    listener = RecordingListener()

    def refuses(peer: Peer) -> None:
        peer.raw(peer.accept_answer())
        peer.message()
        peer.raw(frame(json.dumps({"error": f"key {KEY} has no rights"}).encode() + END))
        peer.until_gone()

    with capture_logs() as logs, FaultHub([refuses]) as hub, linked(hub.url, listener) as link:
        eventually(lambda: link.state.failure)
        assert "[redacted] has no rights" in str(link.state.failure)
    assert KEY not in str(logs)
