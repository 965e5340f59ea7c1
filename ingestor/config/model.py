"""The settings tree: the one place that says name, kind, default and meaning of each setting.

Names carry their unit; the texts below them become the example file and `config explain`. A second fact in an
annotation is an example, for a setting without a default.
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
    Patience,
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
    """Where the hub is, and the deadlines of a connection to it. The key itself is never a setting."""

    environment: Environment = Environment.SANDBOX
    """Which Hercle hub to connect to; `custom` needs `url`."""
    url: Annotated[HubUrl, "https://hub.example.net/ExecutionLiveServer/v1"] = None
    """Another address than the preset's; https or wss, plain text only on loopback."""
    ca_file: Annotated[AbsolutePath, "/etc/ingestor/hub-ca.pem"] = None
    """PEM file of certificate authorities to trust instead of the system's."""
    key_file: Annotated[AbsolutePath, "/etc/ingestor/hercle_api_key"] = None
    """File that holds the API key, mode 0640 or stricter; read again at each connect. The systemd credential
    `hercle_api_key` goes before it, the variable HERCLE_API_KEY after it."""
    negotiate: Negotiate = Negotiate.AUTO
    """Whether to ask for a connection token first; `auto` tries, and does without where the hub has no such
    page."""
    negotiate_deadline_seconds: Seconds = 10.0
    """For the whole negotiate exchange."""
    start_deadline_seconds: Seconds = 10.0
    """For opening the WebSocket."""
    handshake_deadline_seconds: Seconds = 15.0
    """For the hub's handshake answer."""
    receive_deadline_seconds: Seconds = 35.0
    """A connection that is silent for longer counts as dead; the hub pings every 15 s."""
    ping_interval_seconds: Seconds = 10.0
    """Between our own keep-alive pings."""
    backoff_cap_seconds: Seconds = 60.0
    """Longest pause between two connection attempts."""
    refused_interval_seconds: Seconds = 300.0
    """Longest pause after the hub refused the key (401 or 403); the key is read again each time."""
    healthy_after_seconds: Seconds = 60.0
    """A connection that lasted this long resets the back-off."""
    max_message_bytes: Bytes = 16 * MIB
    """Largest WebSocket message accepted."""
    max_record_bytes: Bytes = 1 * MIB
    """Largest record kept whole; of a bigger one the head and its SHA-256 are kept."""

    @property
    def address(self) -> str:
        """The hub's URL: `url` where given, else the preset's; without a trailing slash."""
        return self.url if self.url is not None else _PRESETS[self.environment]


@dataclass(frozen=True, slots=True)
class Database:
    """Where the data goes: `url`, which has no default."""

    url: Annotated[DatabaseUrl, "postgresql:///ingestor?host=/run/postgresql"] = None
    """PostgreSQL 15 or later; `dsn` is another name for it. To a remote host add sslmode=verify-full. A
    password is better kept in the systemd credential `database_password` or in `password_file`."""
    password_file: Annotated[AbsolutePath, "/etc/ingestor/database_password"] = None
    """File that holds the database password, mode 0640 or stricter; goes before a password in the URL."""
    connect_deadline_seconds: Seconds = 5.0
    """For opening a connection."""
    lock_deadline_seconds: Seconds = 5.0
    """For waiting on a lock (lock_timeout)."""
    statement_deadline_seconds: Seconds = 10.0
    """For one statement (statement_timeout)."""
    transaction_deadline_seconds: Seconds = 15.0
    """For a whole transaction."""
    embedded_directory: Annotated[AbsolutePath, "/var/lib/ingestor/postgres"] = None
    """Instead of `url`: a private Postgres, which is started here (needs the `demo` extra)."""


@dataclass(frozen=True, slots=True)
class Snapshots:
    """How often the whole state is requested, and when a request is repeated."""

    balances_interval_seconds: Seconds = 60.0
    """Between two scheduled GetBalances."""
    pairs_interval_seconds: Seconds = 300.0
    """Between two scheduled GetPairs."""
    reply_deadline_seconds: Seconds = 15.0
    """For the hub's answer to one request."""
    retry_cap_seconds: Seconds = 30.0
    """Longest pause between two tries of a request that has failed."""
    overdue_factor: Factor = 2.0
    """A snapshot older than this many intervals is requested out of schedule."""


