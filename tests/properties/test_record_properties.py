"""However a hub puts records into messages: each that is for us arrives whole, once and in order (I1, I8)."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from random import Random
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from ingestor.adapters.hub.messages import Oversized
from ingestor.adapters.hub.options import LinkLimits
from ingestor.adapters.hub.protocol import Receiver
from ingestor.domain.records import Record

END = b"\x1e"
LIMITS = replace(LinkLimits(), record_bytes=200, head_bytes=20)
SESSION = UUID(int=1)
AT = datetime(2026, 1, 1, tzinfo=UTC)

INVOCATION = b'{"type":1,"target":"executionEvents","arguments":[%d]}'
FOR_US = st.sampled_from(
    [
        INVOCATION,
        b'{"target":"executionEvents","type":1,"arguments":[%d]}',
        b'{"type":1,"target":"' + b"x" * 300 + b'","arguments":[%d]}',
        b'{"type":3,"invocationId":"7","result":[%d]}',
        b'{"type":2,"invocationId":"7","item":%d}',
        b'{"type":1,"broken %d',
        b"[%d]",
    ]
)
OF_THE_LINK = st.sampled_from([b'{"type":6}', b'{"type":3,"invocationId":"7"}', b'{"type":3,"result":null}'])


@dataclass
class Hub:
    """What a hub sends, and what of it must arrive."""

    messages: list[bytes] = field(default_factory=lambda: [b"{}" + END])
    expected: list[bytes] = field(default_factory=list)
    completions: int = 0


@st.composite
def _hubs(draw: st.DrawFn) -> Hub:
    hub, open_message, begun = Hub(), draw(st.booleans()), False
    for number in range(draw(st.integers(0, 12))):
        if draw(st.integers(0, 3)):
            record = draw(FOR_US) % number
            hub.expected.append(record)
        else:
            record = draw(OF_THE_LINK)
        hub.completions += record.startswith(b'{"type":3,"invocationId"')
        readable = b"broken" not in record and record.startswith(b"{")
        first, rest = b"", record
        # The rest may be in another message; of a record above its limit nothing is kept to join.
        if readable and not begun and len(record) <= LIMITS.record_bytes and draw(st.integers(0, 4)) == 0:
            cut = draw(st.integers(1, len(record) - 1))
            first, rest = record[:cut], record[cut:]
        if open_message:
            hub.messages[-1] += first or rest
        else:
            hub.messages.append(first or rest)
        if first:
            hub.messages.append(rest)
        # Without its end, a record that can be read ends with its message; any other one ends where the next
        # record turns out not to be its rest.
        ended = begun or draw(st.integers(0, 4)) > 0
        hub.messages[-1] += END * draw(st.integers(1, 2)) if ended else b""
        open_message = ended and draw(st.booleans())
        begun = not (ended or readable)
    return hub


def _stored(record: bytes) -> tuple[bytes, int, bytes | None]:
    """Bytes, size and digest as they must arrive."""
    if len(record) <= LIMITS.record_bytes:
        return record, len(record), None
    return record[: LIMITS.head_bytes], len(record), sha256(record).digest()


@settings(max_examples=300, deadline=None)
@given(_hubs(), st.randoms(use_true_random=False))
def test_every_record_arrives_once_whole_and_in_order(hub: Hub, rng: Random) -> None:
    received: list[Record] = []
    completions: list[tuple[str, str | None]] = []
    receiver = Receiver(
        SESSION,
        lambda: AT,
        LIMITS,
        on_handshake=lambda: None,
        on_records=received.extend,
        on_completion=lambda *each: completions.append(each),
    )
    messages: Sequence[bytes | Oversized] = hub.messages
    while messages:
        together = rng.randint(1, len(messages))
        receiver.messages(messages[:together])
        messages = messages[together:]
    receiver.finish()

    assert [(each.raw, each.size, each.sha256) for each in received] == [*map(_stored, hub.expected)]
    assert [each.ordinal for each in received] == [*range(1, len(hub.expected) + 1)]
    assert len(completions) == hub.completions
