"""Decodes the bytes of a hub record into events: for any bytes, exactly and deterministically.

`exact_reader` reads any record and is the definition. `incremental_reader` is an optimisation: it reads a
balance record by its difference from an earlier one, and leaves the others to the exact reader. Tests compare
the two.
"""

from collections.abc import Callable

from ingestor.domain.decode import exact_reader
from ingestor.domain.decode.incremental_reader import IncrementalReader
from ingestor.domain.events import BalanceSnapshot, Event, HubError, PairList, Undecodable
from ingestor.domain.limits import DEFAULT_LIMITS, Limits
from ingestor.domain.records import Decoded, Record

__all__ = ["Decoder", "decode"]


def decode(raw: bytes, limits: Limits = DEFAULT_LIMITS) -> tuple[Event, ...]:
    """The events of one record (without its terminator): at least one, positions 0, 1, 2 …

    Never raises: an event that cannot be read is `Undecodable`, one that is not stored as state
    `Unhandled`.
    """
    return exact_reader.events(raw, limits)


class Decoder:
    """Decodes successive records, like `decode` but faster. Not thread-safe.

    Args:
        redact: masks secrets in the texts of events that do not become state.
    """

    def __init__(self, limits: Limits, redact: Callable[[str], str] = str) -> None:
        self._limits = limits
        self._redact = redact
        self._reader = IncrementalReader(limits)

    def decoded(self, record: Record) -> Decoded:
        """The record and its events. Never raises."""
        if record.sha256 is None:
            events = self._reader.events(record.raw)
        else:
            events = exact_reader.events(record.raw, self._limits, size=record.size)
        if len(events) == 1 and isinstance(events[0].body, BalanceSnapshot):  # nearly all
            return Decoded(record, events)
        return Decoded(record, tuple(_redacted(event, self._redact) for event in events))


def _redacted(event: Event, redact: Callable[[str], str]) -> Event:
    """The hub may repeat our key in an error or a subject, which must not get into a table or a log."""
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
