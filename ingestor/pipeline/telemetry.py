"""The catalogue of log events: what each says, and what to do about it.

A test compares it with the calls in this package, so a name that is not in here cannot be logged, and a name
that is in here is logged somewhere.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LogEvent:
    """One name that may stand in a record's `event`."""

    level: str
    """`debug`, `info`, `warning`, `error` or `critical`."""
    fields: tuple[str, ...]
    """The facts it may carry, besides timestamp, level, logger and bound context."""
    meaning: str
    action: str
    """What an operator should do; `None needed.` is an answer."""


LOG_EVENTS: dict[str, LogEvent] = {
    "exception_ignored": LogEvent(
        "error",
        ("where",),
        "Python could not raise an exception, as in a finaliser, and would have dropped it.",
        "Report it with its traceback; the process goes on.",
    ),
    "notify_failed": LogEvent(
        "warning",
        ("error",),
        "systemd could not be told our state; written once until a message gets through again.",
        "If the watchdog then restarts the unit, look at NotifyAccess= and the socket's permissions.",
    ),
    "process_crashed": LogEvent(
        "critical",
        (),
        "An exception reached the top of the main thread: a bug.",
        "systemd restarts the process. Report the traceback.",
    ),
    "thread_died": LogEvent(
        "critical",
        ("thread",),
        "An exception ended a thread: a bug. The process does not limp on without it.",
        "systemd restarts the process. Report the traceback.",
    ),
}

HANDLER_EVENTS: dict[str, LogEvent] = {
    "library_logged": LogEvent(
        "info",
        ("message",),
        "A library's own record, at the level the library chose; its sentence is in `message`.",
        "Read the message; `logger` names the library.",
    ),
    "log_record_lost": LogEvent(
        "error",
        ("line",),
        "A record could not be formatted and was dropped.",
        "Report it; the line is that of the logging call.",
    ),
}
"""Names written by the log handler itself rather than by a logging call."""
