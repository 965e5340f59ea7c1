CREATE VIEW report.gap AS
SELECT
    account,
    kind,
    cause,
    connection_errors,
    missed_from,
    missed_until,
    coalesce(missed_until, statement_timestamp()) - missed_from AS duration,
    opened_at,
    ended_at,
    ended_at IS NULL AS is_open,
    affects,
    array_remove(
        ARRAY[
            CASE WHEN 'balances' = ANY (affects) AND balances_confirmed_at IS NULL THEN 'balances' END,
            CASE WHEN 'pairs' = ANY (affects) AND pairs_confirmed_at IS NULL THEN 'pairs' END
        ],
        NULL
    ) AS unconfirmed,
    CASE WHEN 'balances' = ANY (affects) THEN coalesce(balances_confirmed_at, statement_timestamp()) - missed_from END
        AS balances_unknown_for,
    balances_confirmed_at,
    balances_confirmed_by_session_id,
    balances_confirmed_by_ordinal,
    CASE WHEN 'pairs' = ANY (affects) THEN coalesce(pairs_confirmed_at, statement_timestamp()) - missed_from END
        AS pairs_unknown_for,
    pairs_confirmed_at,
    pairs_confirmed_by_session_id,
    pairs_confirmed_by_ordinal,
    user_id,
    first_missing,
    last_missing,
    last_missing - first_missing + 1 AS size,
    occurrences,
    last_occurred_at,
    session_id,
    ordinal,
    recorded_at,
    CASE WHEN balances_confirmed_at IS NOT NULL THEN balances_confirmation_recorded_at END
        AS balances_confirmation_recorded_at,
    CASE WHEN pairs_confirmed_at IS NOT NULL THEN pairs_confirmation_recorded_at END
        AS pairs_confirmation_recorded_at
FROM ingest.gap;

COMMENT ON VIEW report.gap IS
    'When may something have been missed, why, and when was the state known again? A snapshot confirms the state, not the history, so the row is kept.';
COMMENT ON COLUMN report.gap.kind IS 'disconnected, unclean_end (the process died), sequence_skip, dropped (by the daemon, at a limit), commits_lost (by the database), undecodable or unanswered.';
COMMENT ON COLUMN report.gap.cause IS 'Cause of the gap, one word of a fixed set.';
COMMENT ON COLUMN report.gap.connection_errors IS 'Causes of the failed attempts to connect again, in order of first occurrence.';
COMMENT ON COLUMN report.gap.missed_from IS 'Start of the interval in which something may have been missed.';
COMMENT ON COLUMN report.gap.missed_until IS 'When a message of the hub was received again; null until then.';
COMMENT ON COLUMN report.gap.duration IS 'From missed_from to missed_until, so far.';
COMMENT ON COLUMN report.gap.opened_at IS 'When it was detected.';
COMMENT ON COLUMN report.gap.ended_at IS 'When snapshots had confirmed every kind that it affects; null while it is open.';
COMMENT ON COLUMN report.gap.is_open IS 'No end yet.';
COMMENT ON COLUMN report.gap.affects IS 'Kinds of stream that the gap affects, whose state was unknown from missed_from on: balances, pairs.';
COMMENT ON COLUMN report.gap.unconfirmed IS 'Those of them that no snapshot has confirmed yet.';
COMMENT ON COLUMN report.gap.balances_unknown_for IS 'From missed_from until a snapshot confirmed the balances, so far; null if the gap does not affect them.';
COMMENT ON COLUMN report.gap.balances_confirmed_at IS 'Receipt of the snapshot that confirmed the balances; null until then, or if the gap does not affect them.';
COMMENT ON COLUMN report.gap.balances_confirmed_by_session_id IS 'Session of that snapshot.';
COMMENT ON COLUMN report.gap.balances_confirmed_by_ordinal IS 'Ordinal of that snapshot.';
COMMENT ON COLUMN report.gap.pairs_unknown_for IS 'From missed_from until a snapshot confirmed the pairs, so far; null if the gap does not affect them.';
COMMENT ON COLUMN report.gap.pairs_confirmed_at IS 'Receipt of the snapshot that confirmed the pairs; null until then, or if the gap does not affect them.';
COMMENT ON COLUMN report.gap.pairs_confirmed_by_session_id IS 'Session of that snapshot.';
COMMENT ON COLUMN report.gap.pairs_confirmed_by_ordinal IS 'Ordinal of that snapshot.';
COMMENT ON COLUMN report.gap.user_id IS 'The hub''s user, if the gap affects only one.';
COMMENT ON COLUMN report.gap.first_missing IS 'First missing sequence (sequence_skip) or ordinal (dropped, commits_lost).';
COMMENT ON COLUMN report.gap.last_missing IS 'Last missing sequence or ordinal.';
COMMENT ON COLUMN report.gap.size IS 'How many are missing.';
COMMENT ON COLUMN report.gap.occurrences IS 'How often its cause has occurred while it was open.';
COMMENT ON COLUMN report.gap.last_occurred_at IS 'When its cause last occurred.';
COMMENT ON COLUMN report.gap.session_id IS 'Session in which, or after which, it began.';
COMMENT ON COLUMN report.gap.ordinal IS 'First record that may be missing, or the one by which the gap was detected.';
COMMENT ON COLUMN report.gap.recorded_at IS 'When the row was first stored.';
COMMENT ON COLUMN report.gap.balances_confirmation_recorded_at IS 'When balances_confirmed_at was stored; null if that is.';
COMMENT ON COLUMN report.gap.pairs_confirmation_recorded_at IS 'When pairs_confirmed_at was stored; null if that is.';

