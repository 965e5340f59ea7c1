"""However a hub cuts messages into frames, and the network frames into pieces: the messages arrive (I8)."""

from hashlib import sha256

from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.frames import Frame

from ingestor.adapters.hub.messages import MessageReader, Oversized

_LIMIT = 60_000
"""Below what two bytes of length can say: every form of frame can be above it."""
_TEXT, _CONTINUATION, _PING = 0x1, 0x0, 0x9


def _frame(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    length = len(payload)
    if length < 126:
        head = bytes((fin << 7 | opcode, length))
    elif length < 1 << 16:
        head = bytes((fin << 7 | opcode, 126)) + length.to_bytes(2, "big")
    else:
        head = bytes((fin << 7 | opcode, 127)) + length.to_bytes(8, "big")
    return head + payload


_SIZES = st.sampled_from((0, 1, 2, 125, 126, 127, 300, _LIMIT, _LIMIT + 1, 65_535, 65_536))


@st.composite
def _messages(draw: st.DrawFn) -> tuple[list[bytes], list[bytes], list[bytes]]:
    """Messages, pings between their frames, and all of it in the pieces that the network makes."""
    messages, pings, stream, ends = [], [], b"", [0]
    for number in range(draw(st.integers(1, 6))):
        message = bytes((number,)) * draw(_SIZES)
        messages.append(message)
        cuts = sorted(draw(st.lists(st.integers(0, len(message)), max_size=2)))
        parts = [message[a:b] for a, b in zip([0, *cuts], [*cuts, len(message)], strict=True)]
        for place, part in enumerate(parts):
            stream += _frame(_CONTINUATION if place else _TEXT, part, fin=place == len(parts) - 1)
            if draw(st.booleans()):
                pings.append(bytes((number, place)))
                stream += _frame(_PING, pings[-1])
            ends.append(len(stream))
    near = st.tuples(st.sampled_from(ends), st.integers(-5, 5)).map(sum)
    anywhere = st.integers(0, len(stream))
    cuts = draw(st.lists(near | anywhere, max_size=8))
    places = sorted({cut for cut in cuts if 0 < cut < len(stream)})
    return messages, pings, [stream[a:b] for a, b in zip([0, *places], [*places, None], strict=True)]


@settings(max_examples=1000, deadline=None)
@given(_messages())
def test_every_message_arrives_whole_and_in_order(
    arriving: tuple[list[bytes], list[bytes], list[bytes]],
) -> None:
    messages, pings, pieces = arriving
    received: list[bytes | Oversized] = []
    control: list[Frame] = []
    reader = MessageReader(_LIMIT, 100, received.extend, control.append)
    for piece in pieces:
        reader.feed(piece)

    assert [each if isinstance(each, bytes) else each.size for each in received] == [
        each if len(each) <= _LIMIT else len(each) for each in messages
    ]
    for each, message in zip(received, messages, strict=True):
        if isinstance(each, Oversized):
            assert (each.head, each.sha256) == (message[:100], sha256(message).digest())
    assert [bytes(each.data) for each in control] == pings
