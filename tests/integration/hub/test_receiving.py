"""What arrives is delivered byte for byte and in order; an unreadable record costs only itself (I8)."""

import hashlib
import time
from collections.abc import Sequence
from itertools import pairwise

import pytest

from ingestor.adapters.hub.options import LinkLimits
from ingestor.domain.records import Record
from tests.support.fault_hub import BINARY, END, PING, PONG, Act, FaultHub, Peer, frame, invocation, stay
from tests.support.hub_listener import RecordingListener, linked, quick
from tests.support.waiting import eventually

GOOD = invocation(1)
LAST = b'{"type":1,"target":"last","arguments":[]}'


def sends(*data: bytes) -> Act:
    """A session that sends these bytes, then a last record, then stays."""

    def act(peer: Peer) -> None:
        peer.shake()
        for each in data:
            peer.raw(each)
        peer.records(LAST)
        peer.listen()

    return act


def delivered(*data: bytes, limits: LinkLimits | None = None) -> list[Record]:
    """The records that one session delivers; that it stayed up is asserted."""
    listener = RecordingListener()
    with FaultHub([sends(*data)]) as hub, linked(hub.url, listener, limits=limits):
        eventually(lambda: listener.received and listener.received[-1].raw == LAST, within=30)
        assert listener.closed == []
    return listener.received[:-1]


def raws(*data: bytes) -> list[bytes]:
    return [record.raw for record in delivered(*data)]


@pytest.mark.parametrize(
    "record",
    [
        b"garbage",
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"type":"1"}',
        b'{"type":null}',
        b'{"type":1}',
        b'{"type":1,"target":7,"arguments":null}',
        b'{"type":1,"target":"unknown","invocationId":"9","arguments":[]}',
        b'{"type":1,"arguments":[NaN,1e400]}',
        b'{"type":1,"message_type":5,"arguments":[]}',
        b'{"type":1,"arguments":["\xff\xfe"]}',
        b"\xff\xfe\xfd",
        b'{"type":1,"arguments":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":1,"arguments":[' + b"7" * 5000 + b"]}",
    ],
)
def test_a_record_that_may_be_meant_for_us_is_delivered_as_it_is(record: bytes) -> None:
    """Between two good ones of the same frame, which arrive too."""
    assert raws(frame(GOOD + END + record + END + GOOD + END)) == [GOOD, record, GOOD]


@pytest.mark.parametrize(
    "record",
    [
        b'{"type":6}',
        b'{"type":2,"invocationId":"1","item":null}',
        b'{"type":2,"invocationId":"1"}',
        b'{"type":3,"invocationId":"1"}',
        b'{"type":3,"invocationId":"1","result":null}',
        b'{"type":3,"invocationId":"1","error":"no"}',
        b'{"type":8,"sequenceId":1}',
        b'{"type":9,"sequenceId":1}',
        b"",
    ],
)
def test_what_is_the_links_own_is_not_delivered(record: bytes) -> None:
    assert raws(frame(GOOD + END + record + END + GOOD + END)) == [GOOD, GOOD]


@pytest.mark.parametrize(
    "record",
    [
        b'{"type":3,"invocationId":"1","result":{"a":[1.50]}}',
        b'{"type":3,"invocationId":"1","result":""}',
        b'{"result": [1], "invocationId":"1", "type":3}',
        b'{"type":3,"result":0}',
        b'{"type":2,"invocationId":"1","item":{}}',
    ],
)
def test_a_result_is_delivered_as_it_is(record: bytes) -> None:
    assert raws(frame(GOOD + END + record + END + GOOD + END)) == [GOOD, record, GOOD]


def test_a_result_above_the_limit_leaves_a_head_and_a_digest_and_completes_its_request() -> None:
    listener = RecordingListener()
    record = b'{"type":3,"invocationId":"1","result":"' + b"x" * 5_000 + b'"}'
    limits = LinkLimits(record_bytes=4_000, head_bytes=100)
    with FaultHub([sends(frame(record + END))]) as hub, linked(hub.url, listener, limits=limits):
        eventually(lambda: len(listener.received) == 2)
        assert listener.received[0].raw == record[:100]
        assert [each[1:] for each in listener.completions] == [("1", None)]


@pytest.mark.parametrize(
    "between",
    [
        frame(b"", PING),
        frame(b"\xff\x00 not text", PING),
        frame(b"unasked", PONG),
        frame(b"x" * 125, PING) + frame(b"", PONG),
    ],
)
def test_control_frames_between_fragments_do_no_harm(between: bytes) -> None:
    whole = GOOD + END
    split = [frame(whole[:9], fin=False), between, frame(whole[9:12], 0x0, fin=False), between]
    assert raws(*split, frame(whole[12:], 0x0)) == [GOOD]


def test_pings_are_answered_with_their_payload() -> None:
    listener = RecordingListener()
    with FaultHub([sends(frame(b"", PING), frame(b"\x00abc\xff", PING))]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.received)
        eventually(lambda: (PONG, b"\x00abc\xff") in hub.received)
        assert (PONG, b"") in hub.received


