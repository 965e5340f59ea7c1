-- The private schema: records, their outcomes, the state, and gaps.
-- Amounts are numeric without scale, and finite (NaN >= 0 is true in Postgres, so a sign check would not do).
-- Small tables that each batch updates have free space for heap-only updates.


-- Lets a statement abort its transaction, so that nothing needs to be read first.
CREATE FUNCTION ingest.require(condition boolean, what text) RETURNS void
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog AS $$
BEGIN
    IF condition IS NOT TRUE THEN
        RAISE EXCEPTION USING MESSAGE = what, ERRCODE = 'HI001';
    END IF;
END
$$;
COMMENT ON FUNCTION ingest.require(boolean, text) IS
    'Raises HI001 unless the condition holds: how a batch is rejected where it does not continue what is stored.';
REVOKE ALL ON FUNCTION ingest.require(boolean, text) FROM PUBLIC;

CREATE TABLE ingest.account (
    account text NOT NULL,
    environment text NOT NULL,
    created_at timestamptz NOT NULL,
    history_from timestamptz,
    PRIMARY KEY (account)
);
COMMENT ON TABLE ingest.account IS 'The accounts that are ingested into this database, one process each.';
COMMENT ON COLUMN ingest.account.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.account.environment IS 'sandbox, production or custom: one account never mixes two of them.';
COMMENT ON COLUMN ingest.account.created_at IS 'When the account was first ingested.';
COMMENT ON COLUMN ingest.account.history_from IS 'Versions, balances, pairs and exposures of before this moment may have been removed; null: none have.';

CREATE TABLE ingest.session (
    account text NOT NULL,
    session_id uuid NOT NULL,
    opened_at timestamptz NOT NULL,
    url text NOT NULL,
    attempts integer NOT NULL,
    connection_errors text[] NOT NULL,
    software_version text NOT NULL,
    clock_offset_seconds double precision,
    closed_at timestamptz,
    last_message_at timestamptz,
    received bigint,
    ending text,
    cause text,
    detail text,
    committed_ordinal bigint NOT NULL,
    committed_records bigint NOT NULL,
    dropped_records bigint NOT NULL,
    last_received_at timestamptz,
    PRIMARY KEY (account, session_id, opened_at)
) WITH (fillfactor = 50);
CREATE INDEX session_account_opened_at_idx ON ingest.session (account, opened_at);
COMMENT ON TABLE ingest.session IS 'One successful connection to the hub, and how it ended.';
COMMENT ON COLUMN ingest.session.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.session.session_id IS 'Identity of the session; sorts by time of opening.';
COMMENT ON COLUMN ingest.session.opened_at IS 'When the hub answered the handshake.';
COMMENT ON COLUMN ingest.session.url IS 'Address of the hub, without query or credentials.';
COMMENT ON COLUMN ingest.session.attempts IS 'Connection attempts until it was opened, the successful one included.';
COMMENT ON COLUMN ingest.session.connection_errors IS 'Causes of the attempts that failed before.';
COMMENT ON COLUMN ingest.session.software_version IS 'Version of the software that opened it.';
COMMENT ON COLUMN ingest.session.clock_offset_seconds IS 'Wall clock of the ingestor''s host minus the database''s clock, when the session was opened.';
COMMENT ON COLUMN ingest.session.closed_at IS 'When it ended; null while it is open.';
COMMENT ON COLUMN ingest.session.last_message_at IS 'Receipt of the last whole message of the hub, pings included; set at the end.';
COMMENT ON COLUMN ingest.session.received IS 'Records received; set at the end.';
COMMENT ON COLUMN ingest.session.ending IS 'clean, link_lost or unclean; null while it is open.';
COMMENT ON COLUMN ingest.session.cause IS 'What ended it, e.g. silent, reset, closed_by_hub.';
COMMENT ON COLUMN ingest.session.detail IS 'Details of the cause, as text.';
COMMENT ON COLUMN ingest.session.committed_ordinal IS 'Ordinal of the last record that is stored here or was dropped.';
COMMENT ON COLUMN ingest.session.committed_records IS 'Records that are stored here.';
COMMENT ON COLUMN ingest.session.dropped_records IS 'Records dropped at a limit; each uninterrupted series of them has a gap row.';
COMMENT ON COLUMN ingest.session.last_received_at IS 'Receipt of the last record that is stored here.';

CREATE TABLE ingest.raw_event (
    account text NOT NULL,
    session_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    received_at timestamptz NOT NULL,
    size integer NOT NULL,
    sha256 bytea,
    raw bytea NOT NULL,
    base_ordinal bigint,
    head integer,
    request_id uuid,
    PRIMARY KEY (account, session_id, ordinal, received_at)
);
-- The records that refer to a record: few bytes each, because their keys are the same. Without it, tables that have not been
-- analysed yet would be joined by looking through a whole session for each record.
CREATE INDEX raw_event_base_idx ON ingest.raw_event (account, session_id, base_ordinal) WHERE base_ordinal IS NOT NULL;
COMMENT ON TABLE ingest.raw_event IS 'Every record that the hub sent on a channel: all other tables are derived from these. Of a duplicate that repeats a stored record only the difference is stored, without a row in outcome; ingest.record and ingest.event_outcome show it in full.';
COMMENT ON COLUMN ingest.raw_event.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.raw_event.session_id IS 'Session in which the record arrived.';
COMMENT ON COLUMN ingest.raw_event.ordinal IS 'Number of the record within the session, from 1.';
COMMENT ON COLUMN ingest.raw_event.received_at IS 'When its frame was complete.';
COMMENT ON COLUMN ingest.raw_event.size IS 'Bytes on the wire.';
COMMENT ON COLUMN ingest.raw_event.sha256 IS 'Digest of all bytes where raw holds only their head, because the record was too large.';
COMMENT ON COLUMN ingest.raw_event.raw IS 'The record''s bytes exactly as received; with base_ordinal, only those between the common beginning and end.';
COMMENT ON COLUMN ingest.raw_event.base_ordinal IS 'The record is a duplicate of the record with this ordinal, of the same session and day (UTC), which is stored whole.';
COMMENT ON COLUMN ingest.raw_event.head IS 'Number of bytes at the beginning that are those of the base record; the rest of size is the end of the base record.';
COMMENT ON COLUMN ingest.raw_event.request_id IS 'With base_ordinal: the request that it answers, whose id follows the head as text.';