CREATE VIEW report.gap_interval AS
SELECT
    account, 'balances' AS kind, user_id, kind AS gap_kind, cause, missed_from,
    balances_confirmed_at AS confirmed_at,
    tstzrange(missed_from, greatest(missed_from, coalesce(balances_confirmed_at, 'infinity'))) AS during,
    recorded_at,
    CASE WHEN balances_confirmed_at IS NOT NULL THEN balances_confirmation_recorded_at END
        AS confirmation_recorded_at,
    -- As in the index.
    tstzrange(
        missed_from,
        CASE WHEN balances_confirmed_at IS NULL THEN 'infinity'
            ELSE greatest(missed_from, balances_confirmed_at, balances_confirmation_recorded_at) END
    ) AS open_during
FROM ingest.gap
WHERE 'balances' = ANY (affects)
UNION ALL
SELECT
    account, 'pairs', user_id, kind, cause, missed_from, pairs_confirmed_at,
    tstzrange(missed_from, greatest(missed_from, coalesce(pairs_confirmed_at, 'infinity'))), recorded_at,
    CASE WHEN pairs_confirmed_at IS NOT NULL THEN pairs_confirmation_recorded_at END,
    tstzrange(
        missed_from,
        CASE WHEN pairs_confirmed_at IS NULL THEN 'infinity'
            ELSE greatest(missed_from, pairs_confirmed_at, pairs_confirmation_recorded_at) END
    )
FROM ingest.gap
WHERE 'pairs' = ANY (affects)
UNION ALL
-- For a process that has died there is no gap row until its next start, so its heartbeat is used.
SELECT
    h.account, kinds.kind, NULL, 'unclean_end', 'no_heartbeat', h.heartbeat_at, NULL,
    tstzrange(h.heartbeat_at, 'infinity'), h.heartbeat_at + interval '30 seconds', NULL,
    tstzrange(h.heartbeat_at, 'infinity')
FROM ingest.heartbeat AS h
CROSS JOIN unnest(ARRAY['balances', 'pairs']) AS kinds (kind)
WHERE h.stopped_at IS NULL AND h.heartbeat_at < statement_timestamp() - interval '30 seconds';

COMMENT ON VIEW report.gap_interval IS
    'From when until when was each kind of stream unknown, for each gap? Until the snapshot that confirmed the state, not until the link was up again. A process without heartbeats counts as a gap from its last heartbeat on.';
COMMENT ON COLUMN report.gap_interval.kind IS 'balances or pairs.';
COMMENT ON COLUMN report.gap_interval.user_id IS 'The hub''s user, if the gap affects only one.';
COMMENT ON COLUMN report.gap_interval.gap_kind IS 'The gap''s kind, as in report.gap.';
COMMENT ON COLUMN report.gap_interval.cause IS 'Cause of the gap, as in report.gap; no_heartbeat: the process sends no heartbeats, and no other has started since.';
COMMENT ON COLUMN report.gap_interval.missed_from IS 'Start of the interval in which something may have been missed.';
COMMENT ON COLUMN report.gap_interval.confirmed_at IS 'Receipt of the snapshot that confirmed the state; null while it is awaited.';
COMMENT ON COLUMN report.gap_interval.during IS 'From missed_from to confirmed_at; to infinity while that is null.';
COMMENT ON COLUMN report.gap_interval.recorded_at IS 'When the gap was stored.';
COMMENT ON COLUMN report.gap_interval.confirmation_recorded_at IS 'When its confirmation was stored: until then it was known as open. Null while it is awaited.';
COMMENT ON COLUMN report.gap_interval.open_during IS 'From missed_from until its confirmation was received and stored; to infinity while that is awaited.';

CREATE VIEW report.blind_interval AS
SELECT
    s.account,
    s.kind,
    s.user_id,
    lower(merged.during) AS blind_from,
    nullif(upper(merged.during), 'infinity') AS blind_until,
    least(upper(merged.during), statement_timestamp()) - lower(merged.during) AS duration
FROM ingest.watermark AS s
CROSS JOIN LATERAL (
    SELECT unnest(range_agg(g.during)) AS during
    FROM report.gap_interval AS g
    WHERE g.account = s.account AND g.kind = s.kind AND coalesce(g.user_id, s.user_id) = s.user_id
) AS merged;

COMMENT ON VIEW report.blind_interval IS
    'When was a stream in a gap, over all gaps? Overlapping and adjacent gaps are merged, so each moment counts once. The state within may have become known later: see report.coverage.';
COMMENT ON COLUMN report.blind_interval.kind IS 'balances or pairs.';
COMMENT ON COLUMN report.blind_interval.user_id IS 'The hub''s user; empty for pairs.';
COMMENT ON COLUMN report.blind_interval.blind_from IS 'Start of the first of the gaps.';
COMMENT ON COLUMN report.blind_interval.blind_until IS 'When a snapshot confirmed the state; null until then.';
COMMENT ON COLUMN report.blind_interval.duration IS 'From blind_from to blind_until, so far.';