@dataclass(frozen=True, slots=True)
class Inbox:
    """The one bounded queue between the connection to the hub and the writer."""

    max_records: Records = 10_000
    """Most records in the queue while the database is slow or away."""
    max_bytes: Bytes = 32 * MIB
    """Most bytes in the queue while the database is slow or away."""
    patience_seconds: Patience = 5.0
    """How long reading from the hub waits for room in a full queue before records are dropped; what was
    dropped is recorded as a gap."""


@dataclass(frozen=True, slots=True)
class Writer:
    """How records are gathered into transactions."""

    batch_max_records: BatchRecords = 3000
    """Most records in one transaction."""


@dataclass(frozen=True, slots=True)
class Sequence:
    """How the hub's sequence is read, and when a surprising number or an emptied list is accepted."""

    step: Step = Step.RISING
    """`rising`: a push may pass over numbers; `contiguous`: every number that a push passes over opens a
    gap."""
    reset_confirmations: Observations = 2
    """Observations needed before a lower sequence starts a new epoch, the first one included."""
    max_epochs_per_hour: EpochsAnHour = 3
    """More resets than this within an hour are not followed until the hour has passed."""
    mass_delete_share: Share = 0.5
    """A snapshot that drops a larger share of the assets, or all, needs a second one that says the same."""


@dataclass(frozen=True, slots=True)
class Log:
    """What is written to standard error."""

    level: LogLevel = LogLevel.INFO
    """Least severe level written."""
    format: LogFormat = LogFormat.AUTO
    """`auto`: console on a terminal, JSON elsewhere."""


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics and health over HTTP, for Prometheus and probes on the same host."""

    listen: Annotated[LoopbackAddress, "127.0.0.1:9464"] = None
    """Where to serve /metrics, /health/live and /health/ready: a loopback address with a port of this account
    alone. Not set: nowhere."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What `ingestor db prune` removes of this account. Where nothing is set, all is kept for ever."""

    duplicates_days: Annotated[Days, 30] = None
    """Keep records that repeated what was known, with their outcomes, for so long."""
    records_days: Annotated[Days, 400] = None
    """Keep all other records and their outcomes for so long; those that prove what stands are kept longer."""
    requests_days: Annotated[Days, 400] = None
    """Keep requests for so long, and the last answered one of each kind longer."""
    history_days: Annotated[Days, 3650] = None
    """Keep versions, balances, exposures and pairs for so long, and what held at that moment longer."""


@dataclass(frozen=True, slots=True)
class Drain:
    """How a stop ends."""

    deadline_seconds: Seconds = 8.0
    """After SIGTERM: for writing what has been received. Keep it below the unit's TimeoutStopSec."""


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
    """Settings that do not fit together: key, what is wrong, and what to do."""
    hub, database, snapshots = settings.hub, settings.database, settings.snapshots
    if hub.environment is Environment.CUSTOM and hub.url is None:
        yield "hub.environment", "the custom environment has no address", "set hub.url"
    if hub.ping_interval_seconds >= hub.receive_deadline_seconds:
        fix = "ping at least twice within the receive deadline"
        yield "hub.ping_interval_seconds", "is not below hub.receive_deadline_seconds", fix
    if hub.max_record_bytes > hub.max_message_bytes:
        fix = "a record is part of a message: keep it at or below"
        yield "hub.max_record_bytes", "is above hub.max_message_bytes", fix
    if database.url is not None and database.embedded_directory is not None:
        fix = "remove database.url or database.embedded_directory"
        yield "database.embedded_directory", "names a private Postgres, and database.url a server", fix
    if database.url is None and database.password_file is not None:
        yield "database.password_file", "there is a password but no server to use it for", "set database.url"
    for name in ("lock_deadline_seconds", "statement_deadline_seconds"):
        if getattr(database, name) > database.transaction_deadline_seconds:
            what = "is longer than database.transaction_deadline_seconds"
            yield f"database.{name}", what, "keep it at or below the transaction's"
    for name in ("balances_interval_seconds", "pairs_interval_seconds"):
        if getattr(snapshots, name) < snapshots.reply_deadline_seconds:
            what = "is shorter than snapshots.reply_deadline_seconds"
            yield f"snapshots.{name}", what, "lengthen the interval or shorten the deadline"