CREATE VIEW ingest.record AS
SELECT
    r.account,
    r.session_id,
    r.ordinal,
    r.received_at,
    r.size,
    r.sha256,
    CASE WHEN r.base_ordinal IS NULL THEN r.raw ELSE
        begin.raw || substring(base.raw FROM length(base.raw) - (r.size - length(begin.raw)) + 1)
    END AS raw
FROM ingest.raw_event AS r
LEFT JOIN ingest.raw_event AS base
    ON base.account = r.account AND base.session_id = r.session_id AND base.ordinal = r.base_ordinal
CROSS JOIN LATERAL (
    SELECT substring(base.raw FOR r.head) || convert_to(coalesce(r.request_id::text, ''), 'UTF8') || r.raw AS raw
) AS begin;
COMMENT ON VIEW ingest.record IS 'Every record with its bytes exactly as received, whichever way they are stored.';
COMMENT ON COLUMN ingest.record.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.record.session_id IS 'Session in which the record arrived.';
COMMENT ON COLUMN ingest.record.ordinal IS 'Number of the record within the session, from 1.';
COMMENT ON COLUMN ingest.record.received_at IS 'When its frame was complete.';
COMMENT ON COLUMN ingest.record.size IS 'Bytes on the wire.';
COMMENT ON COLUMN ingest.record.sha256 IS 'Digest of all bytes where raw holds only their head, because the record was too large.';
COMMENT ON COLUMN ingest.record.raw IS 'The record''s bytes exactly as received.';

CREATE TABLE ingest.outcome (
    account text NOT NULL,
    session_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    position integer NOT NULL,
    received_at timestamptz NOT NULL,
    outcome text NOT NULL,
    reason text,
    subject text,
    request_id text,
    kind text,
    user_id text,
    epoch integer,
    sequence bigint,
    revision integer,
    valid_from timestamptz,
    deleted boolean,
    origin text,
    passed_over bigint,
    previous_confirmed_until timestamptz,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, session_id, ordinal, position, received_at),
    CONSTRAINT outcome_version_check CHECK (
        valid_from IS NULL
        OR kind IS NOT NULL AND user_id IS NOT NULL AND epoch IS NOT NULL AND sequence IS NOT NULL
            AND revision IS NOT NULL AND deleted IS NOT NULL AND origin IS NOT NULL AND passed_over IS NOT NULL
    )
);
-- Events other than snapshots of balances and pairs are rare, and queried by subject.
CREATE INDEX outcome_subject_idx ON ingest.outcome (account, subject, received_at) WHERE kind IS NULL;
-- The versions in order: see ingest.version. Of all rows, not only those that are versions: otherwise the planner would
-- not know that a join by number finds at most one, and could not remove an unused join.
CREATE UNIQUE INDEX outcome_version_idx ON ingest.outcome (account, kind, user_id, valid_from, epoch, sequence, revision);
-- Versions before which the time of the change is unknown: an entry for each answer that became a version, none for
-- the pushes of a hub that pushes every number.
CREATE INDEX outcome_undated_idx ON ingest.outcome (account, kind, user_id, valid_from)
    INCLUDE (previous_confirmed_until, recorded_at)
    WHERE valid_from IS NOT NULL AND (kind = 'pairs' OR origin <> 'pushed' OR passed_over <> 0 OR revision <> 0);
COMMENT ON TABLE ingest.outcome IS 'The outcome of each event, and the version of its stream that it became, if any: one row for each, except for a duplicate whose record refers to another; see ingest.event_outcome and ingest.version.';
COMMENT ON COLUMN ingest.outcome.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.outcome.session_id IS 'Session in which the event arrived.';
COMMENT ON COLUMN ingest.outcome.ordinal IS 'Number of the record within the session, from 1.';
COMMENT ON COLUMN ingest.outcome.position IS 'Index of the event within its record, from 0.';
COMMENT ON COLUMN ingest.outcome.received_at IS 'Receipt of its record.';
COMMENT ON COLUMN ingest.outcome.outcome IS 'applied, duplicate, stale, conflict, pending, quarantined or ignored (what was dropped has no row).';
COMMENT ON COLUMN ingest.outcome.reason IS 'Why it was quarantined or ignored.';
COMMENT ON COLUMN ingest.outcome.subject IS 'Subject of the envelope, as received.';
COMMENT ON COLUMN ingest.outcome.request_id IS 'Correlation id in the envelope: the request that it answers, if any.';
COMMENT ON COLUMN ingest.outcome.kind IS 'balances or pairs, where the event belongs to a stream.';
COMMENT ON COLUMN ingest.outcome.user_id IS 'The hub''s user, where the event names one.';
COMMENT ON COLUMN ingest.outcome.epoch IS 'Epoch of the version that the event became.';
COMMENT ON COLUMN ingest.outcome.sequence IS 'Sequence in the event; for pairs, our own count.';
COMMENT ON COLUMN ingest.outcome.revision IS 'Revision of the version that the event became.';
COMMENT ON COLUMN ingest.outcome.valid_from IS 'When the version that the event became was first seen; never before the version that it follows. Null where it became none.';
COMMENT ON COLUMN ingest.outcome.deleted IS 'Of a version: the hub flagged the whole balance record as deleted.';
COMMENT ON COLUMN ingest.outcome.origin IS 'Of a version: pushed, the hub sent it by itself; answered, it answers one of our requests.';
COMMENT ON COLUMN ingest.outcome.passed_over IS 'Of a version: how many sequence numbers lie between the version before and this one.';
COMMENT ON COLUMN ingest.outcome.previous_confirmed_until IS 'Of a version: when the version before it was last confirmed, from then until valid_from the state is unknown.';
COMMENT ON COLUMN ingest.outcome.recorded_at IS 'When it was stored here: the start of the transaction.';

CREATE VIEW ingest.event_outcome AS
SELECT
    account, session_id, ordinal, position, received_at, outcome, reason, subject, request_id, kind, user_id, epoch,
    sequence, revision
FROM ingest.outcome
UNION ALL
SELECT
    r.account, r.session_id, r.ordinal, base.position, r.received_at, 'duplicate', NULL, base.subject, r.request_id::text,
    base.kind, base.user_id, NULL, CASE WHEN base.kind = 'balances' THEN base.sequence END, NULL
FROM ingest.raw_event AS r
JOIN ingest.outcome AS base
    ON base.account = r.account AND base.session_id = r.session_id AND base.ordinal = r.base_ordinal;
