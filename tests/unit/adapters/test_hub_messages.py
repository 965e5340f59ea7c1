"""Short texts are cut out of the stream without a parser; the rules of RFC 6455 hold all the same."""

import pytest
from websockets.frames import OP_CONT, OP_PING, OP_TEXT, Frame, Opcode

from ingestor.adapters.hub.causes import LinkCause, LinkFailure
from ingestor.adapters.hub.messages import MessageReader, Oversized


def frame(payload: bytes, opcode: Opcode = OP_TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, payload, fin=fin).serialize(mask=False)


class Reading:
    """A reader, and what it has delivered in order."""

    def __init__(self, limit: int = 100_000) -> None:
        self.seen: list[object] = []
        self.reader = MessageReader(limit, 10, self.seen.extend, lambda each: self.seen.append(each.opcode))


@pytest.mark.parametrize("length", [0, 1, 125, 126, 127, 255, 256, 65_535, 65_536])
@pytest.mark.parametrize("step", [1, 7, 1_000_000])
def test_a_text_of_any_length_arrives_whole_however_it_was_cut(length: int, step: int) -> None:
    text = bytes(index % 251 for index in range(length))
    stream = frame(text) + frame(b"p", OP_PING) + frame(text) + frame(b"end")
    reading = Reading()
    for at in range(0, len(stream), step):
        reading.reader.feed(stream[at : at + step])

    assert reading.seen == [text, OP_PING, text, b"end"]


def test_a_whole_text_between_the_fragments_of_another_is_an_error() -> None:
    reading = Reading()
    with pytest.raises(LinkFailure) as raised:
        reading.reader.feed(frame(b"begun", fin=False) + frame(b"out of turn") + frame(b"rest", OP_CONT))

    assert raised.value.cause == LinkCause.BAD_FRAME
    assert reading.seen == []


def test_a_masked_text_of_a_hub_is_an_error() -> None:
    with pytest.raises(LinkFailure) as raised:
        Reading().reader.feed(Frame(OP_TEXT, b"masked").serialize(mask=True))

    assert raised.value.cause == LinkCause.BAD_FRAME


def test_a_text_above_the_limit_keeps_its_head_and_its_size() -> None:
    reading = Reading(limit=200)
    reading.reader.feed(frame(b"x" * 200) + frame(b"y" * 201) + frame(b"z"))

    whole, oversized, last = reading.seen
    assert (whole, last) == (b"x" * 200, b"z")
    assert isinstance(oversized, Oversized)
    assert (oversized.head, oversized.size) == (b"y" * 10, 201)
