"""From the bytes of one hub record to its events: total, exact, and the same every time.

`exact_reader` reads any record and is the definition. `incremental_reader` reads a balance record by what
differs from an earlier one, and leaves the others to the exact reader. It may be skipped: tests hold the two
against each other.
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

    Never raises, whatever the bytes: what cannot be read is an `Undecodable`, what is not ours an
    `Unhandled`.
    """
    return exact_reader.events(raw, limits)


class Decoder:
    """Decodes records that follow each other, as `decode` does, but faster. For one thread.

    Args:
        redact: masks secrets in the texts of events that become no state.
    """

    def __init__(self, limits: Limits, redact: Callable[[str], str] = str) -> None:
        self._limits = limits
        self._redact = redact
        self._reader = IncrementalReader(limits)

    def decoded(self, record: Record) -> Decoded:
        """The record and what it says. Never raises."""
        if record.sha256 is None:
            events = self._reader.events(record.raw)
        else:
            events = exact_reader.events(record.raw, self._limits, size=record.size)
        if len(events) == 1 and isinstance(events[0].body, BalanceSnapshot):  # nearly all
            return Decoded(record, events)
        return Decoded(record, tuple(_redacted(event, self._redact) for event in events))


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