COMMENT ON VIEW ingest.event_outcome IS 'The outcome of each event: exactly one row for each.';
COMMENT ON COLUMN ingest.event_outcome.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.event_outcome.session_id IS 'Session in which the event arrived.';
COMMENT ON COLUMN ingest.event_outcome.ordinal IS 'Number of the record within the session, from 1.';
COMMENT ON COLUMN ingest.event_outcome.position IS 'Index of the event within its record, from 0.';
COMMENT ON COLUMN ingest.event_outcome.received_at IS 'Receipt of its record.';
COMMENT ON COLUMN ingest.event_outcome.outcome IS 'applied, duplicate, stale, conflict, pending, quarantined or ignored (what was dropped has no row).';
COMMENT ON COLUMN ingest.event_outcome.reason IS 'Why it was quarantined or ignored.';
COMMENT ON COLUMN ingest.event_outcome.subject IS 'Subject of the envelope, as received.';
COMMENT ON COLUMN ingest.event_outcome.request_id IS 'Correlation id in the envelope: the request that it answers, if any.';
COMMENT ON COLUMN ingest.event_outcome.kind IS 'balances or pairs, where the event belongs to a stream.';
COMMENT ON COLUMN ingest.event_outcome.user_id IS 'The hub''s user, where the event names one.';
COMMENT ON COLUMN ingest.event_outcome.epoch IS 'Epoch of the version that the event became.';
COMMENT ON COLUMN ingest.event_outcome.sequence IS 'Sequence in the event; for pairs, our own count.';
COMMENT ON COLUMN ingest.event_outcome.revision IS 'Revision of the version that the event became.';

CREATE VIEW ingest.version AS
SELECT
    account, kind, user_id, valid_from, epoch, sequence, revision, session_id, ordinal, position, received_at, deleted,
    origin, passed_over, previous_confirmed_until, recorded_at
FROM ingest.outcome
WHERE valid_from IS NOT NULL;
COMMENT ON VIEW ingest.version IS 'Every snapshot that became state, in order.';
COMMENT ON COLUMN ingest.version.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.version.kind IS 'balances or pairs.';
COMMENT ON COLUMN ingest.version.user_id IS 'The hub''s user; empty for pairs.';
COMMENT ON COLUMN ingest.version.valid_from IS 'When it was first seen; never before the version that it follows.';
COMMENT ON COLUMN ingest.version.epoch IS 'Number of the epoch, from 1; each restart of the hub''s counter begins a new one.';
COMMENT ON COLUMN ingest.version.sequence IS 'The hub''s number of the snapshot; for pairs, our own count of versions.';
COMMENT ON COLUMN ingest.version.revision IS '0, and one more for each different content received under the same sequence.';
COMMENT ON COLUMN ingest.version.session_id IS 'Session in which the event arrived.';
COMMENT ON COLUMN ingest.version.ordinal IS 'Number of the record within the session, from 1.';
COMMENT ON COLUMN ingest.version.position IS 'Index of the event within its record, from 0.';
COMMENT ON COLUMN ingest.version.received_at IS 'Receipt of its record.';
COMMENT ON COLUMN ingest.version.deleted IS 'The hub flagged the whole balance record as deleted.';
COMMENT ON COLUMN ingest.version.origin IS 'pushed: the hub sent it by itself. answered: it answers one of our requests.';
COMMENT ON COLUMN ingest.version.passed_over IS 'How many sequence numbers lie between the version before and this one.';
COMMENT ON COLUMN ingest.version.previous_confirmed_until IS 'When the version before it was last confirmed: from then until valid_from the state is unknown.';
COMMENT ON COLUMN ingest.version.recorded_at IS 'When it was stored here: the start of the transaction.';

CREATE TABLE ingest.balance (
    account text NOT NULL,
    user_id text NOT NULL,
    asset text NOT NULL,
    valid_from timestamptz NOT NULL,
    epoch integer NOT NULL,
    sequence bigint NOT NULL,
    revision integer NOT NULL,
    available numeric NOT NULL,
    allocated numeric NOT NULL,
    reported boolean NOT NULL,
    PRIMARY KEY (account, user_id, asset, valid_from, epoch, sequence, revision),
    CONSTRAINT balance_available_finite_check CHECK (available NOT IN ('NaN', 'Infinity', '-Infinity')),
    CONSTRAINT balance_allocated_finite_check CHECK (allocated NOT IN ('NaN', 'Infinity', '-Infinity'))
);
COMMENT ON TABLE ingest.balance IS 'Amounts by asset, a row for each change: a row is valid until the next one of its asset.';
COMMENT ON COLUMN ingest.balance.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.balance.user_id IS 'The hub''s user.';
COMMENT ON COLUMN ingest.balance.asset IS 'Name of the asset, as received.';
COMMENT ON COLUMN ingest.balance.valid_from IS 'From when on the amounts are valid.';
COMMENT ON COLUMN ingest.balance.epoch IS 'Number of the epoch, from 1; each restart of the hub''s counter begins a new one.';
COMMENT ON COLUMN ingest.balance.sequence IS 'The hub''s number of the snapshot; for pairs, our own count of versions.';
COMMENT ON COLUMN ingest.balance.revision IS '0, and one more for each different content received under the same sequence.';
COMMENT ON COLUMN ingest.balance.available IS 'Free amount.';
COMMENT ON COLUMN ingest.balance.allocated IS 'Amount tied to open orders or pending actions.';
COMMENT ON COLUMN ingest.balance.reported IS 'False: an earlier snapshot named the asset and this one does not, so it counts as 0.';

CREATE TABLE ingest.exposure (
    account text NOT NULL,
    user_id text NOT NULL,
    asset text NOT NULL,
    observed_at timestamptz NOT NULL,
    session_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    position integer NOT NULL,
    current_exposure numeric,
    max_exposure numeric,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, user_id, asset, observed_at, session_id, ordinal, position),
    CONSTRAINT exposure_current_exposure_finite_check CHECK (current_exposure NOT IN ('NaN', 'Infinity', '-Infinity')),
    CONSTRAINT exposure_max_exposure_finite_check CHECK (max_exposure NOT IN ('NaN', 'Infinity', '-Infinity'))
);
COMMENT ON TABLE ingest.exposure IS 'Exposure by asset, a row for each change. It changes with prices and has no sequence.';
COMMENT ON COLUMN ingest.exposure.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.exposure.user_id IS 'The hub''s user.';
COMMENT ON COLUMN ingest.exposure.asset IS 'Name of the asset, as received.';
COMMENT ON COLUMN ingest.exposure.observed_at IS 'From when on the figures are valid.';
COMMENT ON COLUMN ingest.exposure.session_id IS 'Session in which the event arrived.';
COMMENT ON COLUMN ingest.exposure.ordinal IS 'Number of the record within the session, from 1.';
COMMENT ON COLUMN ingest.exposure.position IS 'Index of the event within its record, from 0.';
COMMENT ON COLUMN ingest.exposure.current_exposure IS 'Exposure in the base currency.';
COMMENT ON COLUMN ingest.exposure.max_exposure IS 'Limit of the exposure in the base currency.';
COMMENT ON COLUMN ingest.exposure.recorded_at IS 'When it was stored here: the start of the transaction.';

