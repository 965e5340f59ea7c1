CREATE VIEW report.freshness AS
SELECT
    a.account,
    kinds.kind,
    w.user_id,
    w.valid_from,
    w.confirmed_until,
    clock_timestamp() - w.confirmed_until AS age,
    kinds.expected_every,
    CASE
        WHEN users.is_former THEN NULL
        ELSE pending.confirmations = 0 AND coalesce(
            -- A stamp later than now does not confirm anything.
            w.confirmed_until > clock_timestamp() - 2 * kinds.expected_every
            AND w.confirmed_until <= clock_timestamp() + interval '2 seconds',
            false
        )
    END AS is_fresh,
    pending.confirmations AS pending_confirmations,
    h.link_state,
    h.last_message_at,
    h.heartbeat_at,
    coalesce(h.stopped_at IS NULL AND h.heartbeat_at > clock_timestamp() - interval '30 seconds', false) AS is_alive,
    h.stopped_at,
    h.clock_offset_seconds,
    h.inbox_records,
    (
        SELECT count(*)
        FROM ingest.gap AS g
        WHERE g.account = a.account AND g.ended_at IS NULL AND kinds.kind = ANY (g.affects)
          AND CASE kinds.kind WHEN 'balances' THEN g.balances_confirmed_at ELSE g.pairs_confirmed_at END IS NULL
          AND (g.user_id IS NULL OR w.user_id IS NULL OR g.user_id = w.user_id)
    ) AS open_gaps
FROM ingest.account AS a
LEFT JOIN ingest.heartbeat AS h ON h.account = a.account
CROSS JOIN LATERAL unnest(
    ARRAY['balances', 'pairs'], ARRAY[h.balances_interval, h.pairs_interval]
) AS kinds (kind, expected_every)
LEFT JOIN ingest.watermark AS w ON w.account = a.account AND w.kind = kinds.kind
CROSS JOIN LATERAL (
    -- A user whose key is no longer in use will not be confirmed: the hub sends another user now.
    SELECT count(*) > 0 AS is_former
    FROM ingest.watermark AS other
    WHERE other.account = w.account AND other.kind = w.kind AND other.user_id <> w.user_id
      AND other.confirmed_until > w.confirmed_until + 2 * kinds.expected_every
) AS users
CROSS JOIN LATERAL (
    SELECT count(*) AS confirmations
    FROM ingest.confirmation AS c
    WHERE c.account = w.account AND c.kind = w.kind AND c.user_id = w.user_id AND c.resolution IS NULL
) AS pending;

COMMENT ON VIEW report.freshness IS
    'How old is the newest confirmed state? One row per account, kind of stream and user, also before the first answer. Former accounts and users are kept.';
COMMENT ON COLUMN report.freshness.kind IS 'balances or pairs.';
COMMENT ON COLUMN report.freshness.user_id IS 'The hub''s user; empty for pairs, null before the first answer.';
COMMENT ON COLUMN report.freshness.valid_from IS 'Since when the newest version is valid.';
COMMENT ON COLUMN report.freshness.confirmed_until IS 'When the hub last confirmed it.';
COMMENT ON COLUMN report.freshness.age IS 'Time since then.';
COMMENT ON COLUMN report.freshness.expected_every IS 'How often a snapshot is requested.';
COMMENT ON COLUMN report.freshness.is_fresh IS 'Confirmed within two intervals, and no confirmation is pending. Null for a former user: for two intervals the hub has confirmed another one only.';
COMMENT ON COLUMN report.freshness.pending_confirmations IS 'Snapshots that contradict the newest version and wait for confirmation.';
COMMENT ON COLUMN report.freshness.link_state IS 'State of the link at the last heartbeat.';
COMMENT ON COLUMN report.freshness.last_message_at IS 'Receipt of the last whole message of the hub, as of the last heartbeat.';
COMMENT ON COLUMN report.freshness.heartbeat_at IS 'When the process last wrote its heartbeat, by the database''s clock.';
COMMENT ON COLUMN report.freshness.is_alive IS 'The last heartbeat is less than 30 seconds old, and the process has not stopped.';
COMMENT ON COLUMN report.freshness.stopped_at IS 'When the process stopped in good order; null while it runs, or if it died.';
COMMENT ON COLUMN report.freshness.clock_offset_seconds IS 'Wall clock of the process''s host minus the database''s clock, at the last heartbeat. Stamps are the database''s.';
COMMENT ON COLUMN report.freshness.inbox_records IS 'Records that waited to be written.';
COMMENT ON COLUMN report.freshness.open_gaps IS 'Gaps that await a snapshot of this kind.';
