CREATE VIEW report.stream AS
SELECT
    known.account,
    known.kind,
    known.user_id,
    known.valid_from,
    known.confirmed_until,
    CASE
        WHEN known.is_silent OR EXISTS (
            SELECT FROM ingest.gap AS g
            WHERE g.account = known.account AND g.ended_at IS NULL AND known.kind = ANY (g.affects)
              AND CASE known.kind WHEN 'balances' THEN g.balances_confirmed_at ELSE g.pairs_confirmed_at END IS NULL
              AND coalesce(g.user_id, known.user_id) = known.user_id
        ) THEN 'in_gap'
        -- A stamp later than now does not confirm anything.
        WHEN EXISTS (
                SELECT FROM ingest.confirmation AS c
                WHERE c.account = known.account AND c.kind = known.kind AND c.user_id = known.user_id
                  AND c.resolution IS NULL
            )
            OR known.confirmed_until > statement_timestamp() + interval '2 seconds'
            OR known.confirmed_until < statement_timestamp() - 2 * known.expected_every
        THEN 'last_known'
        ELSE 'confirmed'
    END AS certainty,
    (
        SELECT count(*)
        FROM ingest.confirmation AS c
        WHERE c.account = known.account AND c.kind = known.kind AND c.user_id = known.user_id
          AND c.resolution IS NULL
    ) AS pending_confirmations,
    EXISTS (
        SELECT FROM ingest.watermark AS other
        WHERE other.account = known.account AND other.kind = known.kind AND other.user_id <> known.user_id
          AND other.confirmed_until > known.confirmed_until + 2 * known.expected_every
    ) AS is_former,
    known.expected_every,
    known.deleted,
    known.epoch,
    known.sequence,
    known.revision,
    known.session_id,
    known.ordinal
FROM (
    SELECT
        w.*,
        CASE w.kind
            WHEN 'balances' THEN coalesce(h.balances_interval, interval '1 minute')
            ELSE coalesce(h.pairs_interval, interval '5 minutes')
        END AS expected_every,
        -- A process that has died: as in report.gap_interval.
        coalesce(h.stopped_at IS NULL AND h.heartbeat_at < statement_timestamp() - interval '30 seconds', false) AS is_silent
    FROM ingest.watermark AS w
    LEFT JOIN ingest.heartbeat AS h ON h.account = w.account
) AS known;

COMMENT ON VIEW report.stream IS
    'What is the newest version of each stream? One row per account, kind of stream and user.';
COMMENT ON COLUMN report.stream.kind IS 'balances or pairs.';
COMMENT ON COLUMN report.stream.user_id IS 'The hub''s user; empty for pairs.';
COMMENT ON COLUMN report.stream.valid_from IS 'Since when the newest version is valid.';
COMMENT ON COLUMN report.stream.confirmed_until IS 'When the hub last confirmed it: until then the state was unchanged.';
COMMENT ON COLUMN report.stream.certainty IS 'in_gap: something may have been missed, and no snapshot has confirmed the state since. last_known: the last confirmation is older than two intervals, or a confirmation is pending. confirmed: neither.';
COMMENT ON COLUMN report.stream.pending_confirmations IS 'Snapshots that contradict the newest version and wait for confirmation: see report.confirmation.';
COMMENT ON COLUMN report.stream.is_former IS 'The key of this user is no longer in use: for two intervals the hub has confirmed another user only. Leave it out of sums.';
COMMENT ON COLUMN report.stream.expected_every IS 'How often a snapshot is requested.';

CREATE VIEW report.version AS
SELECT
    account, kind, user_id, valid_from, epoch, sequence, revision, origin, passed_over, deleted,
    previous_confirmed_until, received_at, recorded_at, session_id, ordinal, position
FROM ingest.version;

COMMENT ON VIEW report.version IS
    'Which snapshots became state, in order? Also those in which no amount changed.';
COMMENT ON COLUMN report.version.kind IS 'balances or pairs.';
COMMENT ON COLUMN report.version.user_id IS 'The hub''s user; empty for pairs.';
COMMENT ON COLUMN report.version.valid_from IS 'When it was first seen; never before the version that it follows.';
COMMENT ON COLUMN report.version.origin IS 'pushed: the hub sent the snapshot by itself. answered: it answers one of our requests.';
COMMENT ON COLUMN report.version.passed_over IS 'How many sequence numbers lie between the snapshot before and this one.';
COMMENT ON COLUMN report.version.previous_confirmed_until IS 'When the state before it was last confirmed: from then until valid_from the state is unknown.';
COMMENT ON COLUMN report.version.received_at IS 'Receipt of the snapshot.';
COMMENT ON COLUMN report.version.recorded_at IS 'When the snapshot was stored: what was known at a moment is what was recorded by then.';