CREATE TABLE ingest.exposure_total (
    account text NOT NULL,
    user_id text NOT NULL,
    observed_at timestamptz NOT NULL,
    session_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    position integer NOT NULL,
    base_currency text,
    total_current_exposure numeric,
    total_max_exposure numeric,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, user_id, observed_at, session_id, ordinal, position),
    CONSTRAINT exposure_total_total_current_exposure_finite_check CHECK (total_current_exposure NOT IN ('NaN', 'Infinity', '-Infinity')),
    CONSTRAINT exposure_total_total_max_exposure_finite_check CHECK (total_max_exposure NOT IN ('NaN', 'Infinity', '-Infinity'))
);
COMMENT ON TABLE ingest.exposure_total IS 'Exposure of the whole account, a row for each change.';
COMMENT ON COLUMN ingest.exposure_total.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.exposure_total.user_id IS 'The hub''s user.';
COMMENT ON COLUMN ingest.exposure_total.observed_at IS 'From when on the figures are valid.';
COMMENT ON COLUMN ingest.exposure_total.session_id IS 'Session in which the event arrived.';
COMMENT ON COLUMN ingest.exposure_total.ordinal IS 'Number of the record within the session, from 1.';
COMMENT ON COLUMN ingest.exposure_total.position IS 'Index of the event within its record, from 0.';
COMMENT ON COLUMN ingest.exposure_total.base_currency IS 'Currency of the exposure figures.';
COMMENT ON COLUMN ingest.exposure_total.total_current_exposure IS 'Exposure of the whole account.';
COMMENT ON COLUMN ingest.exposure_total.total_max_exposure IS 'Limit of the exposure of the whole account.';
COMMENT ON COLUMN ingest.exposure_total.recorded_at IS 'When it was stored here: the start of the transaction.';

CREATE TABLE ingest.pair (
    account text NOT NULL,
    name text NOT NULL,
    valid_from timestamptz NOT NULL,
    epoch integer NOT NULL,
    sequence bigint NOT NULL,
    revision integer NOT NULL,
    asset text NOT NULL,
    currency text NOT NULL,
    min_size numeric,
    max_size numeric,
    min_quote_size numeric,
    max_quote_size numeric,
    listed boolean NOT NULL,
    PRIMARY KEY (account, name, valid_from, epoch, sequence, revision),
    CONSTRAINT pair_min_size_finite_check CHECK (min_size NOT IN ('NaN', 'Infinity', '-Infinity')),
    CONSTRAINT pair_max_size_finite_check CHECK (max_size NOT IN ('NaN', 'Infinity', '-Infinity')),
    CONSTRAINT pair_min_quote_size_finite_check CHECK (min_quote_size NOT IN ('NaN', 'Infinity', '-Infinity')),
    CONSTRAINT pair_max_quote_size_finite_check CHECK (max_quote_size NOT IN ('NaN', 'Infinity', '-Infinity'))
);
COMMENT ON TABLE ingest.pair IS 'Tradable pairs and their limits, a row for each change.';
COMMENT ON COLUMN ingest.pair.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.pair.name IS 'Name of the pair, as received.';
COMMENT ON COLUMN ingest.pair.valid_from IS 'From when on the limits are valid.';
COMMENT ON COLUMN ingest.pair.epoch IS 'Number of the epoch, from 1; each restart of the hub''s counter begins a new one.';
COMMENT ON COLUMN ingest.pair.sequence IS 'The hub''s number of the snapshot; for pairs, our own count of versions.';
COMMENT ON COLUMN ingest.pair.revision IS '0, and one more for each different content received under the same sequence.';
COMMENT ON COLUMN ingest.pair.asset IS 'Base asset.';
COMMENT ON COLUMN ingest.pair.currency IS 'Quote currency.';
COMMENT ON COLUMN ingest.pair.min_size IS 'Smallest size, in base units.';
COMMENT ON COLUMN ingest.pair.max_size IS 'Largest size, in base units.';
COMMENT ON COLUMN ingest.pair.min_quote_size IS 'Smallest size, in quote units.';
COMMENT ON COLUMN ingest.pair.max_quote_size IS 'Largest size, in quote units.';
COMMENT ON COLUMN ingest.pair.listed IS 'False: from here on the pair is missing from the list.';

CREATE TABLE ingest.epoch (
    account text NOT NULL,
    kind text NOT NULL,
    user_id text NOT NULL,
    epoch integer NOT NULL,
    opened_at timestamptz NOT NULL,
    cause text NOT NULL,
    first_sequence bigint NOT NULL,
    previous_sequence bigint,
    evidence integer NOT NULL,
    first_evidence_session_id uuid NOT NULL,
    first_evidence_ordinal bigint NOT NULL,
    last_evidence_session_id uuid NOT NULL,
    last_evidence_ordinal bigint NOT NULL,
    stale_snapshots bigint NOT NULL,
    first_stale_at timestamptz,
    PRIMARY KEY (account, kind, user_id, epoch)
);
COMMENT ON TABLE ingest.epoch IS 'Every beginning of the hub''s counter, with its evidence.';
COMMENT ON COLUMN ingest.epoch.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.epoch.kind IS 'balances or pairs.';
COMMENT ON COLUMN ingest.epoch.user_id IS 'The hub''s user; empty for pairs.';
COMMENT ON COLUMN ingest.epoch.epoch IS 'Number of the epoch, from 1.';
COMMENT ON COLUMN ingest.epoch.opened_at IS 'Receipt of the event that opened it.';
COMMENT ON COLUMN ingest.epoch.cause IS 'first_seen or suspected_server_reset.';
COMMENT ON COLUMN ingest.epoch.first_sequence IS 'First sequence of the epoch.';
COMMENT ON COLUMN ingest.epoch.previous_sequence IS 'Last sequence of the previous epoch.';
COMMENT ON COLUMN ingest.epoch.evidence IS 'How many answers showed the lower counter.';
COMMENT ON COLUMN ingest.epoch.first_evidence_session_id IS 'Session of the first event that showed the lower counter.';
COMMENT ON COLUMN ingest.epoch.first_evidence_ordinal IS 'Ordinal of that event.';
COMMENT ON COLUMN ingest.epoch.last_evidence_session_id IS 'Session of the answer that confirmed it.';
COMMENT ON COLUMN ingest.epoch.last_evidence_ordinal IS 'Ordinal of that answer.';
COMMENT ON COLUMN ingest.epoch.stale_snapshots IS 'Snapshots with a lower sequence that were stored and not applied before the epoch was opened, since the last restart of the daemon.';
COMMENT ON COLUMN ingest.epoch.first_stale_at IS 'Receipt of the first of them.';

