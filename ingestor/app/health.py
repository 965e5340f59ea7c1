"""Decides whether a running daemon is live and ready.

Live: every thread makes progress; systemd's watchdog uses the same condition. Ready: data flows and is
committed, so the tables contain the account's present state. What is not known yet counts as not ready.
"""

from collections.abc import Iterator

from ingestor.app.daemon_status import DaemonStatus, in_short, not_live, span

COMMIT_OVERDUE_SECONDS = 15.0
"""Three heartbeats: if nothing was committed for this long, the database does not accept writes."""
REASONS = ("standby", "starting", "threads", "paused", "link", "snapshots", "gaps", "commits", "dropping")
"""Reasons why a daemon is not ready."""


def not_ready(now: DaemonStatus) -> dict[str, str]:
    """The reasons why data may not flow or not be committed, by their names in `REASONS`; empty if ready."""
    return dict(_reasons(now))


def _reasons(now: DaemonStatus) -> Iterator[tuple[str, str]]:
    if now.standby:
        yield "standby", "another process writes the account"
        return
    if not now.started:
        yield "starting", "it waits for the database"
        return
    if trouble := not_live(now):
        yield "threads", ", ".join(trouble)
    if now.link == "paused":
        yield "paused", "by an operator; `ingestor resume` ends it"
    elif now.link != "up":
        yield "link", now.link if now.connection_error is None else f"{now.link}, {now.connection_error}"
    late = [kind for kind, age in now.snapshot_seconds.items() if _late(age, now.snapshot_limits[kind])]
    if late:
        yield "snapshots", f"no recent confirmation of {' and '.join(late)}"
    if now.open_gaps:
        yield "gaps", f"{now.open_gaps} open, the oldest for {span(now.oldest_gap_seconds)}"
    if now.seconds_uncommitted > COMMIT_OVERDUE_SECONDS:
        why = f" ({in_short(now.retrying)})" if now.retrying else ""
        yield "commits", f"a batch has waited for {span(now.seconds_uncommitted)}{why}"
    elif _late(now.seconds_since_stored, COMMIT_OVERDUE_SECONDS):
        yield "commits", f"nothing was committed for {span(now.seconds_since_stored or 0)}"
    if now.dropping:
        yield "dropping", f"{now.dropping} records so far, since the inbox is full"


def _late(seconds: float | None, limit: float) -> bool:
    return seconds is None or seconds > limit
