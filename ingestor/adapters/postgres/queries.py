"""Queries of `ingestor status`: a few rows each, without delaying the writer."""

from dataclasses import dataclass
from datetime import datetime

import psycopg

from ingestor.adapters.postgres.account_lock import HOLDER, lock_key
from ingestor.adapters.postgres.reading import read, rows, value


@dataclass(frozen=True, slots=True)
class ProcessStatus:
    """The newest heartbeat of the account's process."""

    pid: int
    host: str
    software_version: str
    started_at: datetime
    heartbeat_at: datetime
    seconds_since_heartbeat: float
    clock_offset_seconds: float | None
    """The host's wall clock minus the database's clock."""
    link_state: str
    connection_error: str | None
    connection_error_detail: str | None
    key_refused: bool
    """The hub itself has answered the last attempt with 401 or 403."""
    next_attempt_in_seconds: float | None
    last_message_at: datetime | None
    inbox_records: int
    stopped_at: datetime | None
    seconds_since_stop: float | None
    seconds_since_start: float


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The database session that holds the account's lock."""

    pid: int
    """Of its server process."""
    idle_seconds: float | None
    """Time since its last statement; 0 while one runs; None if our role may not see that."""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """The newest version of a stream; before the first answer there is one without a user for each kind."""

    kind: str
    user_id: str | None
    epoch: int | None
    sequence: int | None
    valid_from: datetime | None
    confirmed_until: datetime | None
    seconds_since_confirmed: float | None
    expected_every_seconds: float | None
    is_fresh: bool | None
    """As in `report.freshness`: None for a former user."""
    pending_confirmations: list[str]
    """Their reasons. The hub may have a state that has not been applied."""


@dataclass(frozen=True, slots=True)
class FailedRequest:
    """The newest request of its command that has ended: the hub refused it, or gave no usable answer."""

    command: str
    outcome: str
    error: str | None


@dataclass(frozen=True, slots=True)
class SequenceStep:
    """How often the counter of a user's balances rose by this much; see the view report.sequence_steps."""

    user_id: str
    origin: str
    step: int
    versions: int
    share: float


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """All that `ingestor status` shows of an account."""

    account: str
    known_accounts: tuple[str, ...]
    """All that have been ingested into this database."""
    takes_writes: bool
    """False on a standby, and on a server that is read-only."""
    process: ProcessStatus | None
    lock_holder: LockHolder | None
    streams: tuple[StreamStatus, ...]
    failed_requests: tuple[FailedRequest, ...]
    open_gaps: int
    """Without the gap of an orderly stop, which ends after the next start."""
    dropped_records: int
    """In the last 24 hours."""
    unaccounted_records: int
    """See the view report.unaccounted."""
    links_lost_last_hour: int
    dead_letters: int
    discarded_dead_letters: int
    """Those of them that are discarded."""
    newest_dead_letter: str | None
    """Detail of the newest of the others."""
    undecodable: tuple[str, ...]
    """Details of undecodable records since which no snapshot has confirmed the state."""
    sequence_steps: tuple[SequenceStep, ...]
    """The most frequent ones first."""
    last_session_opened_at: datetime | None


def account_status(connection: psycopg.Connection, account: str) -> AccountStatus:
    """Raises psycopg's errors; the caller explains them."""
    ((dead_letters, discarded, newest),) = rows(connection, _DEAD_LETTERS, account)
    process = read(connection, ProcessStatus, _PROCESS, account)
    return AccountStatus(
        account=account,
        known_accounts=tuple(name for (name,) in rows(connection, _ACCOUNTS)),
        takes_writes=value(connection, _TAKES_WRITES),
        process=process[0] if process else None,
        lock_holder=lock_holder(connection, account),
        streams=tuple(read(connection, StreamStatus, _STREAMS, account)),
        failed_requests=tuple(read(connection, FailedRequest, _FAILED_REQUESTS, account)),
        open_gaps=value(connection, _OPEN_GAPS, account),
        dropped_records=value(connection, _DROPPED_RECORDS, account),
        unaccounted_records=value(connection, _UNACCOUNTED, account),
        links_lost_last_hour=value(connection, _LINKS_LOST, account),
        dead_letters=dead_letters,
        discarded_dead_letters=discarded,
        newest_dead_letter=newest,
        undecodable=tuple(detail for (detail,) in rows(connection, _UNDECODABLE, account)),
        sequence_steps=tuple(read(connection, SequenceStep, _SEQUENCE_STEPS, account)),
        last_session_opened_at=value(connection, _LAST_SESSION, account),
    )


def lock_holder(connection: psycopg.Connection, account: str) -> LockHolder | None:
    """The database session that writes the account now, independent of the heartbeat."""
    found = read(connection, LockHolder, _LOCK_HOLDER, lock_key(account))
    return found[0] if found else None