def test_a_character_split_by_fragments_is_whole_again() -> None:
    record = '{"type":1,"arguments":["\u20ac"]}'.encode()
    cut = record.index(b"\xe2") + 1
    assert raws(frame(record[:cut], fin=False) + frame(record[cut:] + END, 0x0)) == [record]


def test_binary_frames_and_every_length_of_header_are_understood() -> None:
    sizes = [invocation(number, padding) for number, padding in enumerate([0, 30, 70, 5_000, 65_400, 70_000])]
    assert raws(*(frame(record + END, BINARY) for record in sizes)) == sizes


def test_bytes_that_come_one_at_a_time_make_the_same_records() -> None:
    assert raws(*(bytes((each,)) for each in frame(GOOD + END))) == [GOOD]


@pytest.mark.parametrize("cuts", [[5], [5, 20], [1, 2, 3]])
def test_a_record_split_over_messages_is_joined(cuts: list[int]) -> None:
    whole = GOOD + END + LAST[:-1] + b" }" + END
    pieces = [whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])]
    assert raws(*(frame(piece) for piece in pieces)) == [GOOD, LAST[:-1] + b" }"]


def test_a_record_without_its_terminator_counts_if_it_can_be_read() -> None:
    assert raws(frame(GOOD), frame(GOOD + END)) == [GOOD, GOOD]


def test_junk_without_its_terminator_costs_itself_only() -> None:
    assert raws(frame(b"junk"), frame(GOOD + END)) == [b"junk", GOOD]


def test_the_beginning_of_a_record_is_delivered_when_the_session_ends_there() -> None:
    listener = RecordingListener()

    def act(peer: Peer) -> None:
        peer.shake()
        peer.raw(frame(GOOD + END + b'{"type":1,"argu'))

    with FaultHub([act, stay]) as hub, linked(hub.url, listener):
        eventually(lambda: listener.closed)
    assert listener.raws == [GOOD, b'{"type":1,"argu']


def test_records_of_one_frame_come_in_one_call_and_share_their_time() -> None:
    calls: list[Sequence[Record]] = []
    listener = RecordingListener(on_records=calls.append)
    with FaultHub([sends(frame((GOOD + END) * 50))]) as hub, linked(hub.url, listener):
        eventually(lambda: len(listener.received) == 51)
    assert len(calls) <= 2
    assert len({record.received_at for record in listener.received[:50]}) == 1
    assert [record.ordinal for record in listener.received] == list(range(1, 52))


def test_a_record_above_its_limit_becomes_a_head_and_a_digest() -> None:
    """Invariant I13."""
    big = invocation(2, 5_000)
    limits = LinkLimits(record_bytes=4_000, head_bytes=100)
    small, cut, after = delivered(frame(GOOD + END + big + END + GOOD + END), limits=limits)
    assert (small.raw, after.raw) == (GOOD, GOOD)
    assert (small.size, small.sha256) == (len(GOOD), None)
    assert (cut.raw, cut.size, cut.sha256) == (big[:100], len(big), hashlib.sha256(big).digest())


@pytest.mark.parametrize("fragment", [10**9, 700, 4_000])
def test_a_message_above_its_limit_is_read_away_and_leaves_a_head_and_a_digest(fragment: int) -> None:
    """Invariant I13."""
    big = invocation(2, 50_000)
    limits = LinkLimits(message_bytes=8_000, record_bytes=4_000, head_bytes=5_000)
    whole = big + END
    parts = [whole[at : at + fragment] for at in range(0, len(whole), fragment)]
    frames = [
        frame(part, 0x1 if number == 0 else 0x0, fin=number == len(parts) - 1)
        for number, part in enumerate(parts)
    ]
    cut, after = delivered(*frames, frame(GOOD + END), limits=limits)
    assert after.raw == GOOD
    assert (cut.raw, cut.size, cut.sha256) == (big[:5_000], len(big), hashlib.sha256(big).digest())


@pytest.mark.parametrize(("size", "kept"), [(10_000_000, 64 * 1024), (100_000_000, 64 * 1024)])
def test_huge_messages_are_survived(size: int, kept: int) -> None:
    """Invariant I13."""
    big = invocation(2, size)
    (cut,) = delivered(frame(big + END))
    assert (len(cut.raw), cut.size, cut.sha256) == (kept, len(big), hashlib.sha256(big).digest())


def test_a_flood_arrives_whole_and_in_order() -> None:
    listener = RecordingListener()
    blob = b"".join(frame(invocation(number) + END) for number in range(100_000))
    with FaultHub([sends(blob)]) as hub, linked(hub.url, listener):
        eventually(lambda: len(listener.received) == 100_001, within=30)
        assert listener.raws[:-1] == [invocation(number) for number in range(100_000)]


def test_a_slow_hub_is_a_live_hub() -> None:
    listener = RecordingListener()
    record = invocation(1)

    def act(peer: Peer) -> None:
        peer.shake()
        for each in frame(record + END):
            peer.raw(bytes((each,)))
            time.sleep(0.02)
        peer.listen()

    with FaultHub([act]) as hub, linked(hub.url, listener, quick(receive_seconds=0.6)):
        eventually(lambda: listener.received)
        assert listener.raws == [record]
        assert listener.closed == []
