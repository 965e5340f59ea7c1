"""What a support bundle may contain: what is not named here is not in it.

No amounts, no records, no users, no addresses of people, no text of the hub or the database: only numbers,
times, and words from our own lists.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Versions:
    """What runs here."""

    ingestor: str
    python: str
    system: str
    """Kernel and processor."""
    packages: dict[str, str]
    """Of the Python packages that ingestor needs."""
    postgres: str | None
    """The server's; null where it cannot be reached."""


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """One setting in force."""

    key: str
    value: str | int | float | None
    """Of a path only `set`; of the database's URL only host, port, database and the mode of TLS."""
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
    last_heard_at: datetime | None
    inbox_records: int
    stopped_at: datetime | None


@dataclass(frozen=True, slots=True)
class ShownStream:
    """Where one stream stands; without its user."""

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
    """What `ingestor status` tells, without what the hub or the database said in words of their own."""

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
    """By the database."""

    daemon: str
    account: ShownAccount


@dataclass(frozen=True, slots=True)
class ShownPicture:
    """What the daemon counts."""

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
    """What the running daemon tells over its socket."""

    version: str
    not_live: list[str]
    not_ready: list[str]
    picture: ShownPicture


@dataclass(frozen=True, slots=True)
class ShownSchema:
    """Where the schema stands."""

    found: str | None
    wanted: str
    pending: list[str]


@dataclass(frozen=True, slots=True)
class ShownGap:
    """One of the newest 200; without its user."""

    id: str
    kind: str
    cause: str
    missed_from: datetime
    missed_until: datetime | None
    opened_at: datetime
    ended_at: datetime | None
    seconds_unknown: float
    touches: list[str]
    awaits: list[str]
    connection_errors: list[str]
    first_missing: int | None
    last_missing: int | None
    occurrences: int
    session_id: UUID
    ordinal: int


@dataclass(frozen=True, slots=True)
class ShownLetter:
    """One of the 200 dead letters that came up last; without record, detail and subject."""

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
    """The room that one table takes, with all accounts in it."""

    table: str
    estimated_rows: int
    """As the server's last vacuum or analyse left it; -1: never."""
    table_bytes: int
    index_bytes: int


@dataclass(frozen=True, slots=True)
class ShownLine:
    """One record of the log."""

    timestamp: str
    level: str
    event: str
    exception_type: str | None
    facts: dict[str, str | int | float | bool | None]
    """Those that are a number or one word from our own lists."""
    frames: list[str]
    """Of its traceback, file, line and function; neither source nor messages."""


@dataclass(frozen=True, slots=True)
class BundleContents:
    """All files of a support bundle: each field is the file `NAME.json`, and null is not there."""

    versions: Versions
    settings: list[EffectiveSetting]
    status: ShownStatus | None
    live: ShownLive | None
    schema: ShownSchema | None
    outcomes: dict[str, int] | None
    """How many events of the account had each outcome."""
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
    """Of a list or an object."""


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What is in the archive, and what is not."""

    path: str
    bytes: int
    files: list[BundleFile]
    missing: dict[str, str]
    """Of each part that could not be had, the reason. The reasons are not in the archive."""
