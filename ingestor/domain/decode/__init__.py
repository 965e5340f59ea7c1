"""From the bytes of one hub record to its events: total, exact, and the same every time.

`exact_reader` reads any record and is the definition. `fast_reader` reads the one kind of record that makes
up nearly all the traffic, and answers only where it can show cheaply that the exact reader would say the
same; a reader of this software may ignore it. Tests hold the two against each other.
"""

from collections.abc import Callable

from ingestor.domain.decode import exact_reader, fast_reader
from ingestor.domain.decode.errors import DecodeError
from ingestor.domain.events import BalanceSnapshot, Event, HubError, PairList, Reason, Undecodable
from ingestor.domain.limits import DEFAULT_LIMITS, Limits
from ingestor.domain.records import Decoded, Record

__all__ = ["decode", "decoded"]


def decoded(record: Record, limits: Limits, redact: Callable[[str], str] = str) -> Decoded:
    """The record and what it says; `redact` masks secrets in the texts of events that become no state."""
    events = decode(record.raw, limits, size=record.size if record.sha256 else None)
    if len(events) == 1 and isinstance(events[0].body, BalanceSnapshot):  # nearly all
        return Decoded(record, events)
    return Decoded(record, tuple(_redacted(event, redact) for event in events))


def _redacted(event: Event, redact: Callable[[str], str]) -> Event:
    """The hub may echo our key in an error or a subject; nothing of that may reach a table or a log."""
    body = event.body
    if isinstance(body, BalanceSnapshot | PairList):
        return event
    if isinstance(body, HubError):
        body = HubError(redact(body.message))
    elif isinstance(body, Undecodable):
        body = Undecodable(body.reason, redact(body.detail))
    subject = None if event.subject is None else redact(event.subject)
    client_id = None if event.client_id is None else redact(event.client_id)
    return Event(event.position, subject, client_id, body)


def decode(raw: bytes, limits: Limits = DEFAULT_LIMITS, *, size: int | None = None) -> tuple[Event, ...]:
    """The events of one record (without its terminator): at least one, positions 0, 1, 2 …

    Never raises, whatever the bytes: what cannot be read is an `Undecodable`, what is not ours an
    `Unhandled`.

    Args:
        size: bytes of the whole record, where the receiver kept only the head of one above its own limit.
    """
    if size is not None or len(raw) > limits.record_bytes:
        return (Event(0, None, None, _too_large(size or len(raw), limits)),)
    event = fast_reader.balance_event(raw, limits)
    return exact_reader.events(raw, limits) if event is None else (event,)


def _too_large(size: int, limits: Limits) -> Undecodable:
    detail = f"the record has {size} bytes; the limit is {limits.record_bytes} (hub.max_record_bytes)"
    return DecodeError(Reason.TOO_LARGE, detail).undecodable()
