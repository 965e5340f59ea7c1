"""How a session can end: each has its name, what was received before counts, and the next session follows.

Invariant I14.
"""

import os
import threading
import time
from datetime import timedelta

import psutil
import pytest

from ingestor.adapters.hub.options import LinkLimits
from ingestor.domain.records import SessionEnd
from tests.support.fault_hub import CLOSE, END, PING, Act, FaultHub, Peer, frame, invocation, stay
from tests.support.hub_listener import KEY, RecordingListener, linked, quick
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow


def says(*data: bytes, then_gone: bool = True) -> Act:
    """A session that sends one good record, then this."""

    def act(peer: Peer) -> None:
        peer.shake()
        peer.records(invocation(1))
        for each in data:
            peer.raw(each)
        if not then_gone:
            peer.until_gone()

    return act


def resets(peer: Peer) -> None:
    peer.shake()
    peer.records(invocation(1))
    # The client has read: an RST would overtake the record otherwise.
    peer.hub.received.append(peer.message())
    peer.reset()


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(code.to_bytes(2, "big") + reason, CLOSE)


def record(text: bytes) -> bytes:
    return frame(text + END)


@pytest.mark.parametrize(
    ("act", "cause", "detail"),
    [
        (says(), "eof", "the hub closed the connection"),
        (resets, "reset", None),
        (says(frame(invocation(2) + END)[:20]), "eof", "the hub closed the connection"),
        (says(record(b'{"type":7}')), "closed_by_hub", "Close record: no error"),
        (
            says(record(b'{"type":7,"error":"kicked","allowReconnect":true}')),
            "closed_by_hub",
            "Close record, allowReconnect True: kicked",
        ),
        (
            says(record(b'{"type":7,"allowReconnect":false}')),
            "closed_by_hub",
            "Close record, allowReconnect False: no error",
        ),
        (says(close(1000)), "closed_by_hub", "WebSocket close 1000"),
        (says(close(1011, b"out of memory")), "closed_by_hub", "WebSocket close 1011 out of memory"),
        (says(frame(b"", CLOSE)), "closed_by_hub", "WebSocket close 1005"),
        (says(b"\x81\x85maskdata!", then_gone=False), "bad_frame", None),
        (says(frame(b"x", 0x3), then_gone=False), "bad_frame", None),
        (says(frame(b"x", 0x0), then_gone=False), "bad_frame", None),
        (says(frame(b"x", PING, fin=False), then_gone=False), "bad_frame", None),
        (says(frame(b"x", fin=False) + frame(b"y"), then_gone=False), "bad_frame", None),
        (says(b"\xc1\x00", then_gone=False), "bad_frame", None),
        (says(b"\x82\x7f" + b"\xff" * 8, then_gone=False), "frame_too_large", None),
        (says(then_gone=False), "silent", None),
        (says(b"\x81", then_gone=False), "silent", None),
    ],
)
def test_the_end_of_a_session_is_named_and_another_follows(act: Act, cause: str, detail: str | None) -> None:
    listener = RecordingListener()
    with (
        FaultHub([act, stay]) as hub,
        linked(hub.url, listener, quick(receive_seconds=0.5, ping_seconds=0.1)),
    ):
        eventually(lambda: len(listener.opened) == 2)
        lost = listener.closed[0]
        assert (lost.cause, lost.end, lost.received) == (cause, SessionEnd.LINK_LOST, 1)
        assert detail is None or lost.detail == detail
        assert lost.last_message_at <= lost.closed_at
        assert listener.raws[0] == invocation(1)


PING_BETWEEN = frame(b"", PING)


