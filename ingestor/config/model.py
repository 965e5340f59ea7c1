"""The settings tree. Names carry their unit; descriptions become the example file and `config explain`."""

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from ingestor.config.values import (
    MIB,
    AbsolutePath,
    AccountName,
    Bytes,
    Count,
    DatabaseUrl,
    HubUrl,
    Seconds,
    refusal,
)


class Environment(StrEnum):
    """A preset for the hub's address."""

    SANDBOX = "sandbox"
    PRODUCTION = "production"
    CUSTOM = "custom"


PRESETS = {
    Environment.SANDBOX: "https://publicapi.sandbox.hercle.financial/ExecutionLiveServer/v1",
    Environment.PRODUCTION: "https://publicapi.hercle.financial/ExecutionLiveServer/v1",
}


class Negotiate(StrEnum):
    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


class LogLevel(StrEnum):
    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    AUTO = "auto"
    JSON = "json"
    CONSOLE = "console"


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switches(cls, value: object) -> object:
        """`true` would otherwise pass as the number 1."""
        if isinstance(value, bool):
            raise refusal("this is a switch (true or false), and no setting here is one", "give a value")
        return value


class Hub(Section):
    """Where the hub is, and how patient we are with it. The key itself is never a setting."""

    environment: Environment = Field(
        default=Environment.SANDBOX, description="Which Hercle hub to connect to; `custom` needs `url`."
    )
    url: HubUrl | None = Field(
        default=None,
        description="Another address than the preset's; https or wss, plain text only on loopback.",
        examples=["https://hub.example.net/ExecutionLiveServer/v1"],
    )
    ca_file: AbsolutePath | None = Field(
        default=None,
        description="PEM file of certificate authorities to trust instead of the system's.",
        examples=["/etc/ingestor/hub-ca.pem"],
    )
    key_file: AbsolutePath | None = Field(
        default=None,
        description="File that holds the API key, mode 0640 or stricter; read again at each connect. "
        "The systemd credential `hercle_api_key` goes before it, the variable HERCLE_API_KEY after it.",
        examples=["/etc/ingestor/hercle_api_key"],
    )
    negotiate: Negotiate = Field(
        default=Negotiate.AUTO,
        description="Whether to ask for a connection token first; `auto` tries, and does without where the "
        "hub has no such page.",
    )
    negotiate_deadline_seconds: Seconds = Field(default=10.0, description="For the whole negotiate exchange.")
    start_deadline_seconds: Seconds = Field(default=10.0, description="For opening the WebSocket.")
    handshake_deadline_seconds: Seconds = Field(default=15.0, description="For the hub's handshake answer.")
    receive_deadline_seconds: Seconds = Field(
        default=35.0, description="A link that is silent for longer counts as dead; the hub pings every 15 s."
    )
    ping_interval_seconds: Seconds = Field(default=10.0, description="Between our own keep-alive pings.")
    backoff_cap_seconds: Seconds = Field(
        default=60.0, description="Longest pause between two connection attempts."
    )
    refused_interval_seconds: Seconds = Field(
        default=300.0,
        description="Pause after the hub refused the key (401 or 403); the key is read again each time.",
    )
    healthy_after_seconds: Seconds = Field(
        default=60.0, description="A link that lived this long resets the back-off."
    )
    max_message_bytes: Bytes = Field(default=16 * MIB, description="Largest WebSocket message accepted.")
    max_record_bytes: Bytes = Field(
        default=1 * MIB,
        description="Largest record kept whole; of a bigger one the head and its SHA-256 are kept.",
    )

    @property
    def address(self) -> str:
        """The hub's URL: `url` where given, else the preset's; without a trailing slash."""
        return self.url if self.url is not None else PRESETS[self.environment]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.environment is Environment.CUSTOM and self.url is None:
            raise refusal("the custom environment has no address", "set hub.url", "hub.environment")
        if self.ping_interval_seconds >= self.receive_deadline_seconds:
            raise refusal(
                "the ping interval is not below hub.receive_deadline_seconds",
                "ping at least twice within the receive deadline",
                "hub.ping_interval_seconds",
            )
        if self.max_record_bytes > self.max_message_bytes:
            raise refusal(
                "a record cannot be larger than the message that carries it",
                "keep it at or below hub.max_message_bytes",
                "hub.max_record_bytes",
            )
        return self


