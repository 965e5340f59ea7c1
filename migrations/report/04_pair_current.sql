CREATE VIEW report.pair_current AS
SELECT
    p.account,
    p.name,
    p.asset,
    p.currency,
    p.min_size,
    p.max_size,
    p.min_quote_size,
    p.max_quote_size,
    p.valid_from,
    w.confirmed_until,
    CASE
        WHEN EXISTS (
            SELECT FROM ingest.gap AS g
            WHERE g.account = p.account AND g.ended_at IS NULL
              AND 'pairs' = ANY (g.touches) AND g.pairs_confirmed_at IS NULL
        ) THEN 'in_gap'
        -- A stamp later than now is no evidence.
        WHEN pending.confirmations > 0
            OR w.confirmed_until > clock_timestamp() + interval '2 seconds'
            OR w.confirmed_until < clock_timestamp() - 2 * coalesce(h.pairs_interval, interval '5 minutes')
        THEN 'last_known'
        ELSE 'confirmed'
    END AS certainty,
    pending.confirmations AS pending_confirmations
FROM (
    SELECT DISTINCT ON (account, name) *
    FROM ingest.pair
    ORDER BY account, name, valid_from DESC, epoch DESC, sequence DESC, revision DESC
) AS p
JOIN ingest.watermark AS w ON w.account = p.account AND w.kind = 'pairs'
LEFT JOIN ingest.heartbeat AS h ON h.account = p.account
CROSS JOIN LATERAL (
    SELECT count(*) AS confirmations
    FROM ingest.confirmation AS c
    WHERE c.account = p.account AND c.kind = 'pairs' AND c.resolution IS NULL
) AS pending
WHERE p.listed;

COMMENT ON VIEW report.pair_current IS
    'Which pairs can be traded now, and within which limits?';
COMMENT ON COLUMN report.pair_current.account IS 'Name of the account.';
COMMENT ON COLUMN report.pair_current.name IS 'Name of the pair, as the hub writes it.';
COMMENT ON COLUMN report.pair_current.asset IS 'Base asset.';
COMMENT ON COLUMN report.pair_current.currency IS 'Quote currency.';
COMMENT ON COLUMN report.pair_current.min_size IS 'Smallest size, in base units.';
COMMENT ON COLUMN report.pair_current.max_size IS 'Largest size, in base units.';
COMMENT ON COLUMN report.pair_current.min_quote_size IS 'Smallest size, in quote units; null where the hub does not tell.';
COMMENT ON COLUMN report.pair_current.max_quote_size IS 'Largest size, in quote units; null where the hub does not tell.';
COMMENT ON COLUMN report.pair_current.valid_from IS 'Since when the limits are as shown.';
COMMENT ON COLUMN report.pair_current.confirmed_until IS 'When the hub last sent the same list.';
COMMENT ON COLUMN report.pair_current.certainty IS 'in_gap: something may have been missed, and no list has confirmed the pairs since. last_known: the last confirmation is older than two intervals, or a contradiction is pending. confirmed: neither.';
COMMENT ON COLUMN report.pair_current.pending_confirmations IS 'Lists that contradict what is shown and wait for confirmation: see report.confirmation.';
