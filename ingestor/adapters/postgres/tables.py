"""The private schema `ingest`, as SQLAlchemy Core tables. All that `migrations/` imports.

Rules that keep it ready to be distributed or partitioned: every key begins with the account; the keys of
tables that grow with events hold a time column that is fixed before the first attempt to write (so that a
repetition hits the same key); no triggers, and no foreign keys into the big tables.

Amounts are `numeric` without scale and finite; times are `timestamptz`; names are stored as received.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKeyConstraint,
    Index,
    Integer,
    Interval,
    LargeBinary,
    MetaData,
    Numeric,
    PrimaryKeyConstraint,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, UUID

SCHEMA = "ingest"

metadata = MetaData(
    schema=SCHEMA,
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
        "fk": "%(table_name)s_%(referred_table_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
    },
)

_BUSY = {"fillfactor": "50"}
"""For small tables that are updated with every batch: room for heap-only updates."""


def _at(name: str, comment: str, *, optional: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=optional, comment=comment)


def _text(name: str, comment: str, *, optional: bool = False) -> Column[object]:
    return Column(name, Text, nullable=optional, comment=comment)


def _count(name: str, comment: str, *, optional: bool = False, zero: bool = False) -> Column[object]:
    default = text("0") if zero else None
    return Column(name, BigInteger, nullable=optional, comment=comment, server_default=default)


def _small(name: str, comment: str, *, optional: bool = False) -> Column[object]:
    return Column(name, Integer, nullable=optional, comment=comment)


def _amount(name: str, comment: str, *, optional: bool = False) -> Column[object]:
    return Column(name, Numeric, nullable=optional, comment=comment)


def _flag(name: str, comment: str) -> Column[object]:
    return Column(name, Boolean, nullable=False, comment=comment)


def _account() -> Column[object]:
    return _text("account", "Name of the account, from the configuration.")


def _uuid(name: str, comment: str, *, optional: bool = False) -> Column[object]:
    return Column(name, UUID(as_uuid=True), nullable=optional, comment=comment)


def _event() -> tuple[Column[object], ...]:
    return (
        _uuid("session_id", "Session in which the event arrived."),
        _count("ordinal", "Number of the record within the session, from 1."),
        _small("position", "Index of the event within its record, from 0."),
    )


def _mark() -> tuple[Column[object], ...]:
    return (
        _small("epoch", "Counts how often the source's counter was seen to begin again, from 1."),
        _count("sequence", "The source's number; for pairs, our own count of versions."),
        _small("revision", "0, and one more for each different content received under the same sequence."),
    )


def _finite(*names: str) -> tuple[CheckConstraint, ...]:
    # NaN >= 0 is true in Postgres, so a sign check would not do.
    return tuple(
        CheckConstraint(f"{name} NOT IN ('NaN', 'Infinity', '-Infinity')", name=f"{name}_finite")
        for name in names
    )


account = Table(
    "account",
    metadata,
    _account(),
    _text("environment", "sandbox, production or custom: one account never mixes two of them."),
    _at("created_at", "When the account was first ingested."),
    PrimaryKeyConstraint("account"),
    comment="The accounts that are ingested into this database, one process each.",
)

session = Table(
    "session",
    metadata,
    _account(),
    _uuid("session_id", "Identity of the session; sorts by time of opening."),
    _at("opened_at", "When the hub answered the handshake."),
    _text("url", "Address of the hub, without query or credentials."),
    _small("attempts", "Connection attempts it took, this one included."),
    Column("obstacles", ARRAY(Text), nullable=False, comment="Causes of the attempts that failed before."),
    _text("software_version", "Version of the software that opened it."),
    _at("closed_at", "When it ended; null while it is open.", optional=True),
    _at("last_heard_at", "When the last bytes of any kind arrived; set at the end.", optional=True),
    _count("received", "Records received; set at the end.", optional=True),
    _text("ending", "clean, link_lost or unclean; null while it is open.", optional=True),
    _text("cause", "What ended it, e.g. silent, reset, closed_by_hub.", optional=True),
    _text("detail", "More about the cause, for people.", optional=True),
    _count("committed_ordinal", "Ordinal of the last record that is durable here or was shed.", zero=True),
    _count("committed_records", "Records that are durable here.", zero=True),
    _count("shed_records", "Records dropped at a limit; each run of them has a gap row.", zero=True),
    _at("last_received_at", "Receipt of the record at committed_ordinal.", optional=True),
    PrimaryKeyConstraint("account", "session_id"),
    comment="One successful connection to the hub, and how it ended.",
    postgresql_with=_BUSY,
)
Index(None, session.c.account, session.c.opened_at)

raw_event = Table(
    "raw_event",
    metadata,
    _account(),
    _uuid("session_id", "Session in which the record arrived."),
    _count("ordinal", "Number of the record within the session, from 1."),
    _at("received_at", "When its frame was complete."),
    _small("size", "Bytes on the wire."),
    Column(
        "sha256",
        LargeBinary,
        nullable=True,
        comment="Digest of all bytes where raw holds only their head, because the record was too large.",
    ),
    Column("raw", LargeBinary, nullable=False, comment="The record's bytes exactly as received."),
    PrimaryKeyConstraint("account", "session_id", "ordinal", "received_at"),
    comment="Every record the hub sent on a channel, as received: the evidence for all the rest.",
)

outcome = Table(
    "outcome",
    metadata,
    _account(),
    *_event(),
    _at("received_at", "Receipt of its record."),
    _text(
        "outcome",
        "applied, duplicate, stale, conflict, held, quarantined or ignored (what was shed has no row).",
    ),
    _text("reason", "Why it was quarantined or ignored.", optional=True),
    _text("subject", "Subject of the envelope, as received.", optional=True),
    _text(
        "command_id", "Correlation id in the envelope: the command that it answers, if any.", optional=True
    ),
    _text("kind", "balances or pairs, where the event belongs to a stream.", optional=True),
    _text("user_id", "The hub's user, where the event names one.", optional=True),
    _small("epoch", "Epoch of the version that the event became.", optional=True),
    _count("sequence", "Sequence that the event carries, or was given.", optional=True),
    _small("revision", "Revision of the version that the event became.", optional=True),
    PrimaryKeyConstraint("account", "session_id", "ordinal", "position", "received_at"),
    comment="What became of each event: exactly one row for each.",
)

version = Table(
    "version",
    metadata,
    _account(),
    _text("kind", "balances or pairs."),
    _text("user_id", "The hub's user; empty for pairs."),
    _at("valid_from", "When it was first seen; never before the version that it follows."),
    *_mark(),
    *_event(),
    _at("received_at", "Receipt of its record, by the wall clock of that moment."),
    _flag("deleted", "The hub flagged the whole balance record as deleted."),
    _at(
        "previous_confirmed_until",
        "When the version before it was last confirmed: the start of what is not known in between.",
        optional=True,
    ),
    PrimaryKeyConstraint("account", "kind", "user_id", "valid_from", "epoch", "sequence", "revision"),
    comment="Every snapshot that became state, in order.",
)

balance = Table(
    "balance",
    metadata,
    _account(),
    _text("user_id", "The hub's user."),
    _text("asset", "Name of the asset, as received."),
    _at("valid_from", "From when on the amounts hold."),
    *_mark(),
    _amount("available", "Free amount."),
    _amount("allocated", "Amount tied to open orders or pending actions."),
    _flag("reported", "False: an earlier snapshot named the asset and this one does not, so it counts as 0."),
    PrimaryKeyConstraint("account", "user_id", "asset", "valid_from", "epoch", "sequence", "revision"),
    *_finite("available", "allocated"),
    comment="Amounts by asset, a row for each change: a row holds until the next one of its asset.",
)

exposure = Table(
    "exposure",
    metadata,
    _account(),
    _text("user_id", "The hub's user."),
    _text("asset", "Name of the asset, as received."),
    _at("observed_at", "From when on the figures hold."),
    *_event(),
    _amount("current_exposure", "Exposure in the base currency.", optional=True),
    _amount("max_exposure", "Limit of the exposure in the base currency.", optional=True),
    PrimaryKeyConstraint("account", "user_id", "asset", "observed_at", "session_id", "ordinal", "position"),
    *_finite("current_exposure", "max_exposure"),
    comment="Exposure by asset, a row for each change. It moves with prices, under no sequence.",
)

exposure_total = Table(
    "exposure_total",
    metadata,
    _account(),
    _text("user_id", "The hub's user."),
    _at("observed_at", "From when on the figures hold."),
    *_event(),
    _text("base_currency", "Currency of the exposure figures.", optional=True),
    _amount("total_current_exposure", "Exposure of the whole account.", optional=True),
    _amount("total_max_exposure", "Limit of the exposure of the whole account.", optional=True),
    PrimaryKeyConstraint("account", "user_id", "observed_at", "session_id", "ordinal", "position"),
    *_finite("total_current_exposure", "total_max_exposure"),
    comment="Exposure of the whole account, a row for each change.",
)

pair = Table(
    "pair",
    metadata,
    _account(),
    _text("name", "Name of the pair, as received."),
    _at("valid_from", "From when on the limits hold."),
    *_mark(),
    _text("asset", "Base asset."),
    _text("currency", "Quote currency."),
    _amount("min_size", "Smallest size, in base units.", optional=True),
    _amount("max_size", "Largest size, in base units.", optional=True),
    _amount("min_quote_size", "Smallest size, in quote units.", optional=True),
    _amount("max_quote_size", "Largest size, in quote units.", optional=True),
    _flag("listed", "False: from here on the pair is missing from the list."),
    PrimaryKeyConstraint("account", "name", "valid_from", "epoch", "sequence", "revision"),
    *_finite("min_size", "max_size", "min_quote_size", "max_quote_size"),
    comment="Tradable pairs and their limits, a row for each change.",
)

epoch = Table(
    "epoch",
    metadata,
    _account(),
    _text("kind", "balances or pairs."),
    _text("user_id", "The hub's user; empty for pairs."),
    _small("epoch", "Number of the epoch, from 1."),
    _at("opened_at", "Receipt of the event that opened it."),
    _text("cause", "first_seen or suspected_server_reset."),
    _count("first_sequence", "First sequence of the epoch."),
    _count("previous_sequence", "Sequence at which the previous epoch stood.", optional=True),
    _uuid("first_witness_session_id", "Session of the first event that showed the lower counter."),
    _count("first_witness_ordinal", "Ordinal of that event."),
    _uuid("last_witness_session_id", "Session of the answer that confirmed it."),
    _count("last_witness_ordinal", "Ordinal of that answer."),
    _small("witnesses", "How many events showed the lower counter."),
    PrimaryKeyConstraint("account", "kind", "user_id", "epoch"),
    comment="Every beginning of a source's counter, with its witnesses.",
)

watermark = Table(
    "watermark",
    metadata,
    _account(),
    _text("kind", "balances or pairs."),
    _text("user_id", "The hub's user; empty for pairs."),
    *_mark(),
    Column("content", LargeBinary, nullable=False, comment="Digest of what the sequence governs."),
    *_event(),
    _at("valid_from", "Since when this version holds."),
    _at("confirmed_until", "When the hub last said the same: until then nothing had changed."),
    _flag("deleted", "The hub flagged the whole balance record as deleted."),
    PrimaryKeyConstraint("account", "kind", "user_id"),
    ForeignKeyConstraint(
        ["account", "kind", "user_id", "epoch"],
        [epoch.c.account, epoch.c.kind, epoch.c.user_id, epoch.c.epoch],
        # No state in an epoch that is not on record (I10).
    ),
    comment="Where each stream stands; moves only forward, in the transaction that writes the version.",
    postgresql_with=_BUSY,
)

gap = Table(
    "gap",
    metadata,
    _account(),
    _uuid("session_id", "Session in which, or after which, it began."),
    _count("ordinal", "First record that may be missing, or the one that revealed it; 0 before the session."),
    _small("position", "Index of the event that revealed it within its record."),
    _text("kind", "disconnected, unclean_end, sequence_skip, shed or undecodable."),
    _at("missed_from", "Start of the interval in which something may have been missed."),
    _at("missed_until", "End of the interval; null while it lasts.", optional=True),
    _at("opened_at", "When it was noticed."),
    _text("cause", "What broke."),
    Column(
        "obstacles", ARRAY(Text), nullable=False, comment="Causes of the attempts to come back that failed."
    ),
    _text("stream", "balances or pairs, where only one kind is touched.", optional=True),
    _text("user_id", "The hub's user, where only one is touched.", optional=True),
    _count("first_missing", "First missing sequence (sequence_skip) or ordinal (shed).", optional=True),
    _count("last_missing", "Last missing sequence or ordinal.", optional=True),
    Column(
        "awaiting",
        ARRAY(Text),
        nullable=False,
        comment="Kinds of stream that still need a fresh answer, or, where it was lost, never got one.",
    ),
    _text("ending", "healed, explained or lost; null while open.", optional=True),
    _at("ended_at", "When it ended.", optional=True),
    _uuid("proof_session_id", "Session of the event that proved the state again.", optional=True),
    _count("proof_ordinal", "Ordinal of that event.", optional=True),
    PrimaryKeyConstraint("account", "session_id", "ordinal", "position", "kind"),
    comment="Every interval in which we may have missed something, and how it ended.",
)
Index(None, gap.c.account, gap.c.missed_from)
Index("gap_open_idx", gap.c.account, postgresql_where=text("ending IS NULL"))
Index("gap_lost_idx", gap.c.account, gap.c.ended_at, postgresql_where=text("ending = 'lost'"))

doubt = Table(
    "doubt",
    metadata,
    _account(),
    *_event(),
    _text("doubt", "reset_suspected, conflict or mass_delete."),
    _text("kind", "balances or pairs."),
    _text("user_id", "The hub's user; empty for pairs."),
    _count("sequence", "Sequence of the event in doubt."),
    _at("raised_at", "Receipt of the event in doubt."),
    _text("resolution", "confirmed, refuted, superseded or abandoned; null while open.", optional=True),
    _at("resolved_at", "When it was resolved.", optional=True),
    _uuid("resolved_by_session_id", "Session of the event that resolved it.", optional=True),
    _count("resolved_by_ordinal", "Ordinal of the event that resolved it.", optional=True),
    PrimaryKeyConstraint("account", "session_id", "ordinal", "position", "doubt"),
    comment="Decisions that needed another witness: suspected resets, conflicts, emptied lists.",
)
Index("doubt_open_idx", doubt.c.account, postgresql_where=text("resolution IS NULL"))

command = Table(
    "command",
    metadata,
    _account(),
    _text("command_id", "Correlation id, sent as ClientId and echoed by the hub."),
    _text("command", "GetBalances or GetPairs."),
    _text("cause", "Why it was asked: link_up, schedule, overdue, gap, suspicion, undecodable, retry."),
    _small("attempt", "1 for the first try."),
    _text("argument_form", "positional or nested."),
    _uuid("session_id", "Session in which it was asked."),
    _at("asked_at", "When it was asked, just before it was sent."),
    _text("outcome", "answered, refused, timed_out, unsent or link_lost; null while open.", optional=True),
    _at("settled_at", "Receipt of the answer, or when it was given up.", optional=True),
    _count("answer_ordinal", "Ordinal of the record that answered it.", optional=True),
    _text("error", "The hub's text where it refused, without credentials.", optional=True),
    PrimaryKeyConstraint("account", "command_id"),
    comment="Every command sent to the hub: why, when, and how it ended.",
)
Index(None, command.c.account, command.c.asked_at)

dead_letter = Table(
    "dead_letter",
    metadata,
    _account(),
    *_event(),
    _at("received_at", "Receipt of its record."),
    _text("stage", "decode or store: where it failed."),
    _text("reason", "Why it was quarantined, one word of a fixed set."),
    _text("detail", "Where and what, for people."),
    _text("subject", "Subject of the envelope, where it could be read.", optional=True),
    _text("software_version", "Version of the software that quarantined it."),
    PrimaryKeyConstraint("account", "session_id", "ordinal", "position", "received_at"),
    comment="Events that could not be applied; their bytes are in raw_event.",
)

heartbeat = Table(
    "heartbeat",
    metadata,
    _account(),
    _uuid("process_id", "Identity of the process, new at each start."),
    _small("pid", "Its process number on its host."),
    _text("host", "Name of its host."),
    _text("software_version", "Its version."),
    _at("started_at", "When it started."),
    _at("beat_at", "When its writer last turned: quiet and dead differ here."),
    _text("link_state", "State of the link, a name of the state table."),
    _text("link_obstacle", "Cause of the last failed attempt, while there is no link.", optional=True),
    _at("last_heard_at", "When the last bytes of any kind came from the hub.", optional=True),
    _count("inbox_records", "Records waiting to be written."),
    _count("inbox_bytes", "Bytes waiting to be written."),
    Column("balances_interval", Interval, nullable=False, comment="How often balances are asked for."),
    Column("pairs_interval", Interval, nullable=False, comment="How often pairs are asked for."),
    _at("stopped_at", "When it stopped in good order; null while it runs or if it died.", optional=True),
    PrimaryKeyConstraint("account"),
    comment="The process that ingests the account, as of its last turn.",
    postgresql_with=_BUSY,
)
