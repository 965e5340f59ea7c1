"""The contents of a support bundle: it has only the fields defined here.

No amounts, no records, no users, no addresses of people, no text of the hub or the database: only numbers,
times, and words from fixed lists.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Versions:
    """Versions of the software."""

    ingestor: str
    python: str
    system: str
    """Kernel and processor."""
    packages: dict[str, str]
    """Versions of the Python packages that ingestor needs."""
    postgres: str | None
    """Version of the server; null if it cannot be reached."""


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting."""

    key: str
    value: str | int | float | None
    """For a path only `set`; for the database's URL only host, port, database and the mode of TLS."""
    origin: str
    """`default`, `file`, `environment` or `command line`."""


@dataclass(frozen=True, slots=True)
class ShownProcess:
    """The newest heartbeat."""

    software_version: str
    started_at: datetime
    heartbeat_at: datetime
    seconds_since_heartbeat: float
    clock_offset_seconds: float | None
    link_state: str
    connection_error: str | None
    key_refused: bool
    next_attempt_in_seconds: float | None
    last_message_at: datetime | None
    inbox_records: int
    stopped_at: datetime | None


@dataclass(frozen=True, slots=True)
class ShownStream:
    """The newest version of a stream, without its user."""

    kind: str
    epoch: int | None
    sequence: int | None
    valid_from: datetime | None
    confirmed_until: datetime | None
    seconds_since_confirmed: float | None
    expected_every_seconds: float | None
    is_fresh: bool | None
    pending_confirmations: list[str]


@dataclass(frozen=True, slots=True)
class ShownAccount:
    """The result of `ingestor status`, without texts of the hub or the database."""

    takes_writes: bool
    process: ShownProcess | None
    streams: list[ShownStream]
    open_gaps: int
    dropped_records: int
    unaccounted_records: int
    links_lost_last_hour: int
    dead_letters: int
    last_session_opened_at: datetime | None


@dataclass(frozen=True, slots=True)
class ShownStatus:
    """As derived from the database."""

    daemon: str
    account: ShownAccount


@dataclass(frozen=True, slots=True)
class ShownDaemonStatus:
    """The daemon's counters."""

    link: str
    connection_error: str | None
    key_refused: bool
    next_attempt_in_seconds: float | None
    sequence: int | None
    records: int
    batches: int
    inbox_records: int
    inbox_max_records: int
    inbox_bytes: int
    inbox_max_bytes: int
    dropped: int
    dropping: int
    outcomes: dict[str, int]
    seconds_retrying: float
    seconds_since_commit: float | None
    seconds_since_stored: float | None
    seconds_uncommitted: float
    started: bool
    standby: bool
    ended_thread: str | None
    turns: dict[str, float]
    gaps: dict[str, int]
    oldest_gap_seconds: float
    pending_confirmations: int
    unaccounted: int


@dataclass(frozen=True, slots=True)
class ShownLive:
    """The running daemon's answer on its socket."""

    version: str
    not_live: list[str]
    not_ready: list[str]
    daemon_status: ShownDaemonStatus


@dataclass(frozen=True, slots=True)
class ShownSchema:
    """The revision of the schema."""

    found: str | None
    wanted: str
    pending: list[str]


@dataclass(frozen=True, slots=True)
class ShownGap:
    """One of the newest 200 gaps, without its user."""

    id: str
    kind: str
    cause: str
    missed_from: datetime
    missed_until: datetime | None
    opened_at: datetime
    ended_at: datetime | None
    seconds_unknown: float
    affects: list[str]
    unconfirmed: list[str]
    connection_errors: list[str]
    first_missing: int | None
    last_missing: int | None
    occurrences: int
    session_id: UUID
    ordinal: int


@dataclass(frozen=True, slots=True)
class ShownLetter:
    """One of the 200 dead letters that occurred last, without record, detail and subject."""

    id: str
    received_at: datetime
    stage: str
    reason: str
    occurrences: int
    last_received_at: datetime
    software_version: str
    session_id: UUID
    ordinal: int
    position: int


@dataclass(frozen=True, slots=True)
class ShownSize:
    """The size of one table, with all accounts in it."""

    table: str
    estimated_rows: int
    """Number at the server's last vacuum or analyse; -1: never."""
    table_bytes: int
    index_bytes: int


@dataclass(frozen=True, slots=True)
class ShownLine:
    """One line of the log."""

    timestamp: str
    level: str
    event: str
    exception_type: str | None
    facts: dict[str, str | int | float | bool | None]
    """The facts that are numbers or words from fixed lists."""
    frames: list[str]
    """File, line and function of its traceback, without source and messages."""


@dataclass(frozen=True, slots=True)
class BundleContents:
    """All files of a support bundle: each field is the file `NAME.json`, which is missing for null."""

    versions: Versions
    settings: list[EffectiveSetting]
    status: ShownStatus | None
    live: ShownLive | None
    schema: ShownSchema | None
    outcomes: dict[str, int] | None
    """Number of the account's events by outcome."""
    gaps: list[ShownGap] | None
    dead_letters: list[ShownLetter] | None
    sizes: list[ShownSize] | None
    log: list[ShownLine] | None


@dataclass(frozen=True, slots=True)
class BundleFile:
    """One file of the archive."""

    name: str
    bytes: int
    entries: int
    """Number of elements of a list or members of an object."""


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What is in the archive, and what is not."""

    path: str
    bytes: int
    files: list[BundleFile]
    missing: dict[str, str]
    """The reason for each part that could not be collected. Reasons are not in the archive."""
