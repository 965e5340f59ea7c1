"""What the link uses of `websockets`: an upgrade of the library that changes it fails here."""

import inspect
from collections.abc import Generator

import pytest
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, ProtocolError
from websockets.frames import OP_PING, OP_TEXT, Frame, Opcode
from websockets.http11 import Response
from websockets.streams import StreamReader
from websockets.uri import parse_uri


def parameters(function: object) -> list[str]:
    assert callable(function)
    return list(inspect.signature(function).parameters)


def parse(data: bytes) -> Frame:
    """One frame, as `messages` has it read."""
    rest = bytearray(data)

    def read(count: int) -> Generator[None, None, bytes]:
        while len(rest) < count:
            yield
        taken = bytes(rest[:count])
        del rest[:count]
        return taken

    parser = Frame.parse(read, mask=False)
    with pytest.raises(StopIteration) as end:
        next(parser)
    frame = end.value.value
    assert isinstance(frame, Frame)
    return frame


def test_the_signatures_that_we_call() -> None:
    assert parameters(Frame.parse)[:2] == ["read_exact", "mask"]
    assert parameters(Response.parse) == ["read_line", "read_exact", "read_to_eof", "proxy"]
    assert parameters(Frame.serialize)[:2] == ["self", "mask"]


def test_a_frame_keeps_the_very_bytes_that_it_was_given() -> None:
    """`messages` knows a payload that it did not keep by its identity."""
    payload = bytes(200)

    parts = iter([b"\x81\x7e", (200).to_bytes(2, "big"), payload])

    def read(count: int) -> Generator[None, None, bytes]:
        yield from ()
        return next(parts)

    parser = Frame.parse(read, mask=False)
    with pytest.raises(StopIteration) as end:
        next(parser)
    assert end.value.value.data is payload


def test_control_frames_of_any_payload_are_read() -> None:
    frame = parse(b"\x89\x02\xff\x00")
    assert (frame.opcode, frame.data, frame.fin) == (OP_PING, b"\xff\x00", True)


@pytest.mark.parametrize(
    "data", [b"\xc1\x00", b"\x81\x80abcd", b"\x83\x00", b"\x09\x00", b"\x89\x7e\x00\x7e" + bytes(126)]
)
def test_what_the_rfc_forbids_is_an_error(data: bytes) -> None:
    """An extension bit, a mask, an unknown opcode, a fragmented control frame, one that is too long."""
    with pytest.raises(ProtocolError):
        parse(data)


def test_what_we_send_is_masked() -> None:
    data = Frame(Opcode(OP_TEXT), b"hello").serialize(mask=True)
    assert data[:2] == b"\x81\x85"
    assert bytes(byte ^ data[2 + place % 4] for place, byte in enumerate(data[6:])) == b"hello"


def test_a_response_is_read_without_its_body_and_what_follows_is_left() -> None:
    reader = StreamReader()
    reader.feed_data(b"HTTP/1.1 403 No\r\nContent-Length: 9999\r\n\r\nrest")
    parser = Response.parse(reader.read_line, reader.read_exact, reader.read_to_eof, proxy=True)
    with pytest.raises(StopIteration) as end:
        next(parser)
    assert end.value.value.status_code == 403
    assert bytes(reader.buffer) == b"rest"


def test_an_answer_to_another_request_is_refused() -> None:
    protocol = ClientProtocol(parse_uri("ws://localhost/"))
    request = protocol.connect()
    assert request.path == "/"
    answer = Response(101, "", type(request.headers)(Connection="Upgrade", Upgrade="websocket"))
    answer.headers["Sec-WebSocket-Accept"] = "bm90IHJpZ2h0"
    with pytest.raises(InvalidHandshake):
        protocol.process_response(answer)