CREATE TABLE ingest.watermark (
    account text NOT NULL,
    kind text NOT NULL,
    user_id text NOT NULL,
    epoch integer NOT NULL,
    sequence bigint NOT NULL,
    revision integer NOT NULL,
    content bytea NOT NULL,
    session_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    position integer NOT NULL,
    valid_from timestamptz NOT NULL,
    confirmed_until timestamptz NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (account, kind, user_id),
    -- No state in an epoch that is not recorded (I10).
    CONSTRAINT watermark_epoch_fkey FOREIGN KEY (account, kind, user_id, epoch)
        REFERENCES ingest.epoch (account, kind, user_id, epoch)
) WITH (fillfactor = 50);
COMMENT ON TABLE ingest.watermark IS 'The newest version of each stream; it only increases, in the transaction that writes the version.';
COMMENT ON COLUMN ingest.watermark.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.watermark.kind IS 'balances or pairs.';
COMMENT ON COLUMN ingest.watermark.user_id IS 'The hub''s user; empty for pairs.';
COMMENT ON COLUMN ingest.watermark.epoch IS 'Number of the epoch, from 1; each restart of the hub''s counter begins a new one.';
COMMENT ON COLUMN ingest.watermark.sequence IS 'The hub''s number of the snapshot; for pairs, our own count of versions.';
COMMENT ON COLUMN ingest.watermark.revision IS '0, and one more for each different content received under the same sequence.';
COMMENT ON COLUMN ingest.watermark.content IS 'Digest of the content by which snapshots are compared.';
COMMENT ON COLUMN ingest.watermark.session_id IS 'Session in which the event arrived.';
COMMENT ON COLUMN ingest.watermark.ordinal IS 'Number of the record within the session, from 1.';
COMMENT ON COLUMN ingest.watermark.position IS 'Index of the event within its record, from 0.';
COMMENT ON COLUMN ingest.watermark.valid_from IS 'Since when this version is valid.';
COMMENT ON COLUMN ingest.watermark.confirmed_until IS 'When the hub last sent the same: until then the state was unchanged.';
COMMENT ON COLUMN ingest.watermark.deleted IS 'The hub flagged the whole balance record as deleted.';

-- A loose index scan in each stream: one probe of the primary key per asset, however long the history is.
CREATE VIEW ingest.known_asset AS
SELECT w.account, w.user_id, known.asset
FROM ingest.watermark AS w
CROSS JOIN LATERAL (
    WITH RECURSIVE known AS (
        (SELECT b.asset FROM ingest.balance AS b WHERE b.account = w.account AND b.user_id = w.user_id ORDER BY b.asset LIMIT 1)
        UNION ALL
        SELECT (
            SELECT b.asset
            FROM ingest.balance AS b
            WHERE b.account = w.account AND b.user_id = w.user_id AND b.asset > known.asset
            ORDER BY b.asset
            LIMIT 1
        )
        FROM known
        WHERE known.asset IS NOT NULL
    )
    SELECT asset FROM known WHERE asset IS NOT NULL
) AS known
WHERE w.kind = 'balances';
COMMENT ON VIEW ingest.known_asset IS 'Every asset that has a row in balance. A separate view, because Citus needs another query for it.';
COMMENT ON COLUMN ingest.known_asset.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.known_asset.user_id IS 'The hub''s user.';
COMMENT ON COLUMN ingest.known_asset.asset IS 'Name of the asset, as received.';

