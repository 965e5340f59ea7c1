"""Reads for `ingestor status`: a few rows each, none of which disturbs the writer."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select, text

from ingestor.adapters.postgres import tables as t
from ingestor.adapters.postgres.account_lock import HOLDER, lock_key


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
    last_heard_at: datetime | None
    inbox_records: int
    stopped_at: datetime | None
    seconds_since_stop: float | None
    seconds_since_start: float


@dataclass(frozen=True, slots=True)
class LockHolder:
    """The database session that has the account's lock."""

    pid: int
    """Of its server process."""
    idle_seconds: float | None
    """For how long it has been waiting for its client; 0 while it works; None: we may not see that."""


@dataclass(frozen=True, slots=True)
class StreamStatus:
    """Where one stream stands; before the first answer there is one without a user for each kind."""

    kind: str
    user_id: str | None
    epoch: int | None
    sequence: int | None
    valid_from: datetime | None
    confirmed_until: datetime | None
    seconds_since_confirmed: float | None
    expected_every_seconds: float | None
    is_fresh: bool | None
    """As `report.freshness` has it: None for a former user."""
    pending_confirmations: list[str]
    """Their reasons: what the hub has may be a state that has not been applied."""


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
    """All that `ingestor status` tells of an account."""

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
    """Without that of an orderly stop, which ends with the next start."""
    dropped_records: int
    """In the last 24 hours."""
    unaccounted_records: int
    """See the view report.unaccounted."""
    links_lost_last_hour: int
    dead_letters: int
    newest_dead_letter: str | None
    """What was wrong with it."""
    undecodable: tuple[str, ...]
    """What is wrong with records that could not be read, where no snapshot has confirmed the state since."""
    sequence_steps: tuple[SequenceStep, ...]
    """The most frequent ones first."""
    last_session_opened_at: datetime | None


def account_status(connection: Connection, account: str) -> AccountStatus:
    """Raises sqlalchemy's errors as they come; the caller words them."""
    of_account = {"account": account}
    letters = connection.execute(_DEAD_LETTERS, of_account).one()
    return AccountStatus(
        account=account,
        known_accounts=tuple(connection.scalars(select(t.account.c.account).order_by("account"))),
        takes_writes=bool(connection.scalar(text("SELECT current_setting('transaction_read_only') = 'off'"))),
        process=_process(connection, account),
        lock_holder=lock_holder(connection, account),
        streams=_streams(connection, account),
        failed_requests=tuple(
            FailedRequest(*row) for row in connection.execute(_FAILED_REQUESTS, of_account)
        ),
        open_gaps=connection.scalar(_OPEN_GAPS, of_account) or 0,
        dropped_records=connection.scalar(_DROPPED_RECORDS, of_account) or 0,
        unaccounted_records=connection.scalar(_UNACCOUNTED, of_account) or 0,
        links_lost_last_hour=connection.scalar(_LINKS_LOST, of_account) or 0,
        dead_letters=letters.total,
        newest_dead_letter=letters.newest,
        undecodable=tuple(connection.scalars(_UNDECODABLE, of_account)),
        sequence_steps=tuple(SequenceStep(*row) for row in connection.execute(_SEQUENCE_STEPS, of_account)),
        last_session_opened_at=connection.scalar(
            select(func.max(t.session.c.opened_at)).where(t.session.c.account == account)
        ),
    )


def lock_holder(connection: Connection, account: str) -> LockHolder | None:
    """Who writes the account now, whatever its heartbeat says."""
    row = connection.exec_driver_sql(_LOCK_HOLDER, (lock_key(account),)).one_or_none()
    return None if row is None else LockHolder(*row)


_LOCK_HOLDER = f"""
    SELECT pid, CASE state
        WHEN 'active' THEN 0
        ELSE extract(epoch FROM clock_timestamp() - state_change)
    END::float8
    FROM pg_stat_activity WHERE pid = ({HOLDER})
"""  # noqa: S608 - a constant

_OPEN_GAPS = text("""
    SELECT count(*)
    FROM ingest.gap AS g
    WHERE g.account = :account AND g.ended_at IS NULL
      AND NOT (g.kind = 'disconnected' AND g.cause = 'stopped' AND g.missed_until IS NULL)
      AND NOT EXISTS (
        -- Of a former user (whose freshness is null): nobody will ever end it.
        SELECT FROM report.freshness AS f
        WHERE f.account = g.account AND f.user_id = g.user_id AND f.kind = ANY (g.touches)
          AND f.is_fresh IS NULL
    )
""")

