"""The state of a running daemon as a value, and the line that `systemctl status` shows."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

STUCK_AFTER_SECONDS = 30.0
"""A thread without a turn of its loop for this long is stuck. Longer than the longest transaction."""
_LONGEST_LINE = 80
_LONGEST_REASON = 28
_REASONS = {
    "no such file or directory": "no socket",
    "connection refused": "connection refused",
    "timeout": "timeout",
    "timed out": "timeout",
    "the connection was lost": "connection lost",
}
"""Short forms of long error texts, for the status line."""


@dataclass(frozen=True, slots=True)
class DaemonStatus:
    """The state of a running daemon at one moment."""

    link: str
    connection_error: str | None
    key_refused: bool
    """The hub itself has answered the last attempt with 401 or 403."""
    next_attempt_in_seconds: float | None
    links_lost_last_hour: int
    sequence: int | None
    """The newest committed sequence of the balances."""
    open_gaps: int
    records: int
    """Committed since the start."""
    inbox_records: int
    inbox_max_records: int
    dropped: int
    """Records dropped at a limit since the start."""
    dropping: int
    """Records dropped since dropping started; 0 while none are dropped."""
    outcomes: dict[str, int]
    retrying: str | None
    """Why the current batch is not committed yet."""
    seconds_retrying: float
    seconds_since_commit: float | None
    started: bool
    """False while it waits for the database, or as a standby."""
    standby: bool
    """Another process writes the account, and this one waits."""
    ended_thread: str | None
    """The name of a thread that has ended unexpectedly."""
    turns: Mapping[str, float]
    """For each supervised thread, the seconds since the last turn of its loop."""
    connection_attempts: int
    """Since the start."""
    batches: int
    """Committed since the start."""
    seconds_uncommitted: float
    """Age of the oldest item that the writer has taken and not committed; 0 if there is none."""
    seconds_since_stored: float | None
    """Since the last commit of a batch or a heartbeat; None before the start."""
    inbox_bytes: int
    inbox_max_bytes: int
    snapshot_seconds: Mapping[str, float | None]
    """For each kind, the age of the last confirmation of its committed state; None: never confirmed."""
    snapshot_limits: Mapping[str, float]
    """For each kind, the age from which it is overdue."""
    gaps: Mapping[str, int]
    """Open ones by kind."""
    oldest_gap_seconds: float
    """Since the oldest open gap was opened; 0 if none is open."""
    pending_confirmations: int
    failed_requests: Mapping[str, int]
    """For each command, the failed requests since its last good answer."""
    clock_offset_seconds: float | None
    unaccounted: int
    """Records received since the start that are neither stored nor counted as dropped."""


def stuck(turns: Mapping[str, float]) -> dict[str, float]:
    """The threads that make no progress, with the seconds since the last turn of their loops."""
    return {name: age for name, age in turns.items() if age >= STUCK_AFTER_SECONDS}


def not_live(now: DaemonStatus) -> list[str]:
    """The threads that make no progress; empty for a daemon that is live."""
    ended = [] if now.ended_thread is None else [f"{now.ended_thread} has ended"]
    return ended + [f"{name} stuck for {span(age)}" for name, age in stuck(now.turns).items()]


def status_line(now: DaemonStatus) -> str:
    """The most serious problem first; what does not fit into 80 characters is left out."""
    line = ""
    for part in _parts(now):
        longer = f"{line} · {part}" if line else part[:_LONGEST_LINE]
        if len(longer) <= _LONGEST_LINE:
            line = longer
    return line


def _parts(now: DaemonStatus) -> Iterator[str]:
    if now.standby:
        yield "standby: another process writes the account"
        return
    if not now.started:
        yield "starting"
    yield from not_live(now)
    if now.dropping:
        yield f"dropping {now.dropping}"
    if now.retrying is not None:
        trouble = "no commit for" if re.match(r"[0-9A-Z]{5}: ", now.retrying) else "database away"
        yield f"{trouble} {span(now.seconds_retrying)} ({in_short(now.retrying)})"
        yield f"{now.inbox_records}/{now.inbox_max_records} waiting"
    yield from _link(now)
    if now.retrying is None:
        commit = now.seconds_since_commit
        yield "no commit yet" if commit is None else f"commit {span(commit)} ago"
    yield f"{now.open_gaps} gap{'' if now.open_gaps == 1 else 's'}"
    if now.links_lost_last_hour:
        lost = now.links_lost_last_hour
        yield f"{lost} {'link' if lost == 1 else 'links'} lost in 1 h"
    if now.dropped and not now.dropping:
        yield f"{now.dropped} dropped"


def _link(now: DaemonStatus) -> list[str]:
    cause = now.connection_error
    if now.link == "up":
        return ["up", "no snapshot yet" if now.sequence is None else f"sequence {now.sequence}"]
    if now.key_refused:
        said = f"key refused by the hub ({(cause or '').removeprefix('http_')})"
    elif now.link == "paused":
        said = "paused by an operator"
    else:
        state = "no link" if now.link == "waiting" else now.link
        said = f"{state} ({cause})" if cause else state
    due = now.next_attempt_in_seconds
    return [said] if due is None else [said, f"next try in {span(due)}"]


def in_short(reason: str) -> str:
    """A short form of an error's text."""
    what = " ".join(reason.splitlines()[0].split()) if reason else ""
    found = next((short for phrase, short in _REASONS.items() if phrase in reason.lower()), what)
    return found if len(found) <= _LONGEST_REASON else found[: _LONGEST_REASON - 1].rstrip() + "…"


def span(seconds: float) -> str:
    """A duration with about two digits: `0.1 s`, `34 s`, `10 min`, `5 h`, `3 days`."""
    if seconds < 9.95:
        return f"{max(seconds, 0):.1f} s"
    for below, size, unit in ((120, 1, "s"), (7_200, 60, "min"), (172_800, 3_600, "h")):
        if seconds < below:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
