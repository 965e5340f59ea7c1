"""The state of an account as read from its database, whether its daemon runs or not, and its problems.

The database shows when the daemon last wrote its heartbeat, and whether one of its sessions holds the
account's lock, which ends with the process. Both together distinguish a daemon that has died from one that is
frozen and from one that cannot write.
"""

import threading
from collections.abc import Iterator
from dataclasses import replace
from enum import StrEnum
from math import inf

import psycopg

from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres.queries import (
    AccountStatus,
    FailedRequest,
    LockHolder,
    ProcessStatus,
    StreamStatus,
    account_status,
    lock_holder,
)
from ingestor.adapters.postgres.timekeeping import OFFSET_SECONDS
from ingestor.app.daemon_status import span
from ingestor.app.database import connect
from ingestor.config import Settings

__all__ = ["AccountStatus", "StreamStatus"]

_SILENT_AFTER_SECONDS = 15.0
"""Three missed heartbeats."""
_FROZEN_AFTER_SECONDS = 10.0
"""A daemon that cannot write tries again every two seconds."""
_HOLDER_SECONDS = 3.0
"""A daemon whose writes fail opens a new database session for each attempt, so within this time there is
one."""
_POLL_SECONDS = 0.005
_MANY_LOST_LINKS = 5


class DaemonState(StrEnum):
    """The state of the daemon, as far as the database shows it."""

    NEVER_STARTED = "never_started"
    STARTING = "starting"
    """It holds the account's lock, and has not written its first heartbeat."""
    RUNNING = "running"
    NOT_WRITING = "not_writing"
    """Its database session is used, but nothing is written."""
    FROZEN = "frozen"
    """Its database session is not used."""
    SILENT = "silent"
    """No heartbeat and no database session: it has died, or cannot reach the database."""
    STOPPED = "stopped"


def status(settings: Settings) -> AccountStatus:
    """The state of the account, whether or not its daemon runs.

    Raises:
        Transient: the database cannot be reached.
        SchemaMismatch: it has no ingestor schema.
    """
    with connect(settings, reads_only=True) as connection:
        return status_in(connection, settings.account)


def status_in(connection: psycopg.Connection, name: str) -> AccountStatus:
    """The same of an account in this database."""
    account = account_status(connection, name)
    process = account.process
    if process is not None and process.stopped_at is None and account.lock_holder is None:
        return replace(account, lock_holder=_expected_holder(connection, name))
    return account


def _expected_holder(connection: psycopg.Connection, account: str) -> LockHolder | None:
    clock, pause = DatabaseClock(), threading.Event()
    until = clock.monotonic() + _HOLDER_SECONDS
    holder = None
    while holder is None and clock.monotonic() < until:
        pause.wait(_POLL_SECONDS)
        holder = lock_holder(connection, account)
    return holder


def daemon_state(account: AccountStatus) -> DaemonState:
    """Derived from heartbeat and lock."""
    process, holder = account.process, account.lock_holder
    if process is None or process.stopped_at is not None:
        if holder is not None:
            return DaemonState.STARTING
        return DaemonState.NEVER_STARTED if process is None else DaemonState.STOPPED
    if holder is None:
        return DaemonState.SILENT
    if process.seconds_since_heartbeat <= _SILENT_AFTER_SECONDS:
        return DaemonState.RUNNING
    frozen = holder.idle_seconds is not None and holder.idle_seconds > _FROZEN_AFTER_SECONDS
    return DaemonState.FROZEN if frozen else DaemonState.NOT_WRITING


def problems(account: AccountStatus) -> list[str]:
    """Each reason not to trust the tables, with what to check; the most serious first."""
    return [
        *([] if account.takes_writes else ["the database accepts no writes: it is a standby or read-only"]),
        *_of_the_daemon(account),
        *_of_records(account),
        *map(_of_request, account.failed_requests if daemon_state(account) is DaemonState.RUNNING else ()),
        *(f"a record could not be read: {detail}" for detail in account.undecodable),
        *_of_streams(account),
        *_of_the_clock(account.process),
    ]


