"""The catalogue of log events: what each says, and what to do about it.

A test compares it with the calls in this package, so a name that is not in here cannot be logged, and a name
that is in here is logged somewhere. `python -m ingestor.pipeline.telemetry` prints the table in
`ingestor/DATA.md`.
"""

import sys
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
    "account_taken": LogEvent(
        "error",
        ("account", "backend"),
        "Another process writes this account and has its lock; this one ends with exit code 75.",
        "Stop one of the two. `ingestor status` names host and pid of the one that writes.",
    ),
    "batch_committed": LogEvent(
        "debug",
        ("items", "records"),
        "A transaction was committed.",
        "None needed.",
    ),
    "beat_missed": LogEvent(
        "debug",
        ("error",),
        "The heartbeat could not be written; the next turn tries again.",
        "None, unless commit_delayed appears too.",
    ),
    "command_failed": LogEvent(
        "warning",
        ("command", "outcome", "error", "final"),
        "The hub refused or did not answer a command.",
        "If `final` is true, see `report.command`; the schedule asks again.",
    ),
    "commit_delayed": LogEvent(
        "warning",
        ("error", "waiting_records"),
        "A transaction could not be committed and is tried again; said once until it succeeds.",
        "See to the database. The inbox holds what arrives, up to its limits.",
    ),
    "commit_resumed": LogEvent(
        "info",
        (),
        "The transaction that was delayed is committed.",
        "None needed.",
    ),
    "daemon_started": LogEvent(
        "info",
        ("version", "account", "hub", "resumed_streams"),
        "All threads run; the link is being made.",
        "None needed.",
    ),
    "daemon_stopped": LogEvent(
        "info",
        ("drained",),
        "The process ends. `drained`: all that had been received is committed.",
        "If not drained, expect an unclean_end gap at the next start.",
    ),
    "database_awaited": LogEvent(
        "warning",
        ("error",),
        "The database is not there yet; the start waits for it.",
        "See to the database.",
    ),
    "doubt_raised": LogEvent(
        "warning",
        ("doubt", "kind", "sequence"),
        "An event needs a second witness: a suspected reset, a conflict or an emptied list.",
        "None: a fresh snapshot is asked for. `report.doubt` keeps the record.",
    ),
    "doubt_resolved": LogEvent(
        "info",
        ("doubt", "kind", "sequence", "resolution"),
        "A fresh answer, or something newer, decided the doubt.",
        "If a reset was confirmed, tell the analysts: a new epoch has begun.",
    ),
    "embedded_postgres_started": LogEvent(
        "info",
        ("directory", "pid"),
        "The private Postgres runs.",
        "None needed.",
    ),
    "embedded_postgres_stopped": LogEvent(
        "info",
        ("directory",),
        "The private Postgres has ended.",
        "None needed.",
    ),
    "epoch_opened": LogEvent(
        "warning",
        ("kind", "epoch", "cause", "first_sequence", "previous_sequence"),
        "A source's counter began, or was seen to begin again.",
        "For cause first_seen none. Else look at both witnesses in `report.epoch`.",
    ),
    "event_quarantined": LogEvent(
        "warning",
        ("reason", "ordinal", "detail"),
        "An event could not be applied; its bytes are kept.",
        "Look at `report.dead_letter`; many of one reason mean that the hub has changed.",
    ),
    "exception_ignored": LogEvent(
        "error",
        ("where",),
        "Python could not raise an exception, as in a finaliser, and would have dropped it.",
        "Report it with its traceback; the process goes on.",
    ),
    "gap_ended": LogEvent(
        "info",
        ("gap", "cause", "since", "ending"),
        "A gap was healed, explained or declared lost.",
        "If lost, ask the vendor what happened in the interval.",
    ),
    "gap_opened": LogEvent(
        "warning",
        ("gap", "cause", "since"),
        "Something may have been missed since then.",
        "None: a fresh snapshot is asked for.",
    ),
    "hub_error_received": LogEvent(
        "warning",
        ("subject", "message"),
        "The hub sent an error event.",
        "Read the message; a missing permission needs another key.",
    ),
    "link_attempt_failed": LogEvent(
        "warning",
        ("cause", "detail", "attempts"),
        "An attempt to connect failed; the next one follows after a pause.",
        "For http_401 and http_403 check the key; else `ingestor check` names the fix.",
    ),
    "link_closed": LogEvent(
        "info",
        (),
        "We closed the link.",
        "None needed.",
    ),
    "link_lost": LogEvent(
        "warning",
        ("cause", "detail"),
        "A session ended although nobody asked; the next attempt follows.",
        "None, unless it repeats: see `report.session` for its causes.",
    ),
    "link_up": LogEvent(
        "info",
        ("session", "attempts"),
        "The hub answered the handshake: a session begins, and both snapshots are asked for.",
        "None needed.",
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
    "record_refused": LogEvent(
        "error",
        ("ordinal", "error"),
        "The database refuses a value of this record; it is quarantined and its neighbours are committed.",
        "Report it: the decoder should have known.",
    ),
    "schedule_disturbed": LogEvent(
        "warning",
        ("job", "code"),
        "The scheduler missed a run or a job failed; the monotonic guard asks instead.",
        "None, unless it repeats.",
    ),
    "state_moved": LogEvent(
        "warning",
        ("error",),
        "Another writer has moved a stream: its state is taken over and the batch decided again.",
        "See that only one process ingests the account.",
    ),
    "stream_degraded": LogEvent(
        "error",
        ("kind", "sequence"),
        "More resets within an hour than allowed: the stream holds its state until one is an hour old.",
        "Compare `report.epoch` and `report.doubt` with the vendor: two back ends may count differently.",
    ),
    "thread_died": LogEvent(
        "critical",
        ("thread",),
        "An exception ended a thread: a bug. The process does not limp on without it.",
        "systemd restarts the process. Report the traceback.",
    ),
    "unknown_user_seen": LogEvent(
        "warning",
        ("kind", "known_users"),
        "The hub names a user that this account did not have before.",
        "Check whose key is configured.",
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


def catalogue() -> str:
    """Markdown: a row per event, by name."""
    lines = ["| event | level | facts | meaning | what to do |", "|---|---|---|---|---|"]
    lines += [
        f"| `{name}` | {event.level} | {', '.join(event.fields)} | {event.meaning} | {event.action} |"
        for name, event in sorted((LOG_EVENTS | HANDLER_EVENTS).items())
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(catalogue())
