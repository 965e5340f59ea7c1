"""The private schema: what arrives, what became of it, and what we may have missed."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "account",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column(
            "environment",
            sa.Text(),
            nullable=False,
            comment="sandbox, production or custom: one account never mixes two of them.",
        ),
        sa.Column(
            "created_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the account was first ingested.",
        ),
        sa.PrimaryKeyConstraint("account", name=op.f("account_pkey")),
        schema="ingest",
        comment="The accounts that are ingested into this database, one process each.",
    )
    op.create_table(
        "balance",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("user_id", sa.Text(), nullable=False, comment="The hub's user."),
        sa.Column("asset", sa.Text(), nullable=False, comment="Name of the asset, as received."),
        sa.Column(
            "valid_from", sa.DateTime(timezone=True), nullable=False, comment="From when on the amounts hold."
        ),
        sa.Column(
            "epoch",
            sa.Integer(),
            nullable=False,
            comment="Counts how often the source's counter was seen to begin again, from 1.",
        ),
        sa.Column(
            "sequence",
            sa.BigInteger(),
            nullable=False,
            comment="The source's number; for pairs, our own count of versions.",
        ),
        sa.Column(
            "revision",
            sa.Integer(),
            nullable=False,
            comment="0, and one more for each different content received under the same sequence.",
        ),
        sa.Column("available", sa.Numeric(), nullable=False, comment="Free amount."),
        sa.Column(
            "allocated",
            sa.Numeric(),
            nullable=False,
            comment="Amount tied to open orders or pending actions.",
        ),
        sa.Column(
            "reported",
            sa.Boolean(),
            nullable=False,
            comment="False: an earlier snapshot named the asset and this one does not, so it counts as 0.",
        ),
        sa.CheckConstraint(
            "allocated NOT IN ('NaN', 'Infinity', '-Infinity')", name=op.f("balance_allocated_finite_check")
        ),
        sa.CheckConstraint(
            "available NOT IN ('NaN', 'Infinity', '-Infinity')", name=op.f("balance_available_finite_check")
        ),
        sa.PrimaryKeyConstraint(
            "account",
            "user_id",
            "asset",
            "valid_from",
            "epoch",
            "sequence",
            "revision",
            name=op.f("balance_pkey"),
        ),
        schema="ingest",
        comment="Amounts by asset, a row for each change: a row holds until the next one of its asset.",
    )
    op.create_table(
        "command",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column(
            "command_id",
            sa.Text(),
            nullable=False,
            comment="Correlation id, sent as ClientId and echoed by the hub.",
        ),
        sa.Column("command", sa.Text(), nullable=False, comment="GetBalances or GetPairs."),
        sa.Column(
            "cause",
            sa.Text(),
            nullable=False,
            comment="Why it was asked: link_up, schedule, overdue, gap, suspicion, undecodable, retry.",
        ),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="1 for the first try."),
        sa.Column("argument_form", sa.Text(), nullable=False, comment="positional or nested."),
        sa.Column("session_id", sa.UUID(), nullable=False, comment="Session in which it was asked."),
        sa.Column(
            "asked_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was asked, just before it was sent.",
        ),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=True,
            comment="answered, refused, timed_out, unsent or link_lost; null while open.",
        ),
        sa.Column(
            "settled_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Receipt of the answer, or when it was given up.",
        ),
        sa.Column(
            "answer_ordinal",
            sa.BigInteger(),
            nullable=True,
            comment="Ordinal of the record that answered it.",
        ),
        sa.Column(
            "error", sa.Text(), nullable=True, comment="The hub's text where it refused, without credentials."
        ),
        sa.PrimaryKeyConstraint("account", "command_id", name=op.f("command_pkey")),
        schema="ingest",
        comment="Every command sent to the hub: why, when, and how it ended.",
    )
    op.create_index(
        op.f("command_account_asked_at_idx"),
        "command",
        ["account", "asked_at"],
        unique=False,
        schema="ingest",
    )
    op.create_table(
        "dead_letter",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("session_id", sa.UUID(), nullable=False, comment="Session in which the event arrived."),
        sa.Column(
            "ordinal",
            sa.BigInteger(),
            nullable=False,
            comment="Number of the record within the session, from 1.",
        ),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="Index of the event within its record, from 0."
        ),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), nullable=False, comment="Receipt of its record."
        ),
        sa.Column("stage", sa.Text(), nullable=False, comment="decode or store: where it failed."),
        sa.Column(
            "reason", sa.Text(), nullable=False, comment="Why it was quarantined, one word of a fixed set."
        ),
        sa.Column("detail", sa.Text(), nullable=False, comment="Where and what, for people."),
        sa.Column(
            "subject", sa.Text(), nullable=True, comment="Subject of the envelope, where it could be read."
        ),
        sa.Column(
            "software_version",
            sa.Text(),
            nullable=False,
            comment="Version of the software that quarantined it.",
        ),
        sa.PrimaryKeyConstraint(
            "account", "session_id", "ordinal", "position", "received_at", name=op.f("dead_letter_pkey")
        ),
        schema="ingest",
        comment="Events that could not be applied; their bytes are in raw_event.",
    )
    op.create_table(
        "doubt",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("session_id", sa.UUID(), nullable=False, comment="Session in which the event arrived."),
        sa.Column(
            "ordinal",
            sa.BigInteger(),
            nullable=False,
            comment="Number of the record within the session, from 1.",
        ),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="Index of the event within its record, from 0."
        ),
        sa.Column("doubt", sa.Text(), nullable=False, comment="reset_suspected, conflict or mass_delete."),
        sa.Column("kind", sa.Text(), nullable=False, comment="balances or pairs."),
        sa.Column("user_id", sa.Text(), nullable=False, comment="The hub's user; empty for pairs."),
        sa.Column("sequence", sa.BigInteger(), nullable=False, comment="Sequence of the event in doubt."),
        sa.Column(
            "raised_at", sa.DateTime(timezone=True), nullable=False, comment="Receipt of the event in doubt."
        ),
        sa.Column(
            "resolution",
            sa.Text(),
            nullable=True,
            comment="confirmed, refuted, superseded or abandoned; null while open.",
        ),
        sa.Column("resolved_at", sa.DateTime(timezone=True), nullable=True, comment="When it was resolved."),
        sa.Column(
            "resolved_by_session_id",
            sa.UUID(),
            nullable=True,
            comment="Session of the event that resolved it.",
        ),
        sa.Column(
            "resolved_by_ordinal",
            sa.BigInteger(),
            nullable=True,
            comment="Ordinal of the event that resolved it.",
        ),
        sa.PrimaryKeyConstraint(
            "account", "session_id", "ordinal", "position", "doubt", name=op.f("doubt_pkey")
        ),
        schema="ingest",
        comment="Decisions that needed another witness: suspected resets, conflicts, emptied lists.",
    )
    op.create_index(
        "doubt_open_idx",
        "doubt",
        ["account"],
        unique=False,
        schema="ingest",
        postgresql_where=sa.text("resolution IS NULL"),
    )
    op.create_table(
        "epoch",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="balances or pairs."),
        sa.Column("user_id", sa.Text(), nullable=False, comment="The hub's user; empty for pairs."),
        sa.Column("epoch", sa.Integer(), nullable=False, comment="Number of the epoch, from 1."),
        sa.Column(
            "opened_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Receipt of the event that opened it.",
        ),
        sa.Column("cause", sa.Text(), nullable=False, comment="first_seen or suspected_server_reset."),
        sa.Column("first_sequence", sa.BigInteger(), nullable=False, comment="First sequence of the epoch."),
        sa.Column(
            "previous_sequence",
            sa.BigInteger(),
            nullable=True,
            comment="Sequence at which the previous epoch stood.",
        ),
        sa.Column(
            "first_witness_session_id",
            sa.UUID(),
            nullable=False,
            comment="Session of the first event that showed the lower counter.",
        ),
        sa.Column("first_witness_ordinal", sa.BigInteger(), nullable=False, comment="Ordinal of that event."),
        sa.Column(
            "last_witness_session_id",
            sa.UUID(),
            nullable=False,
            comment="Session of the answer that confirmed it.",
        ),
        sa.Column("last_witness_ordinal", sa.BigInteger(), nullable=False, comment="Ordinal of that answer."),
        sa.Column(
            "witnesses", sa.Integer(), nullable=False, comment="How many events showed the lower counter."
        ),
        sa.PrimaryKeyConstraint("account", "kind", "user_id", "epoch", name=op.f("epoch_pkey")),
        schema="ingest",
        comment="Every beginning of a source's counter, with its witnesses.",
    )
    op.create_table(
        "exposure",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("user_id", sa.Text(), nullable=False, comment="The hub's user."),
        sa.Column("asset", sa.Text(), nullable=False, comment="Name of the asset, as received."),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="From when on the figures hold.",
        ),
        sa.Column("session_id", sa.UUID(), nullable=False, comment="Session in which the event arrived."),
        sa.Column(
            "ordinal",
            sa.BigInteger(),
            nullable=False,
            comment="Number of the record within the session, from 1.",
        ),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="Index of the event within its record, from 0."
        ),
        sa.Column("current_exposure", sa.Numeric(), nullable=True, comment="Exposure in the base currency."),
        sa.Column(
            "max_exposure", sa.Numeric(), nullable=True, comment="Limit of the exposure in the base currency."
        ),
        sa.CheckConstraint(
            "current_exposure NOT IN ('NaN', 'Infinity', '-Infinity')",
            name=op.f("exposure_current_exposure_finite_check"),
        ),
        sa.CheckConstraint(
            "max_exposure NOT IN ('NaN', 'Infinity', '-Infinity')",
            name=op.f("exposure_max_exposure_finite_check"),
        ),
        sa.PrimaryKeyConstraint(
            "account",
            "user_id",
            "asset",
            "observed_at",
            "session_id",
            "ordinal",
            "position",
            name=op.f("exposure_pkey"),
        ),
        schema="ingest",
        comment="Exposure by asset, a row for each change. It moves with prices, under no sequence.",
    )
    op.create_table(
        "exposure_total",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("user_id", sa.Text(), nullable=False, comment="The hub's user."),
        sa.Column(
            "observed_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="From when on the figures hold.",
        ),
        sa.Column("session_id", sa.UUID(), nullable=False, comment="Session in which the event arrived."),
        sa.Column(
            "ordinal",
            sa.BigInteger(),
            nullable=False,
            comment="Number of the record within the session, from 1.",
        ),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="Index of the event within its record, from 0."
        ),
        sa.Column("base_currency", sa.Text(), nullable=True, comment="Currency of the exposure figures."),
        sa.Column(
            "total_current_exposure", sa.Numeric(), nullable=True, comment="Exposure of the whole account."
        ),
        sa.Column(
            "total_max_exposure",
            sa.Numeric(),
            nullable=True,
            comment="Limit of the exposure of the whole account.",
        ),
        sa.CheckConstraint(
            "total_current_exposure NOT IN ('NaN', 'Infinity', '-Infinity')",
            name=op.f("exposure_total_total_current_exposure_finite_check"),
        ),
        sa.CheckConstraint(
            "total_max_exposure NOT IN ('NaN', 'Infinity', '-Infinity')",
            name=op.f("exposure_total_total_max_exposure_finite_check"),
        ),
        sa.PrimaryKeyConstraint(
            "account",
            "user_id",
            "observed_at",
            "session_id",
            "ordinal",
            "position",
            name=op.f("exposure_total_pkey"),
        ),
        schema="ingest",
        comment="Exposure of the whole account, a row for each change.",
    )
    op.create_table(
        "gap",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column(
            "session_id", sa.UUID(), nullable=False, comment="Session in which, or after which, it began."
        ),
        sa.Column(
            "ordinal",
            sa.BigInteger(),
            nullable=False,
            comment="First record that may be missing, or the one that revealed it; 0 before the session.",
        ),
        sa.Column(
            "position",
            sa.Integer(),
            nullable=False,
            comment="Index of the event that revealed it within its record.",
        ),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=False,
            comment="disconnected, unclean_end, sequence_skip, shed or undecodable.",
        ),
        sa.Column(
            "missed_from",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Start of the interval in which something may have been missed.",
        ),
        sa.Column(
            "missed_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="End of the interval; null while it lasts.",
        ),
        sa.Column("opened_at", sa.DateTime(timezone=True), nullable=False, comment="When it was noticed."),
        sa.Column("cause", sa.Text(), nullable=False, comment="What broke."),
        sa.Column(
            "obstacles",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="Causes of the attempts to come back that failed.",
        ),
        sa.Column(
            "stream", sa.Text(), nullable=True, comment="balances or pairs, where only one kind is touched."
        ),
        sa.Column("user_id", sa.Text(), nullable=True, comment="The hub's user, where only one is touched."),
        sa.Column(
            "first_missing",
            sa.BigInteger(),
            nullable=True,
            comment="First missing sequence (sequence_skip) or ordinal (shed).",
        ),
        sa.Column(
            "last_missing", sa.BigInteger(), nullable=True, comment="Last missing sequence or ordinal."
        ),
        sa.Column(
            "awaiting",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="Kinds of stream that still need a fresh answer, or, where it was lost, never got one.",
        ),
        sa.Column("ending", sa.Text(), nullable=True, comment="healed, explained or lost; null while open."),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True, comment="When it ended."),
        sa.Column(
            "proof_session_id",
            sa.UUID(),
            nullable=True,
            comment="Session of the event that proved the state again.",
        ),
        sa.Column("proof_ordinal", sa.BigInteger(), nullable=True, comment="Ordinal of that event."),
        sa.PrimaryKeyConstraint(
            "account", "session_id", "ordinal", "position", "kind", name=op.f("gap_pkey")
        ),
        schema="ingest",
        comment="Every interval in which we may have missed something, and how it ended.",
    )
    op.create_index(
        op.f("gap_account_missed_from_idx"), "gap", ["account", "missed_from"], unique=False, schema="ingest"
    )
    op.create_index(
        "gap_open_idx",
        "gap",
        ["account"],
        unique=False,
        schema="ingest",
        postgresql_where=sa.text("ending IS NULL"),
    )
    op.create_index(
        "gap_lost_idx",
        "gap",
        ["account", "ended_at"],
        unique=False,
        schema="ingest",
        postgresql_where=sa.text("ending = 'lost'"),
    )
    op.create_table(
        "heartbeat",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column(
            "process_id", sa.UUID(), nullable=False, comment="Identity of the process, new at each start."
        ),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Its process number on its host."),
        sa.Column("host", sa.Text(), nullable=False, comment="Name of its host."),
        sa.Column("software_version", sa.Text(), nullable=False, comment="Its version."),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="When it started."),
        sa.Column(
            "beat_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When its writer last turned: quiet and dead differ here.",
        ),
        sa.Column(
            "link_state", sa.Text(), nullable=False, comment="State of the link, a name of the state table."
        ),
        sa.Column(
            "link_obstacle",
            sa.Text(),
            nullable=True,
            comment="Cause of the last failed attempt, while there is no link.",
        ),
        sa.Column(
            "last_heard_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the last bytes of any kind came from the hub.",
        ),
        sa.Column("inbox_records", sa.BigInteger(), nullable=False, comment="Records waiting to be written."),
        sa.Column("inbox_bytes", sa.BigInteger(), nullable=False, comment="Bytes waiting to be written."),
        sa.Column(
            "balances_interval", sa.Interval(), nullable=False, comment="How often balances are asked for."
        ),
        sa.Column("pairs_interval", sa.Interval(), nullable=False, comment="How often pairs are asked for."),
        sa.Column(
            "stopped_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it stopped in good order; null while it runs or if it died.",
        ),
        sa.PrimaryKeyConstraint("account", name=op.f("heartbeat_pkey")),
        schema="ingest",
        comment="The process that ingests the account, as of its last turn.",
        postgresql_with={"fillfactor": "50"},
    )
    op.create_table(
        "outcome",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("session_id", sa.UUID(), nullable=False, comment="Session in which the event arrived."),
        sa.Column(
            "ordinal",
            sa.BigInteger(),
            nullable=False,
            comment="Number of the record within the session, from 1.",
        ),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="Index of the event within its record, from 0."
        ),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), nullable=False, comment="Receipt of its record."
        ),
        sa.Column(
            "outcome",
            sa.Text(),
            nullable=False,
            comment="applied, duplicate, stale, conflict, held, quarantined or ignored (what was shed has no row).",
        ),
        sa.Column("reason", sa.Text(), nullable=True, comment="Why it was quarantined or ignored."),
        sa.Column("subject", sa.Text(), nullable=True, comment="Subject of the envelope, as received."),
        sa.Column(
            "command_id",
            sa.Text(),
            nullable=True,
            comment="Correlation id in the envelope: the command that it answers, if any.",
        ),
        sa.Column(
            "kind",
            sa.Text(),
            nullable=True,
            comment="balances or pairs, where the event belongs to a stream.",
        ),
        sa.Column("user_id", sa.Text(), nullable=True, comment="The hub's user, where the event names one."),
        sa.Column(
            "epoch", sa.Integer(), nullable=True, comment="Epoch of the version that the event became."
        ),
        sa.Column(
            "sequence",
            sa.BigInteger(),
            nullable=True,
            comment="Sequence that the event carries, or was given.",
        ),
        sa.Column(
            "revision", sa.Integer(), nullable=True, comment="Revision of the version that the event became."
        ),
        sa.PrimaryKeyConstraint(
            "account", "session_id", "ordinal", "position", "received_at", name=op.f("outcome_pkey")
        ),
        schema="ingest",
        comment="What became of each event: exactly one row for each.",
    )
    op.create_table(
        "pair",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("name", sa.Text(), nullable=False, comment="Name of the pair, as received."),
        sa.Column(
            "valid_from", sa.DateTime(timezone=True), nullable=False, comment="From when on the limits hold."
        ),
        sa.Column(
            "epoch",
            sa.Integer(),
            nullable=False,
            comment="Counts how often the source's counter was seen to begin again, from 1.",
        ),
        sa.Column(
            "sequence",
            sa.BigInteger(),
            nullable=False,
            comment="The source's number; for pairs, our own count of versions.",
        ),
        sa.Column(
            "revision",
            sa.Integer(),
            nullable=False,
            comment="0, and one more for each different content received under the same sequence.",
        ),
        sa.Column("asset", sa.Text(), nullable=False, comment="Base asset."),
        sa.Column("currency", sa.Text(), nullable=False, comment="Quote currency."),
        sa.Column("min_size", sa.Numeric(), nullable=True, comment="Smallest size, in base units."),
        sa.Column("max_size", sa.Numeric(), nullable=True, comment="Largest size, in base units."),
        sa.Column("min_quote_size", sa.Numeric(), nullable=True, comment="Smallest size, in quote units."),
        sa.Column("max_quote_size", sa.Numeric(), nullable=True, comment="Largest size, in quote units."),
        sa.Column(
            "listed",
            sa.Boolean(),
            nullable=False,
            comment="False: from here on the pair is missing from the list.",
        ),
        sa.CheckConstraint(
            "max_quote_size NOT IN ('NaN', 'Infinity', '-Infinity')",
            name=op.f("pair_max_quote_size_finite_check"),
        ),
        sa.CheckConstraint(
            "max_size NOT IN ('NaN', 'Infinity', '-Infinity')", name=op.f("pair_max_size_finite_check")
        ),
        sa.CheckConstraint(
            "min_quote_size NOT IN ('NaN', 'Infinity', '-Infinity')",
            name=op.f("pair_min_quote_size_finite_check"),
        ),
        sa.CheckConstraint(
            "min_size NOT IN ('NaN', 'Infinity', '-Infinity')", name=op.f("pair_min_size_finite_check")
        ),
        sa.PrimaryKeyConstraint(
            "account", "name", "valid_from", "epoch", "sequence", "revision", name=op.f("pair_pkey")
        ),
        schema="ingest",
        comment="Tradable pairs and their limits, a row for each change.",
    )
    op.create_table(
        "raw_event",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("session_id", sa.UUID(), nullable=False, comment="Session in which the record arrived."),
        sa.Column(
            "ordinal",
            sa.BigInteger(),
            nullable=False,
            comment="Number of the record within the session, from 1.",
        ),
        sa.Column(
            "received_at", sa.DateTime(timezone=True), nullable=False, comment="When its frame was complete."
        ),
        sa.Column("size", sa.Integer(), nullable=False, comment="Bytes on the wire."),
        sa.Column(
            "sha256",
            sa.LargeBinary(),
            nullable=True,
            comment="Digest of all bytes where raw holds only their head, because the record was too large.",
        ),
        sa.Column("raw", sa.LargeBinary(), nullable=False, comment="The record's bytes exactly as received."),
        sa.PrimaryKeyConstraint(
            "account", "session_id", "ordinal", "received_at", name=op.f("raw_event_pkey")
        ),
        schema="ingest",
        comment="Every record the hub sent on a channel, as received: the evidence for all the rest.",
    )
    op.create_table(
        "session",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column(
            "session_id",
            sa.UUID(),
            nullable=False,
            comment="Identity of the session; sorts by time of opening.",
        ),
        sa.Column(
            "opened_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the hub answered the handshake.",
        ),
        sa.Column(
            "url", sa.Text(), nullable=False, comment="Address of the hub, without query or credentials."
        ),
        sa.Column(
            "attempts",
            sa.Integer(),
            nullable=False,
            comment="Connection attempts it took, this one included.",
        ),
        sa.Column(
            "obstacles",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="Causes of the attempts that failed before.",
        ),
        sa.Column(
            "software_version", sa.Text(), nullable=False, comment="Version of the software that opened it."
        ),
        sa.Column(
            "closed_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it ended; null while it is open.",
        ),
        sa.Column(
            "last_heard_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the last bytes of any kind arrived; set at the end.",
        ),
        sa.Column("received", sa.BigInteger(), nullable=True, comment="Records received; set at the end."),
        sa.Column(
            "ending", sa.Text(), nullable=True, comment="clean, link_lost or unclean; null while it is open."
        ),
        sa.Column(
            "cause", sa.Text(), nullable=True, comment="What ended it, e.g. silent, reset, closed_by_hub."
        ),
        sa.Column("detail", sa.Text(), nullable=True, comment="More about the cause, for people."),
        sa.Column(
            "committed_ordinal",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Ordinal of the last record that is durable here or was shed.",
        ),
        sa.Column(
            "committed_records",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Records that are durable here.",
        ),
        sa.Column(
            "shed_records",
            sa.BigInteger(),
            server_default=sa.text("0"),
            nullable=False,
            comment="Records dropped at a limit; each run of them has a gap row.",
        ),
        sa.Column(
            "last_received_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="Receipt of the record at committed_ordinal.",
        ),
        sa.PrimaryKeyConstraint("account", "session_id", name=op.f("session_pkey")),
        schema="ingest",
        comment="One successful connection to the hub, and how it ended.",
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(
        op.f("session_account_opened_at_idx"),
        "session",
        ["account", "opened_at"],
        unique=False,
        schema="ingest",
    )
    op.create_table(
        "version",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="balances or pairs."),
        sa.Column("user_id", sa.Text(), nullable=False, comment="The hub's user; empty for pairs."),
        sa.Column(
            "valid_from",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When it was first seen; never before the version that it follows.",
        ),
        sa.Column(
            "epoch",
            sa.Integer(),
            nullable=False,
            comment="Counts how often the source's counter was seen to begin again, from 1.",
        ),
        sa.Column(
            "sequence",
            sa.BigInteger(),
            nullable=False,
            comment="The source's number; for pairs, our own count of versions.",
        ),
        sa.Column(
            "revision",
            sa.Integer(),
            nullable=False,
            comment="0, and one more for each different content received under the same sequence.",
        ),
        sa.Column("session_id", sa.UUID(), nullable=False, comment="Session in which the event arrived."),
        sa.Column(
            "ordinal",
            sa.BigInteger(),
            nullable=False,
            comment="Number of the record within the session, from 1.",
        ),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="Index of the event within its record, from 0."
        ),
        sa.Column(
            "received_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="Receipt of its record, by the wall clock of that moment.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            nullable=False,
            comment="The hub flagged the whole balance record as deleted.",
        ),
        sa.Column(
            "previous_confirmed_until",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When the version before it was last confirmed: the start of what is not known in between.",
        ),
        sa.PrimaryKeyConstraint(
            "account",
            "kind",
            "user_id",
            "valid_from",
            "epoch",
            "sequence",
            "revision",
            name=op.f("version_pkey"),
        ),
        schema="ingest",
        comment="Every snapshot that became state, in order.",
    )
    op.create_table(
        "watermark",
        sa.Column(
            "account", sa.Text(), nullable=False, comment="Name of the account, from the configuration."
        ),
        sa.Column("kind", sa.Text(), nullable=False, comment="balances or pairs."),
        sa.Column("user_id", sa.Text(), nullable=False, comment="The hub's user; empty for pairs."),
        sa.Column(
            "epoch",
            sa.Integer(),
            nullable=False,
            comment="Counts how often the source's counter was seen to begin again, from 1.",
        ),
        sa.Column(
            "sequence",
            sa.BigInteger(),
            nullable=False,
            comment="The source's number; for pairs, our own count of versions.",
        ),
        sa.Column(
            "revision",
            sa.Integer(),
            nullable=False,
            comment="0, and one more for each different content received under the same sequence.",
        ),
        sa.Column(
            "content", sa.LargeBinary(), nullable=False, comment="Digest of what the sequence governs."
        ),
        sa.Column("session_id", sa.UUID(), nullable=False, comment="Session in which the event arrived."),
        sa.Column(
            "ordinal",
            sa.BigInteger(),
            nullable=False,
            comment="Number of the record within the session, from 1.",
        ),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="Index of the event within its record, from 0."
        ),
        sa.Column(
            "valid_from", sa.DateTime(timezone=True), nullable=False, comment="Since when this version holds."
        ),
        sa.Column(
            "confirmed_until",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="When the hub last said the same: until then nothing had changed.",
        ),
        sa.Column(
            "deleted",
            sa.Boolean(),
            nullable=False,
            comment="The hub flagged the whole balance record as deleted.",
        ),
        sa.ForeignKeyConstraint(
            ["account", "kind", "user_id", "epoch"],
            ["ingest.epoch.account", "ingest.epoch.kind", "ingest.epoch.user_id", "ingest.epoch.epoch"],
            name=op.f("watermark_epoch_fkey"),
        ),
        sa.PrimaryKeyConstraint("account", "kind", "user_id", name=op.f("watermark_pkey")),
        schema="ingest",
        comment="Where each stream stands; moves only forward, in the transaction that writes the version.",
        postgresql_with={"fillfactor": "50"},
    )
    # Lets a statement in a pipeline refuse the whole transaction without a round trip to ask first.
    op.execute("""
        CREATE FUNCTION ingest.require(held boolean, what text) RETURNS void
        LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
        BEGIN
            IF held IS NOT TRUE THEN
                RAISE EXCEPTION '%', what USING ERRCODE = 'HI001';
            END IF;
        END
        $$
    """)
    op.execute(
        "COMMENT ON FUNCTION ingest.require(boolean, text) IS "
        "'Raises HI001 unless the condition holds: how a batch refuses to continue from where it does not.'"
    )
    op.execute("COMMENT ON SCHEMA ingest IS 'Private to the ingestor. Reports read schema report.'")
    op.execute("REVOKE ALL ON FUNCTION ingest.require(boolean, text) FROM PUBLIC")


def downgrade() -> None:
    op.execute("DROP FUNCTION ingest.require(boolean, text)")
    op.drop_table("watermark", schema="ingest")
    op.drop_table("version", schema="ingest")
    op.drop_index(op.f("session_account_opened_at_idx"), table_name="session", schema="ingest")
    op.drop_table("session", schema="ingest")
    op.drop_table("raw_event", schema="ingest")
    op.drop_table("pair", schema="ingest")
    op.drop_table("outcome", schema="ingest")
    op.drop_table("heartbeat", schema="ingest")
    op.drop_index(
        "gap_lost_idx", table_name="gap", schema="ingest", postgresql_where=sa.text("ending = 'lost'")
    )
    op.drop_index(
        "gap_open_idx", table_name="gap", schema="ingest", postgresql_where=sa.text("ending IS NULL")
    )
    op.drop_index(op.f("gap_account_missed_from_idx"), table_name="gap", schema="ingest")
    op.drop_table("gap", schema="ingest")
    op.drop_table("exposure_total", schema="ingest")
    op.drop_table("exposure", schema="ingest")
    op.drop_table("epoch", schema="ingest")
    op.drop_index(
        "doubt_open_idx", table_name="doubt", schema="ingest", postgresql_where=sa.text("resolution IS NULL")
    )
    op.drop_table("doubt", schema="ingest")
    op.drop_table("dead_letter", schema="ingest")
    op.drop_index(op.f("command_account_asked_at_idx"), table_name="command", schema="ingest")
    op.drop_table("command", schema="ingest")
    op.drop_table("balance", schema="ingest")
    op.drop_table("account", schema="ingest")