class Database(Section):
    """Where the data goes. Without `url`, a private Postgres is started (needs the `demo` extra)."""

    url: DatabaseUrl | None = Field(
        default=None,
        description="PostgreSQL 15 or later; `dsn` is another name for it. To a remote host add "
        "sslmode=verify-full. A password is better kept in the systemd credential `database_password` or in "
        "`password_file`.",
        examples=["postgresql:///ingestor?host=/run/postgresql"],
    )
    password_file: AbsolutePath | None = Field(
        default=None,
        description="File that holds the database password, mode 0640 or stricter; goes before a password "
        "in the URL.",
        examples=["/etc/ingestor/database_password"],
    )
    connect_deadline_seconds: Seconds = Field(default=5.0, description="For opening a connection.")
    lock_deadline_seconds: Seconds = Field(default=5.0, description="For waiting on a lock (lock_timeout).")
    statement_deadline_seconds: Seconds = Field(
        default=10.0, description="For one statement (statement_timeout)."
    )
    transaction_deadline_seconds: Seconds = Field(default=15.0, description="For a whole transaction.")
    embedded_directory: AbsolutePath | None = Field(
        default=None,
        description="Where the private Postgres keeps its data; $STATE_DIRECTORY/postgres under systemd, "
        "else in the user's data directory.",
        examples=["/var/lib/ingestor/postgres"],
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.url is not None and self.embedded_directory is not None:
            raise refusal(
                "both a server and a private Postgres are asked for",
                "remove database.url or database.embedded_directory",
                "database.embedded_directory",
            )
        if self.url is None and self.password_file is not None:
            raise refusal(
                "there is a password but no server to use it for",
                "set database.url",
                "database.password_file",
            )
        for name in ("lock_deadline_seconds", "statement_deadline_seconds"):
            if getattr(self, name) > self.transaction_deadline_seconds:
                raise refusal(
                    "the deadline is longer than database.transaction_deadline_seconds",
                    "keep it at or below the transaction's",
                    f"database.{name}",
                )
        return self


class Snapshots(Section):
    """How often we ask for the whole state, and when we ask again."""

    balances_interval_seconds: Seconds = Field(default=60.0, description="Between two scheduled GetBalances.")
    pairs_interval_seconds: Seconds = Field(default=300.0, description="Between two scheduled GetPairs.")
    reply_deadline_seconds: Seconds = Field(default=15.0, description="For the hub's answer to one command.")
    attempts: int = Field(
        default=3, ge=1, le=10, description="Tries for one snapshot before it counts as failed."
    )
    overdue_factor: float = Field(
        default=2.0,
        ge=1,
        le=100,
        description="An answer older than this many intervals is asked for out of schedule.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("balances_interval_seconds", "pairs_interval_seconds"):
            if getattr(self, name) < self.reply_deadline_seconds:
                raise refusal(
                    "the interval is shorter than snapshots.reply_deadline_seconds",
                    "ask less often, or wait less long",
                    f"snapshots.{name}",
                )
        return self


class Inbox(Section):
    """The one bounded queue between the link and the writer."""

    max_records: Count = Field(default=10_000, description="Records held while the database is slow or away.")
    max_bytes: Bytes = Field(default=32 * MIB, description="Bytes held while the database is slow or away.")
    patience_seconds: float = Field(
        default=5.0,
        ge=0,
        le=30,
        description="How long the link waits for room before it sheds records and books a gap.",
    )


class Writer(Section):
    """How records are gathered into transactions."""

    batch_max_records: int = Field(
        default=1000, ge=1, le=10_000, description="Most records in one transaction."
    )


class Sequence(Section):
    """When a surprising sequence or an emptied list is believed."""

    reset_confirmations: int = Field(
        default=2,
        ge=2,
        le=10,
        description="Witnesses needed before a lower sequence starts a new epoch, the first one included.",
    )
    max_epochs_per_hour: int = Field(
        default=3,
        ge=1,
        le=60,
        description="More resets than this within an hour are not followed until the hour has passed.",
    )
    mass_delete_share: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="A snapshot that drops a larger share of the assets, or all, needs a second witness.",
    )


class Log(Section):
    """What is written to standard error."""

    level: LogLevel = Field(default=LogLevel.INFO, description="Least severe level written.")
    format: LogFormat = Field(
        default=LogFormat.AUTO, description="`auto`: console on a terminal, JSON elsewhere."
    )


class Drain(Section):
    """How a stop ends."""

    deadline_seconds: Seconds = Field(
        default=8.0,
        description="After SIGTERM: for writing what is held. Keep it below the unit's TimeoutStopSec.",
    )


class Settings(BaseSettings):
    """All settings of one process, which serves one Hercle account."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix="INGESTOR_",
        env_nested_delimiter="__",
        hide_input_in_errors=True,
    )

    account: AccountName = Field(
        default="main",
        description="Our name for the account; part of every key in the database. Do not change it later.",
    )
    hub: Hub = Hub()
    database: Database = Database()
    snapshots: Snapshots = Snapshots()
    inbox: Inbox = Inbox()
    writer: Writer = Writer()
    sequence: Sequence = Sequence()
    log: Log = Log()
    drain: Drain = Drain()

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `loading` hands over.

        The library's own environment and file sources forget where a value came from and pass over
        variables they do not know; an operator needs both.
        """
        return (init_settings,)