CREATE TABLE ingest.gap (
    account text NOT NULL,
    session_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    position integer NOT NULL,
    kind text NOT NULL,
    opened_at timestamptz NOT NULL,
    cause text NOT NULL,
    missed_from timestamptz NOT NULL,
    missed_until timestamptz,
    connection_errors text[] NOT NULL,
    affects text[] NOT NULL,
    user_id text,
    first_missing bigint,
    last_missing bigint,
    occurrences bigint NOT NULL,
    last_occurred_at timestamptz NOT NULL,
    balances_confirmed_at timestamptz,
    balances_confirmed_by_session_id uuid,
    balances_confirmed_by_ordinal bigint,
    pairs_confirmed_at timestamptz,
    pairs_confirmed_by_session_id uuid,
    pairs_confirmed_by_ordinal bigint,
    ended_at timestamptz,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    balances_confirmation_recorded_at timestamptz NOT NULL DEFAULT now(),
    pairs_confirmation_recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, session_id, ordinal, position, kind, opened_at)
);
CREATE INDEX gap_account_missed_from_idx ON ingest.gap (account, missed_from);
-- To find the gaps that contain a moment. Written only with a gap and its end.
CREATE INDEX gap_balances_during_idx ON ingest.gap USING gist (tstzrange(
    missed_from,
    CASE WHEN balances_confirmed_at IS NULL THEN 'infinity'
        ELSE greatest(missed_from, balances_confirmed_at, balances_confirmation_recorded_at) END
)) WHERE 'balances' = ANY (affects);
CREATE INDEX gap_pairs_during_idx ON ingest.gap USING gist (tstzrange(
    missed_from,
    CASE WHEN pairs_confirmed_at IS NULL THEN 'infinity'
        ELSE greatest(missed_from, pairs_confirmed_at, pairs_confirmation_recorded_at) END
)) WHERE 'pairs' = ANY (affects);
CREATE INDEX gap_open_idx ON ingest.gap (account) WHERE ended_at IS NULL;
COMMENT ON TABLE ingest.gap IS 'Every interval in which something may have been missed, and how it ended.';
COMMENT ON COLUMN ingest.gap.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.gap.session_id IS 'Session in which, or after which, it began.';
COMMENT ON COLUMN ingest.gap.ordinal IS 'First record that may be missing, or the one by which the gap was detected; 0 before the session.';
COMMENT ON COLUMN ingest.gap.position IS 'Index of the event by which it was detected, within its record.';
COMMENT ON COLUMN ingest.gap.kind IS 'What kind of gap it is.';
COMMENT ON COLUMN ingest.gap.opened_at IS 'When it was detected.';
COMMENT ON COLUMN ingest.gap.cause IS 'Cause of the gap.';
COMMENT ON COLUMN ingest.gap.missed_from IS 'Start of the interval in which something may have been missed.';
COMMENT ON COLUMN ingest.gap.missed_until IS 'When a message of the hub was received again; null until then.';
COMMENT ON COLUMN ingest.gap.connection_errors IS 'Causes of the failed attempts to connect again.';
COMMENT ON COLUMN ingest.gap.affects IS 'Kinds of stream whose state is unknown until a fresh snapshot confirms it: balances, pairs.';
COMMENT ON COLUMN ingest.gap.user_id IS 'The hub''s user, if the gap affects only one.';
COMMENT ON COLUMN ingest.gap.first_missing IS 'First missing sequence (sequence_skip) or ordinal (dropped, commits_lost).';
COMMENT ON COLUMN ingest.gap.last_missing IS 'Last missing sequence or ordinal.';
COMMENT ON COLUMN ingest.gap.occurrences IS 'How often its cause has occurred while it was open.';
COMMENT ON COLUMN ingest.gap.last_occurred_at IS 'When its cause last occurred.';
COMMENT ON COLUMN ingest.gap.balances_confirmed_at IS 'Receipt of the snapshot that confirmed the balances again.';
COMMENT ON COLUMN ingest.gap.balances_confirmed_by_session_id IS 'Session of that snapshot.';
COMMENT ON COLUMN ingest.gap.balances_confirmed_by_ordinal IS 'Ordinal of that snapshot.';
COMMENT ON COLUMN ingest.gap.pairs_confirmed_at IS 'Receipt of the snapshot that confirmed the pairs again.';
COMMENT ON COLUMN ingest.gap.pairs_confirmed_by_session_id IS 'Session of that snapshot.';
COMMENT ON COLUMN ingest.gap.pairs_confirmed_by_ordinal IS 'Ordinal of that snapshot.';
COMMENT ON COLUMN ingest.gap.ended_at IS 'When every kind that it affects was confirmed; null while it is open.';
COMMENT ON COLUMN ingest.gap.recorded_at IS 'When it was stored here: the start of the transaction.';
COMMENT ON COLUMN ingest.gap.balances_confirmation_recorded_at IS 'When balances_confirmed_at was stored as it is, null included.';
COMMENT ON COLUMN ingest.gap.pairs_confirmation_recorded_at IS 'When pairs_confirmed_at was stored as it is, null included.';

CREATE TABLE ingest.confirmation (
    account text NOT NULL,
    session_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    position integer NOT NULL,
    reason text NOT NULL,
    raised_at timestamptz NOT NULL,
    kind text NOT NULL,
    user_id text NOT NULL,
    sequence bigint NOT NULL,
    resolution text,
    resolved_at timestamptz,
    resolved_by_session_id uuid,
    resolved_by_ordinal bigint,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    resolution_recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, session_id, ordinal, position, reason, raised_at)
);
CREATE INDEX confirmation_during_idx ON ingest.confirmation USING gist (tstzrange(
    raised_at,
    CASE WHEN resolved_at IS NULL THEN 'infinity' ELSE greatest(raised_at, resolved_at, resolution_recorded_at) END
));
CREATE INDEX confirmation_open_idx ON ingest.confirmation (account) WHERE resolution IS NULL;
COMMENT ON TABLE ingest.confirmation IS 'Snapshots that needed confirmation before they were applied: suspected resets, conflicts, emptied lists.';
COMMENT ON COLUMN ingest.confirmation.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.confirmation.session_id IS 'Session in which the event arrived.';
COMMENT ON COLUMN ingest.confirmation.ordinal IS 'Number of the record within the session, from 1.';
COMMENT ON COLUMN ingest.confirmation.position IS 'Index of the event within its record, from 0.';
COMMENT ON COLUMN ingest.confirmation.reason IS 'reset_suspected, conflict or mass_delete.';
COMMENT ON COLUMN ingest.confirmation.raised_at IS 'Receipt of the snapshot.';
COMMENT ON COLUMN ingest.confirmation.kind IS 'balances or pairs.';
COMMENT ON COLUMN ingest.confirmation.user_id IS 'The hub''s user; empty for pairs.';
COMMENT ON COLUMN ingest.confirmation.sequence IS 'Sequence of the snapshot.';
COMMENT ON COLUMN ingest.confirmation.resolution IS 'confirmed, refuted, superseded or abandoned; null while it is pending.';
COMMENT ON COLUMN ingest.confirmation.resolved_at IS 'When it was resolved.';
COMMENT ON COLUMN ingest.confirmation.resolved_by_session_id IS 'Session of the event that resolved it.';
COMMENT ON COLUMN ingest.confirmation.resolved_by_ordinal IS 'Ordinal of the event that resolved it.';
COMMENT ON COLUMN ingest.confirmation.recorded_at IS 'When it was stored here: the start of the transaction.';
COMMENT ON COLUMN ingest.confirmation.resolution_recorded_at IS 'When resolved_at was stored as it is, null included.';

CREATE TABLE ingest.request (
    account text NOT NULL,
    request_id uuid NOT NULL,
    requested_at timestamptz NOT NULL,
    command text NOT NULL,
    cause text NOT NULL,
    attempt integer NOT NULL,
    argument_form text NOT NULL,
    session_id uuid NOT NULL,
    outcome text,
    ended_at timestamptz,
    answer_ordinal bigint,
    error text,
    recorded_at timestamptz NOT NULL DEFAULT now(),
    end_recorded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (account, requested_at, request_id)
);
COMMENT ON TABLE ingest.request IS 'Every request to the hub: why, when, and how it ended.';
COMMENT ON COLUMN ingest.request.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.request.request_id IS 'Correlation id, sent as ClientId and echoed by the hub.';
COMMENT ON COLUMN ingest.request.requested_at IS 'Just before it was sent.';
COMMENT ON COLUMN ingest.request.command IS 'GetBalances or GetPairs.';
COMMENT ON COLUMN ingest.request.cause IS 'Why it was sent.';
COMMENT ON COLUMN ingest.request.attempt IS '1 for the first try.';
COMMENT ON COLUMN ingest.request.argument_form IS 'positional or nested.';
COMMENT ON COLUMN ingest.request.session_id IS 'Session in which it was sent.';
COMMENT ON COLUMN ingest.request.outcome IS 'How it ended; null while it is open.';
COMMENT ON COLUMN ingest.request.ended_at IS 'Receipt of the answer, or when the request was abandoned.';
COMMENT ON COLUMN ingest.request.answer_ordinal IS 'Ordinal of the record that answered it.';
COMMENT ON COLUMN ingest.request.error IS 'The hub''s text, if it refused, without credentials.';
COMMENT ON COLUMN ingest.request.recorded_at IS 'When it was stored here: the start of the transaction.';
COMMENT ON COLUMN ingest.request.end_recorded_at IS 'When ended_at was stored as it is, null included.';

