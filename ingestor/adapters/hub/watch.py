"""Watching a live session: pings go out, silence is noticed, and its end is reported."""

import queue
from collections.abc import Callable
from typing import NoReturn

from ingestor.adapters.hub.attempt import Attempt
from ingestor.adapters.hub.causes import LinkCause, LinkFailure
from ingestor.adapters.hub.options import LinkTiming
from ingestor.pipeline.ports import Clock, LinkListener

_LONGEST_TURN_SECONDS = 2.0
"""What happens in the session ends a turn at once. A machine that was suspended is awake for so long before
its dead link is noticed."""
_REASON_SECONDS = 0.5


def watch(
    attempt: Attempt, listener: LinkListener, clock: Clock, timing: LinkTiming, turned: Callable[[], None]
) -> NoReturn:
    """Until the session is over. Raises LinkFailure, or a bug."""
    next_ping = clock.monotonic() + timing.ping_seconds
    was_silent, pause = False, 0.0
    while True:
        turned()
        try:
            event = attempt.events.get(timeout=pause)
        except queue.Empty:
            pass
        else:
            if isinstance(event, BaseException):
                raise _reason(attempt, event)
        now = clock.monotonic()
        seconds = 0.0 if attempt.delivering else now - attempt.received_at
        if seconds > timing.receive_seconds:
            raise LinkFailure(LinkCause.SILENT, f"nothing received for {seconds:.0f} s")
        is_silent = seconds > timing.receive_seconds / 2
        if is_silent and not was_silent:
            listener.silent(attempt.session)  # a hub that has nothing to say answers; a dead one does not
        was_silent = is_silent
        if now >= next_ping:
            next_ping = now + timing.ping_seconds
            try:
                attempt.ping()
            except OSError as error:
                failure = LinkFailure(LinkCause.SEND_FAILED, str(error)[:200])
                raise _reason(attempt, failure) from None
        until_silent = timing.receive_seconds * (1.0 if is_silent else 0.5) - seconds
        pause = max(0.0, min(_LONGEST_TURN_SECONDS, next_ping - now, until_silent))


def _reason(attempt: Attempt, end: BaseException) -> BaseException:
    """Why the hub accepts nothing any more: the receive thread may be about to report it."""
    if not (isinstance(end, LinkFailure) and end.cause == LinkCause.SEND_FAILED):
        return end
    try:
        event = attempt.events.get(timeout=_REASON_SECONDS)
    except queue.Empty:
        return end
    asked = isinstance(event, LinkFailure) and event.cause == LinkCause.STOPPED
    return event if isinstance(event, BaseException) and not asked else end
