"""The wire format, without a wire."""

import pytest

from ingestor.simulator import protocol
from ingestor.simulator.protocol import Invocation, ProtocolViolation


@pytest.mark.parametrize("version", [0, 1, 2])
def test_handshakes_of_these_versions_are_accepted(version: int) -> None:
    assert protocol.handshake_refusal(f'{{"protocol":"json","version":{version}}}'.encode()) is None


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (
            b'{"protocol":"json","version":9}',
            "The server does not support version 9 of the 'json' protocol.",
        ),
        (b'{"protocol":"nope","version":1}', "The protocol 'nope' is not supported."),
        (b"junk", "An unexpected error occurred during connection handshake."),
        (b"\xff", "An unexpected error occurred during connection handshake."),
        (b"[]", "An unexpected error occurred during connection handshake."),
        (b'{"protocol":"json"}', "An unexpected error occurred during connection handshake."),
        (b'{"protocol":"json","version":true}', "An unexpected error occurred during connection handshake."),
    ],
)
def test_other_handshakes_are_refused_with_the_texts_of_asp_net_core(request_: bytes, text: str) -> None:
    assert protocol.handshake_refusal(request_) == text


@pytest.mark.parametrize(
    ("record", "meaning"),
    [
        (b'{"type":6}', 6),
        (b'{"type":7}', 7),
        (b'{"type":3,"invocationId":"1"}', 3),
        (b'{"type":99}', 99),
        (b'{"type":1,"target":"T","arguments":[]}', Invocation("T", [], None)),
        (b'{"type":1,"target":"T","arguments":["a"],"invocationId":"7"}', Invocation("T", ["a"], "7")),
        (b'{"type":4,"target":"T","arguments":[],"invocationId":"7"}', 4),
    ],
)
def test_client_records_are_understood(record: bytes, meaning: Invocation | int) -> None:
    assert protocol.parse_client_record(record) == meaning


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"junk",
        b"[]",
        b"{}",
        b"\xff",
        b'{"type":"1"}',
        b'{"type":1,"target":"T"}',
        b'{"type":1,"arguments":[]}',
        b'{"type":1,"target":"T","arguments":[],"invocationId":7}',
        b'{"type":1,"target":"T","arguments":[NaN]}',
        b"[" * 100_000,
    ],
)
def test_broken_client_records_are_violations(record: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        protocol.parse_client_record(record)


def test_a_close_record_leaves_out_fields_that_are_none() -> None:
    assert protocol.close() == b'{"type":7}\x1e'
    assert (
        protocol.close("bad", allow_reconnect=False) == b'{"type":7,"error":"bad","allowReconnect":false}\x1e'
    )