CREATE TABLE ingest.dead_letter (
    account text NOT NULL,
    session_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    position integer NOT NULL,
    received_at timestamptz NOT NULL,
    stage text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    subject text,
    software_version text NOT NULL,
    occurrences integer NOT NULL,
    last_received_at timestamptz NOT NULL,
    PRIMARY KEY (account, session_id, ordinal, position, received_at)
);
COMMENT ON TABLE ingest.dead_letter IS 'Events that could not be applied; their bytes are in raw_event. A cause that occurs again while its gap is open is counted in the first row.';
COMMENT ON COLUMN ingest.dead_letter.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.dead_letter.session_id IS 'Session in which the event arrived.';
COMMENT ON COLUMN ingest.dead_letter.ordinal IS 'Number of the record within the session, from 1.';
COMMENT ON COLUMN ingest.dead_letter.position IS 'Index of the event within its record, from 0.';
COMMENT ON COLUMN ingest.dead_letter.received_at IS 'Receipt of its record.';
COMMENT ON COLUMN ingest.dead_letter.stage IS 'decode or store: where it failed.';
COMMENT ON COLUMN ingest.dead_letter.reason IS 'Why it was quarantined, one word of a fixed set.';
COMMENT ON COLUMN ingest.dead_letter.detail IS 'Place and description of the fault.';
COMMENT ON COLUMN ingest.dead_letter.subject IS 'Subject of the envelope, where it could be read.';
COMMENT ON COLUMN ingest.dead_letter.software_version IS 'Version of the software that quarantined it.';
COMMENT ON COLUMN ingest.dead_letter.occurrences IS 'How often the same cause has occurred while its gap was open.';
COMMENT ON COLUMN ingest.dead_letter.last_received_at IS 'Receipt of the last such event; detail is that event''s.';

CREATE TABLE ingest.discard (
    account text NOT NULL,
    session_id uuid NOT NULL,
    ordinal bigint NOT NULL,
    position integer NOT NULL,
    received_at timestamptz NOT NULL,
    occurrences integer NOT NULL,
    discarded_at timestamptz NOT NULL,
    discarded_by text NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (account, session_id, ordinal, position, received_at, occurrences)
);
COMMENT ON TABLE ingest.discard IS 'Dead letters that somebody has examined, and about which nothing more needs to be done. If its cause has occurred again since, it must be examined again.';
COMMENT ON COLUMN ingest.discard.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.discard.session_id IS 'Part of the key of the dead letter.';
COMMENT ON COLUMN ingest.discard.ordinal IS 'Part of the key of the dead letter.';
COMMENT ON COLUMN ingest.discard.position IS 'Part of the key of the dead letter.';
COMMENT ON COLUMN ingest.discard.received_at IS 'Part of the key of the dead letter.';
COMMENT ON COLUMN ingest.discard.occurrences IS 'How often its cause had occurred by then.';
COMMENT ON COLUMN ingest.discard.discarded_at IS 'When it was discarded, by the database''s clock.';
COMMENT ON COLUMN ingest.discard.discarded_by IS 'Who discarded it, as the operating system or the caller says.';
COMMENT ON COLUMN ingest.discard.reason IS 'Why nothing more needs to be done, as the caller says.';

CREATE TABLE ingest.heartbeat (
    account text NOT NULL,
    process_id uuid NOT NULL,
    pid integer NOT NULL,
    host text NOT NULL,
    software_version text NOT NULL,
    started_at timestamptz NOT NULL,
    heartbeat_at timestamptz NOT NULL,
    clock_offset_seconds double precision,
    link_state text NOT NULL,
    connection_error text,
    connection_error_detail text,
    key_refused boolean NOT NULL,
    next_attempt_at timestamptz,
    last_message_at timestamptz,
    inbox_records bigint NOT NULL,
    inbox_bytes bigint NOT NULL,
    dropped_records bigint NOT NULL,
    balances_interval interval NOT NULL,
    pairs_interval interval NOT NULL,
    stopped_at timestamptz,
    PRIMARY KEY (account)
) WITH (fillfactor = 50);
COMMENT ON TABLE ingest.heartbeat IS 'The process that ingests the account, as of its last heartbeat.';
COMMENT ON COLUMN ingest.heartbeat.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.heartbeat.process_id IS 'Identity of the process, new at each start.';
COMMENT ON COLUMN ingest.heartbeat.pid IS 'Its process number on its host.';
COMMENT ON COLUMN ingest.heartbeat.host IS 'Name of its host.';
COMMENT ON COLUMN ingest.heartbeat.software_version IS 'Its version.';
COMMENT ON COLUMN ingest.heartbeat.started_at IS 'When it started.';
COMMENT ON COLUMN ingest.heartbeat.heartbeat_at IS 'When its last heartbeat was written, by the database''s clock.';
COMMENT ON COLUMN ingest.heartbeat.clock_offset_seconds IS 'Wall clock of its host minus the database''s clock.';
COMMENT ON COLUMN ingest.heartbeat.link_state IS 'State of the link, a name of the state table.';
COMMENT ON COLUMN ingest.heartbeat.connection_error IS 'Cause of the last failed attempt, while there is no link.';
COMMENT ON COLUMN ingest.heartbeat.connection_error_detail IS 'Details of it, as text without credentials.';
COMMENT ON COLUMN ingest.heartbeat.key_refused IS 'The hub itself has answered the last attempt with 401 or 403.';
COMMENT ON COLUMN ingest.heartbeat.next_attempt_at IS 'When the next attempt to connect is due, while it waits for that.';
COMMENT ON COLUMN ingest.heartbeat.last_message_at IS 'Receipt of the last whole message of the hub, pings included.';
COMMENT ON COLUMN ingest.heartbeat.inbox_records IS 'Records waiting to be written.';
COMMENT ON COLUMN ingest.heartbeat.inbox_bytes IS 'Bytes waiting to be written.';
COMMENT ON COLUMN ingest.heartbeat.dropped_records IS 'Records dropped at a limit since it started.';
COMMENT ON COLUMN ingest.heartbeat.balances_interval IS 'How often balances are requested.';
COMMENT ON COLUMN ingest.heartbeat.pairs_interval IS 'How often pairs are requested.';
COMMENT ON COLUMN ingest.heartbeat.stopped_at IS 'When it stopped in good order; null while it runs or if it died.';

