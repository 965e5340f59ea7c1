"""The catalogue of log events: what each means, and what to do.

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
    "batch_committed": LogEvent(
        "debug",
        ("items", "records"),
        "A transaction was committed.",
        "None needed.",
    ),
    "batch_halved": LogEvent(
        "warning",
        ("items", "error"),
        "A batch was too slow for a statement's or a transaction's deadline; it is tried again in halves.",
        "If it repeats, see what slows the database down.",
    ),
    "clock_offset_large": LogEvent(
        "warning",
        ("offset_seconds",),
        "This host's wall clock differs from the database's by two seconds or more.",
        "See to the time service of both hosts. What is stored carries the database's time.",
    ),
    "clock_stepped": LogEvent(
        "warning",
        ("clock", "step_seconds"),
        "The clock of the `host` or the `database` was set by more than a second.",
        "See to that host's time service. Stamps follow the database's clock slowly and never go back.",
    ),
    "commit_delayed": LogEvent(
        "warning",
        ("error", "waiting_records", "dropped_records"),
        "A transaction could not be committed and is tried again. Logged at once, when the reason "
        "changes, and once a minute.",
        "See to the database. The inbox keeps what arrives, up to its limits.",
    ),
    "commit_resumed": LogEvent(
        "info",
        (),
        "The transaction that was delayed is committed.",
        "None needed.",
    ),
    "commits_not_durable": LogEvent(
        "warning",
        ("settings",),
        "These settings of the server are off: if it crashes, it loses commits that it has acknowledged.",
        "Turn them on. What is lost is noticed, and becomes a gap of kind commits_lost.",
    ),
    "confirmation_pending": LogEvent(
        "warning",
        ("reason", "kind", "sequence"),
        "A snapshot needs confirmation: a suspected reset, a conflict or an emptied list.",
        "None: a fresh snapshot is requested. `report.confirmation` keeps the record.",
    ),
    "confirmation_resolved": LogEvent(
        "info",
        ("reason", "kind", "sequence", "resolution"),
        "A fresh answer, or something newer, decided a pending confirmation.",
        "If a reset was confirmed, tell the analysts: a new epoch has begun.",
    ),
    "daemon_failed": LogEvent(
        "critical",
        ("error", "advice", "exit_code"),
        "`ingestor run` ends because of this; the last record of the process.",
        "Do what `advice` says. The exit code tells systemd whether a restart can help.",
    ),
    "daemon_started": LogEvent(
        "info",
        ("version", "account", "hub", "database", "schema", "configuration", "resumed_streams"),
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
        "The database is not there yet; the start waits for it. Logged when the reason changes, else once a "
        "minute.",
        "See to the database.",
    ),
    "dropping_ended": LogEvent(
        "warning",
        ("dropped",),
        "The writer takes records again; so many were dropped since dropping started.",
        "See the gaps of kind dropped in `report.gap`.",
    ),
    "dropping_started": LogEvent(
        "error",
        ("limit", "waiting_records"),
        "The writer takes nothing and the inbox is full: the oldest records are dropped, each run with a "
        "gap row.",
        "See to the database at once.",
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
        ("kind", "epoch", "first_sequence", "previous_sequence", "passed_over"),
        "Answers have confirmed that a source's counter began again.",
        "Look at the evidence in `report.epoch`.",
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
        ("gap", "cause", "since"),
        "Fresh snapshots have confirmed the state again.",
        "None needed.",
    ),
    "gap_opened": LogEvent(
        "warning",
        ("gap", "cause", "since"),
        "Something may have been missed since then.",
        "None: a fresh snapshot is requested.",
    ),
    "heartbeat_failed": LogEvent(
        "debug",
        ("error",),
        "The heartbeat could not be written; the next turn tries again.",
        "None, unless commit_delayed appears too.",
    ),
    "hub_error_received": LogEvent(
        "warning",
        ("subject", "message"),
        "The hub sent an error event.",
        "Read the message; a missing permission needs another key.",
    ),
    "hub_key_changed": LogEvent(
        "info",
        (),
        "The key source has another key than the one that was refused; it is tried at once.",
        "None needed.",
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
        "A session ended unexpectedly; the next attempt follows.",
        "None, unless it repeats: see `report.session` for its causes.",
    ),
    "link_lost_repeatedly": LogEvent(
        "warning",
        ("cause", "setting", "hint"),
        "Several sessions in a row were lost in a way that a setting may explain.",
        "Change the setting that it names.",
    ),
    "link_up": LogEvent(
        "info",
        ("session", "attempts"),
        "The hub answered the handshake: a session begins, and both snapshots are requested.",
        "None needed.",
    ),
    "log_records_dropped": LogEvent(
        "warning",
        ("count",),
        "So many records before this one were not written: standard error took none, or not fast enough.",
        "See what reads the log. Ingestion never waits for it.",
    ),
    "metrics_failed": LogEvent(
        "warning",
        ("error",),
        "The address of `metrics.listen` cannot be used, or a page failed. Logged once until it works again; "
        "ingestion goes on.",
        "If the address is in use, give each account its own port. It is tried again every five seconds.",
    ),
    "metrics_listening": LogEvent(
        "info",
        ("address",),
        "Metrics and health are served there.",
        "None needed.",
    ),
    "notify_failed": LogEvent(
        "warning",
        ("error",),
        "A message to systemd could not be sent; logged once until one can be sent again.",
        "If the watchdog then restarts the unit, look at NotifyAccess= and the socket's permissions.",
    ),
    "process_crashed": LogEvent(
        "critical",
        (),
        "An exception reached the top of the main thread: a bug.",
        "systemd restarts the process. Report the traceback.",
    ),
    "record_rejected": LogEvent(
        "error",
        ("ordinal", "error"),
        "The database rejects a value of this record; it is quarantined and its neighbours are committed.",
        "Report it: the decoder should have known.",
    ),
    "request_failed": LogEvent(
        "warning",
        ("command", "outcome", "error"),
        "The hub refused or did not answer a request, or its answer could not be used.",
        "None: it is requested again. See `report.request` if it repeats.",
    ),
    "scheduled_job_missed": LogEvent(
        "warning",
        ("job", "code"),
        "The scheduler missed a run or a job failed; the monotonic guard sends the request instead.",
        "None, unless it repeats.",
    ),
    "standby": LogEvent(
        "warning",
        ("account", "backend"),
        "Another process writes this account and has its lock; this one waits, and takes over after it.",
        "None needed. `ingestor status` names host and pid of the one that writes.",
    ),
    "stream_degraded": LogEvent(
        "error",
        ("kind", "sequence"),
        "More resets within an hour than allowed: the stream keeps its state until one is an hour old.",
        "Compare `report.epoch` and `report.confirmation` with the vendor.",
    ),
    "stream_first_seen": LogEvent(
        "info",
        ("kind", "epoch", "first_sequence"),
        "The first snapshot of a stream.",
        "None needed.",
    ),
    "thread_died": LogEvent(
        "critical",
        ("thread",),
        "An exception ended a thread: a bug. The process does not limp on without it.",
        "systemd restarts the process. Report the traceback.",
    ),
    "thread_stuck": LogEvent(
        "error",
        ("thread", "seconds"),
        "A thread has not come round its loop for so long; systemd's watchdog is not fed until it does.",
        "Send SIGUSR1 for the stacks of all threads, and report them. systemd restarts the process.",
    ),
    "unknown_user_seen": LogEvent(
        "warning",
        ("kind", "known_users"),
        "The hub names a user that this account did not have before.",
        "Check whose key is configured.",
    ),
    "watermark_conflict": LogEvent(
        "warning",
        ("error",),
        "A session or stream stands elsewhere than we left it: another process wrote the account, or the "
        "server lost commits. The stored state is taken over, and what was lost becomes a gap.",
        "See that only one process ingests the account, and see `report.gap` for commits_lost.",
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
