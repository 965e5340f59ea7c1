"""From the bytes of one hub record to its events: total, exact, and the same every time.

There are two ways through. `exact` reads any record, slowly, and is the definition. `proven` reads the one
kind of record that makes up nearly all the traffic, and answers only where it can prove cheaply that `exact`
would say the same; the tests hold the two against each other.
"""

from ingestor.domain import exact, proven
from ingestor.domain.events import Event, Reason
from ingestor.domain.limits import DEFAULT_LIMITS, Limits
from ingestor.domain.refusal import Refused


def decode(raw: bytes, limits: Limits = DEFAULT_LIMITS, *, truncated: bool = False) -> tuple[Event, ...]:
    """The events of one record (without its terminator): at least one, positions 0, 1, 2 …

    Never raises, whatever the bytes: what cannot be read is a `Rejected`, what is not ours an `Unhandled`.

    Args:
        truncated: the receiver kept only the head of a record that was above its own limit.
    """
    if truncated or len(raw) > limits.record_bytes:
        size = "more" if truncated else f"{len(raw)} bytes, more"
        refusal = Refused(
            Reason.TOO_LARGE, f"the record has {size} than the limit of {limits.record_bytes} bytes"
        )
        return (Event(0, None, None, refusal.rejected()),)
    event = proven.balance_event(raw, limits)
    return exact.events(raw, limits) if event is None else (event,)
