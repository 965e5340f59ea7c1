"""All faults at random: what `RecordingListener` checks holds throughout, and the link always recovers.

Invariant I14.
"""

import threading
import time
from collections.abc import Sequence
from random import Random

import pytest

from ingestor.domain.records import Record
from tests.support.fault_hub import END, PING, Act, FaultHub, Peer, frame, http_answer, invocation, negotiated
from tests.support.hub_listener import RecordingListener, linked, quick
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

HASTY = quick(
    negotiate_seconds=0.15,
    start_seconds=0.15,
    handshake_seconds=0.15,
    receive_seconds=0.3,
    ping_seconds=0.05,
    refused_seconds=0.1,
)


class Storm:
    """A hub whose every act is drawn at random until `calm` is set."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.calm = threading.Event()
        self.bad: list[Act] = [
            lambda peer: peer.until_gone(),
            lambda peer: peer.raw(http_answer("503 Away")),
            lambda peer: peer.raw(http_answer("403 Forbidden")),
            lambda peer: peer.raw(b"HTTP/1.1 200 OK\r\nX:"),
            lambda peer: None,
            lambda peer: peer.reset(),
        ]

    def negotiation(self, peer: Peer) -> None:
        good = self.calm.is_set() or self._random.random() < 0.8
        (negotiated if good else self._random.choice(self.bad))(peer)

    def session(self, peer: Peer) -> None:
        good = self.calm.is_set() or self._random.random() < 0.7
        (self._life if good else self._random.choice(self.bad))(peer)

    def _life(self, peer: Peer) -> None:
        peer.shake()
        for number in range(self._random.randint(0, 300)):
            peer.records(*[invocation(number)] * self._random.randint(1, 5))
            peer.raw(
                self._random.choice([b""] * 40 + [frame(b"\xff", PING), frame(b"junk" + END), frame(b'{"t')])
            )
        if self.calm.is_set():
            while True:
                peer.raw(frame(b'{"type":6}' + END))
                peer.message()
        end: Act = self._random.choice(
            [
                lambda peer: peer.reset(),
                lambda peer: peer.raw(frame(b"\x03\xe8", 0x8)),
                lambda peer: peer.raw(frame(b'{"type":7}' + END)),
                lambda peer: peer.raw(b"\x81\x7e"),
                lambda peer: peer.until_gone(),
                lambda peer: None,
            ]
        )
        end(peer)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_faults_breaks_no_rule_and_leaves_nothing_behind(seed: int) -> None:
    random = Random(seed)

    def dawdle(_: Sequence[Record]) -> None:
        time.sleep(random.choice([0, 0, 0, 0.001]))

    storm, listener = Storm(seed), RecordingListener(on_records=dawdle)
    with FaultHub([storm.session], [storm.negotiation]) as hub, linked(hub.url, listener, HASTY) as link:
        eventually(lambda: len(listener.closed) > 40, within=60)
        storm.calm.set()
        eventually(lambda: link.state.name == "up" and link.state.session is not None, within=20)
        assert link.state.abandoned_threads == 0
    assert not [each for each in threading.enumerate() if each.name.startswith("hub ")]


def test_stop_at_any_moment_is_prompt() -> None:
    random = Random(3)
    for seed in range(60):
        storm, listener = Storm(seed), RecordingListener()
        with FaultHub([storm.session], [storm.negotiation]) as hub, linked(hub.url, listener, HASTY):
            time.sleep(random.random() * 0.1)
        assert len(listener.opened) == len(listener.closed)