_DROPPED_RECORDS = text("""
    SELECT sum(last_missing - first_missing + 1)::int8
    FROM ingest.gap
    WHERE account = :account AND kind = 'dropped' AND opened_at > clock_timestamp() - interval '24 hours'
""")

_UNACCOUNTED = text("SELECT sum(abs(records))::int8 FROM report.unaccounted WHERE account = :account")

_LINKS_LOST = text("""
    SELECT count(*)
    FROM ingest.session
    WHERE account = :account AND ending = 'link_lost' AND closed_at > clock_timestamp() - interval '1 hour'
""")

_FAILED_REQUESTS = text("""
    SELECT newest.command, newest.outcome, newest.error
    FROM unnest(ARRAY['GetBalances', 'GetPairs']) AS c (command)
    CROSS JOIN LATERAL (
        SELECT r.command, r.outcome, r.error
        FROM ingest.request AS r
        WHERE r.account = :account AND r.command = c.command AND r.outcome IS NOT NULL
        ORDER BY r.requested_at DESC
        LIMIT 1
    ) AS newest
    WHERE newest.outcome IN ('refused', 'unreadable', 'timed_out')
""")

_DEAD_LETTERS = text("""
    SELECT count(*) AS total, (array_agg(detail ORDER BY last_received_at DESC))[1] AS newest
    FROM ingest.dead_letter
    WHERE account = :account
""")

_UNDECODABLE = text("""
    SELECT DISTINCT d.detail
    FROM ingest.gap AS g
    JOIN ingest.dead_letter AS d USING (account, session_id, ordinal, position)
    WHERE g.account = :account AND g.ended_at IS NULL AND g.kind = 'undecodable'
    ORDER BY d.detail
    LIMIT 3
""")

_SEQUENCE_STEPS = text("""
    SELECT user_id, origin, step, versions, share::float8
    FROM report.sequence_steps
    WHERE account = :account
    ORDER BY versions DESC, step
    LIMIT 10
""")


def _process(connection: Connection, account: str) -> ProcessStatus | None:
    h = t.heartbeat.c
    row = connection.execute(
        select(
            t.heartbeat,
            func.extract("epoch", func.clock_timestamp() - h.heartbeat_at).label("silence"),
            func.extract("epoch", func.clock_timestamp() - h.started_at).label("uptime"),
            func.extract("epoch", func.clock_timestamp() - h.stopped_at).label("stopped_for"),
            func.extract("epoch", h.next_attempt_at - func.clock_timestamp()).label("next_attempt_in"),
        ).where(h.account == account)
    ).one_or_none()
    if row is None:
        return None
    return ProcessStatus(
        pid=row.pid,
        host=row.host,
        software_version=row.software_version,
        started_at=row.started_at,
        heartbeat_at=row.heartbeat_at,
        seconds_since_heartbeat=float(row.silence),
        clock_offset_seconds=row.clock_offset_seconds,
        link_state=row.link_state,
        connection_error=row.connection_error,
        connection_error_detail=row.connection_error_detail,
        key_refused=row.key_refused,
        next_attempt_in_seconds=None if row.next_attempt_in is None else float(row.next_attempt_in),
        last_heard_at=row.last_heard_at,
        inbox_records=row.inbox_records,
        stopped_at=row.stopped_at,
        seconds_since_stop=None if row.stopped_for is None else float(row.stopped_for),
        seconds_since_start=float(row.uptime),
    )


_STREAMS = text("""
    SELECT f.kind, f.user_id, w.epoch, w.sequence, f.valid_from, f.confirmed_until,
           extract(epoch FROM f.age)::float8, extract(epoch FROM f.expected_every)::float8, f.is_fresh,
           array(
               SELECT c.reason FROM ingest.confirmation AS c
               WHERE c.account = f.account AND c.kind = f.kind AND c.user_id = f.user_id
                 AND c.resolution IS NULL
               ORDER BY c.reason
           )
    FROM report.freshness AS f
    LEFT JOIN ingest.watermark AS w USING (account, kind, user_id)
    WHERE f.account = :account
    ORDER BY f.kind, f.user_id
""")


def _streams(connection: Connection, account: str) -> tuple[StreamStatus, ...]:
    return tuple(StreamStatus(*row) for row in connection.execute(_STREAMS, {"account": account}))