@pytest.mark.parametrize("between", [b"", PING_BETWEEN])
def test_a_session_ends_at_its_last_whole_record(between: bytes) -> None:
    """A slow path is cut in the middle of a record: what was lost began before the last bytes came."""
    listener = RecordingListener()
    rest = frame(invocation(2, 200)[:150], fin=False) if between else frame(invocation(2, 200) + END)[:150]

    def act(peer: Peer) -> None:
        peer.shake()
        peer.records(invocation(1))
        for at in range(0, len(rest), 10):
            peer.raw(rest[at : at + 10])
            time.sleep(0.02)
        peer.raw(between)

    with FaultHub([act, stay]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.closed)
        last = listener.closed[0].last_message_at
        assert last == listener.received[0].received_at
        assert listener.closed[0].closed_at - last > timedelta(seconds=0.2)


@pytest.mark.parametrize("last", [b'{"type":6}', b'{"type":3,"invocationId":"x"}', b'{"type":9}'])
def test_a_record_for_the_link_itself_counts_as_a_message(last: bytes) -> None:
    listener = RecordingListener()

    def act(peer: Peer) -> None:
        peer.shake()
        peer.records(invocation(1))
        time.sleep(0.3)
        peer.records(last)
        peer.until_gone()

    with FaultHub([act]) as hub, linked(hub.url, listener) as link:
        eventually(lambda: listener.received)
        first = listener.received[0].received_at
        eventually(lambda: (link.state.last_message_at or first) - first > timedelta(seconds=0.2))


def test_what_stands_in_a_frame_with_a_close_record_is_delivered() -> None:
    listener = RecordingListener()
    glued = invocation(2) + END + b'{"type":7}' + END
    with FaultHub([says(frame(glued)), stay]) as hub, linked(hub.url, listener):
        eventually(lambda: len(listener.opened) == 2)
        assert listener.raws == [invocation(1), invocation(2)]


def test_a_hub_that_receives_no_pong_any_more_is_still_read_to_its_end() -> None:
    listener = RecordingListener()
    parts = [frame(invocation(number) + END) + frame(b"ping", PING) for number in range(300)]
    goodbye = record(b'{"type":7,"error":"kicked"}')

    def act(peer: Peer) -> None:
        peer.shake(
            glued=b"".join(parts) + goodbye
        )  # and gone: all pongs but the first meet a dead connection

    with FaultHub([act, stay]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.closed)
    assert listener.closed[0].detail == "Close record: kicked"
    assert listener.closed[0].received == 300


def test_a_close_frame_is_answered() -> None:
    listener = RecordingListener()

    def act(peer: Peer) -> None:
        peer.shake()
        peer.raw(close(1001, b"going away"))
        peer.listen()

    with FaultHub([act, stay]) as hub, linked(hub.url, listener):
        eventually(lambda: (CLOSE, (1001).to_bytes(2, "big")) in hub.received)


def test_a_quiet_link_with_rare_pings_lives_longer_than_any_deadline_of_its_opening() -> None:
    listener = RecordingListener()

    def act(peer: Peer) -> None:
        peer.shake()
        for _ in range(4):
            time.sleep(0.6)
            peer.raw(record(b'{"type":6}'))
        peer.records(invocation(1))
        peer.listen()

    short = {"negotiate_seconds": 0.3, "start_seconds": 0.3, "handshake_seconds": 0.3, "send_seconds": 0.3}
    with FaultHub([act]) as hub, linked(hub.url, listener, quick(receive_seconds=1.0, **short)):
        eventually(lambda: listener.received)
        assert listener.closed == []


def test_our_own_pings_go_out_while_nothing_else_does() -> None:
    listener = RecordingListener()
    with FaultHub() as hub, linked(hub.url, listener, quick(ping_seconds=0.05)):
        eventually(lambda: len(hub.received) >= 3)
        assert {payload for _, payload in hub.received} == {b'{"type": 6}\x1e'}


def test_our_own_back_pressure_is_not_taken_for_silence() -> None:
    listener = RecordingListener(on_records=lambda _: time.sleep(1.2))

    def act(peer: Peer) -> None:
        peer.shake()
        peer.records(invocation(1))
        peer.listen()

    with FaultHub([act]) as hub, linked(hub.url, listener, quick(receive_seconds=0.4)):
        eventually(lambda: listener.received)
        time.sleep(1.0)
        assert listener.closed == []
        eventually(lambda: listener.closed)
        assert listener.closed[0].cause == "silent"


