"""All settings: name, kind, default and meaning of each, defined only here.

Names end in their unit. The texts below them become the example file and `config explain`. The second value
of an annotation is an example, for a setting without a default.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from ingestor.config.values import (
    MIB,
    AbsolutePath,
    AccountName,
    BatchRecords,
    Bytes,
    DatabaseUrl,
    Days,
    EpochsAnHour,
    Factor,
    HubUrl,
    LoopbackAddress,
    Observations,
    PutTimeout,
    Records,
    Seconds,
    Share,
)

Environment = StrEnum("Environment", "SANDBOX PRODUCTION CUSTOM")
Negotiate = StrEnum("Negotiate", "AUTO ALWAYS NEVER")
Step = StrEnum("Step", "RISING CONTIGUOUS")
LogLevel = StrEnum("LogLevel", "DEBUG INFO WARNING ERROR")
LogFormat = StrEnum("LogFormat", "AUTO JSON CONSOLE")

_PRESETS = {
    Environment.SANDBOX: "https://publicapi.sandbox.hercle.financial/ExecutionLiveServer/v1",
    Environment.PRODUCTION: "https://publicapi.hercle.financial/ExecutionLiveServer/v1",
}


@dataclass(frozen=True, slots=True)
class Hub:
    """The hub's address, and the deadlines of a connection to it. The key itself is never a setting."""

    environment: Environment = Environment.SANDBOX
    """Which Hercle hub to connect to; `custom` needs `url`."""
    url: Annotated[HubUrl, "https://hub.example.net/ExecutionLiveServer/v1"] = None
    """The hub's address, instead of that of `environment`; https or wss, unencrypted only on loopback."""
    ca_file: Annotated[AbsolutePath, "/etc/ingestor/hub-ca.pem"] = None
    """PEM file of certificate authorities to trust instead of the system's."""
    key_file: Annotated[AbsolutePath, "/etc/ingestor/hercle_api_key"] = None
    """File with the API key, mode 0640 or stricter; read again at each connect. The systemd credential
    `hercle_api_key` has precedence over it; the variable HERCLE_API_KEY is used if neither is there."""
    negotiate: Negotiate = Negotiate.AUTO
    """Whether to request a connection token first; `auto` tries, and connects without one if the hub has no
    negotiate page."""
    negotiate_deadline_seconds: Seconds = 10.0
    """Deadline of the whole negotiate exchange."""
    start_deadline_seconds: Seconds = 10.0
    """Deadline for opening the WebSocket."""
    handshake_deadline_seconds: Seconds = 15.0
    """Deadline of the hub's handshake answer."""
    receive_deadline_seconds: Seconds = 35.0
    """A connection on which nothing is received for longer is closed; the hub pings every 15 s."""
    ping_interval_seconds: Seconds = 10.0
    """Time between two keep-alive pings to the hub."""
    backoff_cap_seconds: Seconds = 60.0
    """Longest pause between two connection attempts."""
    refused_interval_seconds: Seconds = 300.0
    """Longest pause after the hub refused the key (401 or 403); the key is read again before each attempt."""
    healthy_after_seconds: Seconds = 60.0
    """After a connection that lasted this long, pauses between attempts begin short again."""
    max_message_bytes: Bytes = 16 * MIB
    """Largest WebSocket message accepted."""
    max_record_bytes: Bytes = 1 * MIB
    """Largest record stored whole; of a larger one its beginning and the SHA-256 of all bytes are stored."""

    @property
    def address(self) -> str:
        """The hub's URL: `url` where given, else the preset's; without a trailing slash."""
        return self.url if self.url is not None else _PRESETS[self.environment]


