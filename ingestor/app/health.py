"""Whether a running daemon is live and ready, judged by what can be seen of it.

Live: every thread makes progress; the watchdog is fed by the same judgement. Ready: data flows and is
committed, so the tables hold the account's present state. What cannot be known yet counts as not ready.
"""

from collections.abc import Iterator

from ingestor.app.picture import Picture, in_short, not_live, span

COMMIT_PATIENCE_SECONDS = 15.0
"""Three heartbeats: a database that has taken nothing for so long does not take anything."""
REASONS = ("standby", "starting", "threads", "paused", "link", "snapshots", "gaps", "commits", "dropping")
"""Why a daemon can be not ready."""


def not_ready(now: Picture) -> dict[str, str]:
    """By its name in `REASONS` each reason why data may not flow or not be committed; empty if it does."""
    return dict(_reasons(now))


def _reasons(now: Picture) -> Iterator[tuple[str, str]]:
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
        yield "snapshots", f"none that is fresh of {' and '.join(late)}"
    if now.open_gaps:
        yield "gaps", f"{now.open_gaps} open, the oldest for {span(now.oldest_gap_seconds)}"
    if now.seconds_uncommitted > COMMIT_PATIENCE_SECONDS:
        why = f" ({in_short(now.retrying)})" if now.retrying else ""
        yield "commits", f"a batch has waited for {span(now.seconds_uncommitted)}{why}"
    elif _late(now.seconds_since_stored, COMMIT_PATIENCE_SECONDS):
        yield "commits", f"the database has taken nothing for {span(now.seconds_since_stored or 0)}"
    if now.dropping:
        yield "dropping", f"{now.dropping} records so far, since the inbox is full"


def _late(seconds: float | None, limit: float) -> bool:
    return seconds is None or seconds > limit