CREATE TABLE ingest.signal (
    account text NOT NULL,
    sent_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    signal text NOT NULL CHECK (signal IN ('pause', 'resume')),
    sent_by text NOT NULL DEFAULT session_user,
    PRIMARY KEY (account, sent_at)
);
COMMENT ON TABLE ingest.signal IS 'Operators'' commands to the daemon; the newest row is in effect, also after a restart. The daemon reads it with each heartbeat.';
COMMENT ON COLUMN ingest.signal.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.signal.sent_at IS 'When it was sent, by the database''s clock.';
COMMENT ON COLUMN ingest.signal.signal IS 'pause: close the link to the hub and do not connect again. resume: connect at once.';
COMMENT ON COLUMN ingest.signal.sent_by IS 'Role that sent it.';

CREATE TABLE ingest.clock_step (
    account text NOT NULL,
    noticed_at timestamptz NOT NULL,
    clock text NOT NULL,
    step_seconds double precision NOT NULL,
    PRIMARY KEY (account, noticed_at, clock)
);
COMMENT ON TABLE ingest.clock_step IS 'Steps of a clock, detected by comparing it with the monotonic clock of the ingestor''s host.';
COMMENT ON COLUMN ingest.clock_step.account IS 'Name of the account, from the configuration.';
COMMENT ON COLUMN ingest.clock_step.noticed_at IS 'When it was detected, by the database''s clock.';
COMMENT ON COLUMN ingest.clock_step.clock IS 'host: the wall clock of the ingestor''s host. database: the database''s clock.';
COMMENT ON COLUMN ingest.clock_step.step_seconds IS 'How far it stepped; negative: backwards.';


-- For tables that `ingestor db partition` has partitioned by month. With their owner's rights, because the pruner
-- owns nothing: it may create months, and remove rows that it may delete in any case.
CREATE FUNCTION ingest.add_months() RETURNS SETOF text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    parent record;
    reached timestamptz;
    newest timestamptz;
    month timestamptz;
    part text;
BEGIN
    FOR parent IN
        SELECT c.oid::regclass AS name, c.relname, a.attname AS time, p.partdefid::regclass AS rest
        FROM pg_partitioned_table AS p
        JOIN pg_class AS c ON c.oid = p.partrelid
        JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
        WHERE c.relnamespace = 'ingest'::regnamespace
        ORDER BY c.relname
    LOOP
        SELECT max(substring(pg_get_expr(c.relpartbound, c.oid) FROM 'TO \(''(.+)''\)')::timestamptz) INTO reached
        FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = parent.name;
        -- If the default partition has rows of a month, the month stays there.
        EXECUTE format('SELECT date_trunc(''month'', max(%I)) + interval ''1 month'' FROM %s', parent.time, parent.rest)
        INTO newest;
        FOR month IN
            SELECT generate_series(
                greatest(reached, newest, date_trunc('month', now())),
                date_trunc('month', now()) + interval '12 months',
                interval '1 month'
            )
        LOOP
            part := format('ingest.%I', parent.relname || to_char(month, '_YYYYMM'));
            -- Created alone and then attached, because creating it as a partition would block the daemon.
            EXECUTE format('CREATE TABLE %s (LIKE %s INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent.name);
            EXECUTE format(
                'ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM (%L) TO (%L)',
                parent.name, part, month, month + interval '1 month'
            );
            RETURN NEXT part;
        END LOOP;
    END LOOP;
END
$$;
COMMENT ON FUNCTION ingest.add_months() IS
    'Creates the missing partitions of this month and the next twelve, and returns their names.';
REVOKE ALL ON FUNCTION ingest.add_months() FROM PUBLIC;

CREATE FUNCTION ingest.empty_month(part regclass, file oid, expected bigint, kept tid[]) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    parent regclass := (
        SELECT c.oid FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhparent
        WHERE i.inhrelid = part AND c.relkind = 'p' AND c.relnamespace = 'ingest'::regnamespace
    );
    counted bigint;
BEGIN
    PERFORM ingest.require(
        has_table_privilege(session_user, parent, 'DELETE'), session_user || ' may not delete rows of ' || part
    );
    -- Against rows that arrive late. Nothing else writes to a past month.
    EXECUTE format('LOCK TABLE ONLY %s IN SHARE ROW EXCLUSIVE MODE', part);
    EXECUTE format('SELECT count(*) FROM ONLY %s', part) INTO counted;
    IF counted <> expected OR pg_relation_filenode(part) <> file THEN
        RETURN false;
    END IF;
    EXECUTE format('CREATE TEMPORARY TABLE kept_rows (LIKE %s) ON COMMIT DROP', part);
    EXECUTE format('INSERT INTO pg_temp.kept_rows SELECT * FROM ONLY %s WHERE ctid = ANY ($1)', part) USING kept;
    GET DIAGNOSTICS counted = ROW_COUNT;
    PERFORM ingest.require(counted = cardinality(kept), 'rows of ' || part || ' that are to be kept are gone');
    EXECUTE format('TRUNCATE ONLY %s', part);
    EXECUTE format('INSERT INTO %s SELECT * FROM pg_temp.kept_rows', part);
    RETURN true;
END
$$;
COMMENT ON FUNCTION ingest.empty_month(regclass, oid, bigint, tid[]) IS
    'Removes at once all rows of a partition except those at the addresses in kept. Returns false and removes nothing if the partition''s file or number of rows is no longer that in which the addresses were found.';
REVOKE ALL ON FUNCTION ingest.empty_month(regclass, oid, bigint, tid[]) FROM PUBLIC;

CREATE FUNCTION ingest.begin_history(name text, moment timestamptz) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    UPDATE ingest.account SET history_from = greatest(history_from, moment) WHERE account = name;
END;
COMMENT ON FUNCTION ingest.begin_history(text, timestamptz) IS
    'Notes that history of an account from before a moment is about to be removed. Never sets it back.';
REVOKE ALL ON FUNCTION ingest.begin_history(text, timestamptz) FROM PUBLIC;