@dataclass(frozen=True, slots=True)
class Database:
    """The database that is written: `url`, which has no default."""

    url: Annotated[DatabaseUrl, "postgresql:///ingestor?host=/run/postgresql"] = None
    """Address of a PostgreSQL 15 or later; `dsn` is another name for this setting. For a remote host add
    sslmode=verify-full. A password is safer in the systemd credential `database_password` or in
    `password_file`."""
    password_file: Annotated[AbsolutePath, "/etc/ingestor/database_password"] = None
    """File with the database password, mode 0640 or stricter; has precedence over a password in the URL."""
    connect_deadline_seconds: Seconds = 5.0
    """Deadline for opening a connection."""
    lock_deadline_seconds: Seconds = 5.0
    """Longest wait for a lock (lock_timeout)."""
    statement_deadline_seconds: Seconds = 10.0
    """Deadline of one statement (statement_timeout)."""
    transaction_deadline_seconds: Seconds = 15.0
    """Deadline of a whole transaction."""
    embedded_directory: Annotated[AbsolutePath, "/var/lib/ingestor/postgres"] = None
    """Instead of `url`: the directory of a private Postgres, which the daemon starts (needs the `demo`
    extra)."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """How often the whole state is requested, and when a request is repeated."""

    balances_interval_seconds: Seconds = 60.0
    """Time between two scheduled GetBalances."""
    pairs_interval_seconds: Seconds = 300.0
    """Time between two scheduled GetPairs."""
    reply_deadline_seconds: Seconds = 15.0
    """Deadline of the hub's answer to a request."""
    retry_cap_seconds: Seconds = 30.0
    """Longest pause before a failed request is repeated."""
    overdue_factor: Factor = 2.0
    """A snapshot that is older than this many intervals is requested at once."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """The one bounded queue between the connection to the hub and the writer."""

    max_records: Records = 10_000
    """Most records in the queue, which fills only while the database is slow or away."""
    max_bytes: Bytes = 32 * MIB
    """Most bytes of records in the queue."""
    put_timeout_seconds: PutTimeout = 5.0
    """How long a full queue stops reading from the hub before the oldest records are dropped, which is
    recorded as a gap."""


@dataclass(frozen=True, slots=True)
class Writer:
    """How records are grouped into transactions."""

    batch_max_records: BatchRecords = 3000
    """Most records in one transaction."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """How the hub's sequence numbers rise, and when a lower number or an emptied list is accepted."""

    step: Step = Step.RISING
    """`rising`: a push may skip numbers; `contiguous`: a push that skips numbers opens a gap."""
    reset_confirmations: Observations = 2
    """Answers with a lower sequence that are needed to start a new epoch, the first one included."""
    max_epochs_per_hour: EpochsAnHour = 3
    """If the counter resets more often within an hour, its new state is not applied until the hour has
    passed."""
    mass_delete_share: Share = 0.5
    """A snapshot that loses all assets, or a larger share of them than this, is applied only when a second
    one agrees."""


@dataclass(frozen=True, slots=True)
class Log:
    """What is written to standard error."""

    level: LogLevel = LogLevel.INFO
    """Lowest level that is written."""
    format: LogFormat = LogFormat.AUTO
    """`auto`: console on a terminal, JSON elsewhere."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics and health over HTTP, for Prometheus and probes on the same host."""

    listen: Annotated[LoopbackAddress, "127.0.0.1:9464"] = None
    """Address of /metrics, /health/live and /health/ready: loopback, with a different port for each account.
    If it is not set, they are off."""


@dataclass(frozen=True, slots=True)
class Retention:
    """When `ingestor db prune` removes rows of this account. Without these settings nothing is removed."""

    duplicates_days: Annotated[Days, 30] = None
    """Age at which records that repeated the stored state are removed, with their outcomes."""
    records_days: Annotated[Days, 400] = None
    """Age at which all other records and their outcomes are removed; the records of the current state are
    kept."""
    requests_days: Annotated[Days, 400] = None
    """Age at which requests are removed; the last answered one of each kind is kept."""
    history_days: Annotated[Days, 3650] = None
    """Age at which versions, balances, exposures and pairs are removed; the state at that age is kept."""


@dataclass(frozen=True, slots=True)
class Drain:
    """The deadline of a stop."""

    deadline_seconds: Seconds = 8.0
    """After SIGTERM, the time for writing what has been received. Keep it below the unit's TimeoutStopSec."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings of one process, which serves one Hercle account."""

    account: AccountName = "main"
    """Our name for the account; part of every key in the database. Do not change it later."""
    hub: Hub = Hub()
    database: Database = Database()
    snapshots: Snapshots = Snapshots()
    inbox: Inbox = Inbox()
    writer: Writer = Writer()
    sequence: Sequence = Sequence()
    log: Log = Log()
    metrics: Metrics = Metrics()
    retention: Retention = Retention()
    drain: Drain = Drain()


def contradictions(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """Settings that contradict each other: key, what is wrong, and what to do."""
    hub, database, snapshots = settings.hub, settings.database, settings.snapshots
    if hub.environment is Environment.CUSTOM and hub.url is None:
        yield "hub.environment", "is custom, which has no address of its own", "set hub.url"
    if hub.ping_interval_seconds >= hub.receive_deadline_seconds:
        fix = "set it to half of the receive deadline or less"
        yield "hub.ping_interval_seconds", "is not below hub.receive_deadline_seconds", fix
    if hub.max_record_bytes > hub.max_message_bytes:
        fix = "lower it, because a record is part of a message"
        yield "hub.max_record_bytes", "is above hub.max_message_bytes", fix
    if database.url is not None and database.embedded_directory is not None:
        fix = "remove one of the two"
        yield "database.embedded_directory", "is set, and database.url too", fix
    if database.url is None and database.password_file is not None:
        yield "database.password_file", "is set without database.url", "set database.url"
    for name in ("lock_deadline_seconds", "statement_deadline_seconds"):
        if getattr(database, name) > database.transaction_deadline_seconds:
            what = "is longer than database.transaction_deadline_seconds"
            yield f"database.{name}", what, "lower it, or lengthen the transaction's"
    for name in ("balances_interval_seconds", "pairs_interval_seconds"):
        if getattr(snapshots, name) < snapshots.reply_deadline_seconds:
            what = "is shorter than snapshots.reply_deadline_seconds"
            yield f"snapshots.{name}", what, "lengthen the interval or shorten the deadline"