_LOCK_HOLDER = f"""
    SELECT pid, CASE state
        WHEN 'active' THEN 0
        ELSE extract(epoch FROM clock_timestamp() - state_change)
    END::float8 AS idle_seconds
    FROM pg_stat_activity WHERE pid = ({HOLDER})
"""  # noqa: S608 - a constant

_TAKES_WRITES = "SELECT current_setting('transaction_read_only') = 'off'"

_ACCOUNTS = "SELECT account FROM ingest.account ORDER BY account"

_LAST_SESSION = "SELECT max(opened_at) FROM ingest.session WHERE account = $1"

_OPEN_GAPS = """
    SELECT count(*)
    FROM ingest.gap AS g
    WHERE g.account = $1 AND g.ended_at IS NULL
      AND NOT (g.kind = 'disconnected' AND g.cause = 'stopped' AND g.missed_until IS NULL)
      AND NOT EXISTS (
        -- Not those of a former user (is_fresh is null), which will never end.
        SELECT FROM report.freshness AS f
        WHERE f.account = g.account AND f.user_id = g.user_id AND f.kind = ANY (g.affects)
          AND f.is_fresh IS NULL
    )
"""

_DROPPED_RECORDS = """
    SELECT coalesce(sum(last_missing - first_missing + 1), 0)::int8
    FROM ingest.gap
    WHERE account = $1 AND kind = 'dropped' AND opened_at > clock_timestamp() - interval '24 hours'
"""

_UNACCOUNTED = """
    SELECT coalesce(sum(abs(records)), 0)::int8 FROM report.unaccounted WHERE account = $1
"""

_LINKS_LOST = """
    SELECT count(*)
    FROM ingest.session
    WHERE account = $1 AND ending = 'link_lost' AND closed_at > clock_timestamp() - interval '1 hour'
"""

_FAILED_REQUESTS = """
    SELECT newest.command, newest.outcome, newest.error
    FROM unnest(ARRAY['GetBalances', 'GetPairs']) AS c (command)
    CROSS JOIN LATERAL (
        SELECT r.command, r.outcome, r.error
        FROM ingest.request AS r
        WHERE r.account = $1 AND r.command = c.command AND r.outcome IS NOT NULL
        ORDER BY r.requested_at DESC
        LIMIT 1
    ) AS newest
    WHERE newest.outcome IN ('refused', 'unreadable', 'timed_out')
"""

_DEAD_LETTERS = """
    SELECT count(*) AS total, count(discarded_at) AS discarded,
        (array_agg(detail ORDER BY last_received_at DESC) FILTER (WHERE discarded_at IS NULL))[1] AS newest
    FROM ingest.dead_letter
    LEFT JOIN ingest.discard USING (account, session_id, ordinal, position, received_at, occurrences)
    WHERE account = $1
"""

_UNDECODABLE = """
    SELECT DISTINCT d.detail
    FROM ingest.gap AS g
    JOIN ingest.dead_letter AS d USING (account, session_id, ordinal, position)
    WHERE g.account = $1 AND g.ended_at IS NULL AND g.kind = 'undecodable'
    ORDER BY d.detail
    LIMIT 3
"""

_SEQUENCE_STEPS = """
    SELECT user_id, origin, step, versions, share::float8 AS share
    FROM report.sequence_steps
    WHERE account = $1
    ORDER BY versions DESC, step
    LIMIT 10
"""


_PROCESS = """
    SELECT *,
        extract(epoch FROM clock_timestamp() - heartbeat_at)::float8 AS seconds_since_heartbeat,
        extract(epoch FROM clock_timestamp() - started_at)::float8 AS seconds_since_start,
        extract(epoch FROM clock_timestamp() - stopped_at)::float8 AS seconds_since_stop,
        extract(epoch FROM next_attempt_at - clock_timestamp())::float8 AS next_attempt_in_seconds
    FROM ingest.heartbeat WHERE account = $1
"""

_STREAMS = """
    SELECT f.kind, f.user_id, w.epoch, w.sequence, f.valid_from, f.confirmed_until,
           extract(epoch FROM f.age)::float8 AS seconds_since_confirmed,
           extract(epoch FROM f.expected_every)::float8 AS expected_every_seconds, f.is_fresh,
           array(
               SELECT c.reason FROM ingest.confirmation AS c
               WHERE c.account = f.account AND c.kind = f.kind AND c.user_id = f.user_id
                 AND c.resolution IS NULL
               ORDER BY c.reason
           ) AS pending_confirmations
    FROM report.freshness AS f
    LEFT JOIN ingest.watermark AS w USING (account, kind, user_id)
    WHERE f.account = $1
    ORDER BY f.kind, f.user_id
"""