def test_what_a_slow_listener_holds_is_delivered_before_the_end_of_the_session() -> None:
    """No record follows `link_down`, and the count in it is the truth."""
    release = threading.Event()
    listener = RecordingListener(on_records=lambda _: release.wait(10))
    with FaultHub([says(), stay]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.received)
        time.sleep(1.5)
        assert listener.closed == []
        release.set()
        eventually(lambda: listener.closed)
        assert listener.closed[0].received == 1


def test_a_hub_that_takes_nothing_is_given_up() -> None:
    listener = RecordingListener()
    stuck = threading.Event()

    def act(peer: Peer) -> None:
        peer.shake()
        for _ in range(40):  # answers to these pings fill all buffers
            peer.raw(frame(b"p" * 125, PING) * 20_000)
        stuck.wait(5)

    with FaultHub([act, stay]) as hub, linked(hub.url, listener, quick(send_seconds=0.3)):
        try:
            eventually(lambda: listener.closed)
            assert listener.closed[0].cause == "send_failed"
        finally:
            stuck.set()


def test_the_hub_can_be_gone_for_a_while() -> None:
    listener = RecordingListener()
    with FaultHub() as hub, linked(hub.url, listener) as link:
        eventually(lambda: listener.opened)
        hub.close()
        eventually(lambda: link.state.connection_error == "refused")
        eventually(lambda: link.state.attempts > 5)
        with FaultHub(port=hub.port):
            eventually(lambda: len(listener.opened) == 2)
            assert listener.opened[1].connection_errors == ("refused",)
            assert link.state.name == "up"


def test_a_bug_in_the_listener_ends_the_link_loudly() -> None:
    def bug(_: object) -> None:
        raise ZeroDivisionError

    listener = RecordingListener(on_records=bug)
    with (
        FaultHub([says(then_gone=False)]) as hub,
        linked(hub.url, listener, breaks=ZeroDivisionError) as link,
    ):
        eventually(lambda: not link.alive())


def test_a_text_of_the_hub_never_brings_the_key_back() -> None:
    """Invariant I18."""
    listener = RecordingListener()
    echo = b'{"type":7,"error":"bad key ' + KEY[12:24].encode() + b' sorry"}'
    with FaultHub([says(record(echo)), stay]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.closed)
        detail = listener.closed[0].detail or ""
        assert "bad key" in detail
        assert not [at for at in range(len(KEY) - 7) if KEY[at : at + 8] in detail]


def test_two_hundred_sessions_leave_no_thread_and_no_descriptor_behind() -> None:
    listener = RecordingListener()
    process = psutil.Process(os.getpid())
    acts = [says(), resets, says(record(b'{"type":7}')), says(close(1000)), says(frame(b"x", 0x3))]
    with FaultHub(acts * 40 + [stay]) as hub, linked(hub.url, listener, quick(ping_seconds=0.02)) as link:
        eventually(lambda: len(listener.closed) >= 5)
        threads, descriptors = len(threading.enumerate()), process.num_fds()
        eventually(lambda: len(listener.closed) >= 200, within=60)
        eventually(lambda: link.state.name == "up")
        eventually(lambda: len(threading.enumerate()) <= threads + 1)
        eventually(lambda: process.num_fds() <= descriptors + 2)
        assert link.state.abandoned_threads == 0
    assert len(listener.received) == 200


def test_a_message_of_more_bytes_than_can_be_counted_is_not_waited_for() -> None:
    listener = RecordingListener()
    limits = LinkLimits(message_bytes=1024 * 2**20)  # the most that can be configured
    endless = says(b"\x81\x7f" + (2**31).to_bytes(8, "big"), then_gone=False)
    with FaultHub([endless, stay]) as hub, linked(hub.url, listener, limits=limits):
        eventually(lambda: listener.closed)
    assert listener.closed[0].cause == "frame_too_large"