def _of_the_daemon(account: AccountStatus) -> Iterator[str]:
    process, state = account.process, daemon_state(account)
    if process is None:
        if state is DaemonState.NEVER_STARTED:
            known = ", ".join(account.known_accounts)
            yield f"the daemon has never run for the account {account.account}" + (
                f"; this database holds {known}: check the setting account" if known else ": `ingestor run`"
            )
        return
    since = span(process.seconds_since_heartbeat)
    match state:
        case DaemonState.STOPPED:
            yield f"the daemon is not running: it was stopped {span(process.seconds_since_stop or 0)} ago"
        case DaemonState.SILENT:
            yield (
                f"the daemon has died or cannot reach the database: it has no database session, and its "
                f"last heartbeat was {since} ago; see "
                f"`systemctl status hercle-ingestor@{account.account}` and its log"
            )
        case DaemonState.FROZEN:
            yield f"the daemon is frozen: it has not used its database session for {since}; restart it"
        case DaemonState.NOT_WRITING:
            yield (
                f"the daemon runs and has written nothing for {since}: see commit_delayed in its log, and "
                "the database"
            )
        case DaemonState.RUNNING | DaemonState.STARTING | DaemonState.NEVER_STARTED:
            pass
    if process.key_refused:
        yield f"the hub refused the key: {_error(process)}; check hub.environment and the key"
    elif state is DaemonState.RUNNING and process.link_state == "paused":
        yield "no link to the hub: paused by an operator; `ingestor resume` ends it"
    elif state is DaemonState.RUNNING and process.link_state != "up":
        yield f"no link to the hub: {_error(process)}; see `ingestor check`"
    if account.links_lost_last_hour >= _MANY_LOST_LINKS:
        yield f"{account.links_lost_last_hour} links lost in the last hour: see the view report.session"


def _error(process: ProcessStatus) -> str:
    """Why there is no link, and when the next attempt is due."""
    why = process.connection_error or process.link_state
    if process.connection_error_detail:
        why += f", {process.connection_error_detail}"
    due = process.next_attempt_in_seconds
    if due is None or process.stopped_at is not None:
        return why
    return f"{why} (next attempt {f'in {span(due)}' if due > 0 else 'now'})"


def _of_records(account: AccountStatus) -> Iterator[str]:
    if account.dropped_records:
        yield f"records dropped in the last 24 hours: {account.dropped_records}, see the view report.gap"
    if account.unaccounted_records:
        yield f"records unaccounted for: {account.unaccounted_records}, see the view report.unaccounted"
    if account.open_gaps:
        yield f"gaps open: {account.open_gaps}, see the view report.gap"


def _of_request(failed: FailedRequest) -> str:
    said = {
        "refused": "is refused by the hub",
        "unreadable": "gets an answer that cannot be used",
        "timed_out": "gets no answer",
    }[failed.outcome]
    return (
        f"{failed.command} {said}{f': {failed.error}' if failed.error else ''}, see the view report.request"
    )


def _of_streams(account: AccountStatus) -> Iterator[str]:
    """Streams that should have been confirmed by now; a process that has just started gets two intervals."""
    uptime = account.process.seconds_since_start if account.process is not None else inf
    for stream in account.streams:
        if stream.pending_confirmations:
            reasons = ", ".join(stream.pending_confirmations)
            yield f"{stream.kind} await confirmation: {reasons}, see the view report.confirmation"
        elif stream.is_fresh is False and (
            stream.confirmed_until is not None or uptime > 2 * (stream.expected_every_seconds or 0)
        ):
            yield f"{_age(stream)}: see the view report.freshness"


def _age(stream: StreamStatus) -> str:
    if stream.seconds_since_confirmed is None:
        return f"{stream.kind} never confirmed"
    every = stream.expected_every_seconds
    expected = "" if every is None else f", expected every {every:.0f} s"
    return f"{stream.kind} not confirmed for {stream.seconds_since_confirmed:.0f} s{expected}"


def _of_the_clock(process: ProcessStatus | None) -> Iterator[str]:
    seconds = None if process is None else process.clock_offset_seconds
    if process is not None and seconds is not None and abs(seconds) >= OFFSET_SECONDS:
        yield f"the clock of {process.host} is {offset(seconds)} the database's: see its time service"


def offset(seconds: float) -> str:
    """The offset of one clock from another, as text."""
    return f"{abs(seconds):.3f} s {'ahead of' if seconds >= 0 else 'behind'}"
