CREATE VIEW report.balance_current AS
WITH RECURSIVE known AS (
    -- A loose index scan: one probe of the primary key per asset, however long the history is.
    (SELECT account, user_id, asset FROM ingest.balance ORDER BY account, user_id, asset LIMIT 1)
    UNION ALL
    SELECT next.account, next.user_id, next.asset
    FROM known
    CROSS JOIN LATERAL (
        SELECT b.account, b.user_id, b.asset
        FROM ingest.balance AS b
        WHERE (b.account, b.user_id, b.asset) > (known.account, known.user_id, known.asset)
        ORDER BY b.account, b.user_id, b.asset
        LIMIT 1
    ) AS next
)
SELECT
    known.account,
    known.user_id,
    known.asset,
    held.available,
    held.allocated,
    held.available + held.allocated AS total,
    held.reported,
    w.deleted,
    held.valid_from,
    w.confirmed_until,
    CASE
        WHEN doubtful.gap THEN 'in_gap'
        WHEN w.confirmed_until < clock_timestamp() - 2 * coalesce(h.balances_interval, interval '1 minute')
            THEN 'last_known'
        ELSE 'confirmed'
    END AS certainty,
    w.epoch,
    w.sequence,
    w.revision,
    w.session_id,
    w.ordinal,
    risk.current_exposure,
    risk.max_exposure,
    total_risk.base_currency,
    risk.observed_at AS exposure_observed_at
FROM known
CROSS JOIN LATERAL (
    SELECT b.available, b.allocated, b.reported, b.valid_from
    FROM ingest.balance AS b
    WHERE b.account = known.account AND b.user_id = known.user_id AND b.asset = known.asset
    ORDER BY b.valid_from DESC, b.epoch DESC, b.sequence DESC, b.revision DESC
    LIMIT 1
) AS held
JOIN ingest.watermark AS w
    ON w.account = known.account AND w.kind = 'balances' AND w.user_id = known.user_id
LEFT JOIN ingest.heartbeat AS h ON h.account = known.account
CROSS JOIN LATERAL (
    -- A gap that was healed or explained leaves no doubt. One that was lost leaves as much as an open one, until
    -- something later confirms the state; what it had been awaiting and never got is still in its row.
    SELECT EXISTS (
        SELECT FROM ingest.gap AS g
        WHERE g.account = known.account AND g.ending IS NULL
          AND 'balances' = ANY (g.awaiting) AND coalesce(g.user_id, known.user_id) = known.user_id
    ) OR EXISTS (
        SELECT FROM ingest.gap AS g
        WHERE g.account = known.account AND g.ending = 'lost' AND g.ended_at >= w.confirmed_until
          AND 'balances' = ANY (g.awaiting) AND coalesce(g.user_id, known.user_id) = known.user_id
    ) AS gap
) AS doubtful
LEFT JOIN LATERAL (
    SELECT e.current_exposure, e.max_exposure, e.observed_at
    FROM ingest.exposure AS e
    WHERE e.account = known.account AND e.user_id = known.user_id AND e.asset = known.asset
    ORDER BY e.observed_at DESC, e.session_id DESC, e.ordinal DESC, e.position DESC
    LIMIT 1
) AS risk ON true
LEFT JOIN LATERAL (
    SELECT t.base_currency
    FROM ingest.exposure_total AS t
    WHERE t.account = known.account AND t.user_id = known.user_id
    ORDER BY t.observed_at DESC, t.session_id DESC, t.ordinal DESC, t.position DESC
    LIMIT 1
) AS total_risk ON true;

COMMENT ON VIEW report.balance_current IS
    'What does the account hold, as of when, and how sure is that? One row per asset ever reported. A snapshot is the state at its receipt; movements between two snapshots are not seen.';
COMMENT ON COLUMN report.balance_current.account IS 'Name of the account.';
COMMENT ON COLUMN report.balance_current.user_id IS 'The hub''s user.';
COMMENT ON COLUMN report.balance_current.asset IS 'Name of the asset, as the hub writes it.';
COMMENT ON COLUMN report.balance_current.available IS 'Free amount.';
COMMENT ON COLUMN report.balance_current.allocated IS 'Amount tied to open orders or pending actions.';
COMMENT ON COLUMN report.balance_current.total IS 'available + allocated.';
COMMENT ON COLUMN report.balance_current.reported IS 'False: the newest snapshot does not name the asset any more, so it counts as 0.';
COMMENT ON COLUMN report.balance_current.deleted IS 'The hub flags the whole balance record as deleted.';
COMMENT ON COLUMN report.balance_current.valid_from IS 'Since when the asset has these amounts.';
COMMENT ON COLUMN report.balance_current.confirmed_until IS 'When the hub last confirmed the account''s state: until then nothing had changed.';
COMMENT ON COLUMN report.balance_current.certainty IS 'confirmed: the last answer is fresh. last_known: it is older than two intervals. in_gap: something may have been missed and no fresh answer has come since, or never came and nothing later either.';
COMMENT ON COLUMN report.balance_current.epoch IS 'Counts how often the hub''s counter was seen to begin again, from 1.';
COMMENT ON COLUMN report.balance_current.sequence IS 'The hub''s number of the snapshot; for pairs our own count.';
COMMENT ON COLUMN report.balance_current.revision IS 'Above 0 where the hub sent different contents under one sequence.';
COMMENT ON COLUMN report.balance_current.session_id IS 'Session of the record that is the evidence.';
COMMENT ON COLUMN report.balance_current.ordinal IS 'Number of that record in its session.';
COMMENT ON COLUMN report.balance_current.current_exposure IS 'Exposure in base_currency; null where the hub does not tell.';
COMMENT ON COLUMN report.balance_current.max_exposure IS 'Limit of the exposure in base_currency.';
COMMENT ON COLUMN report.balance_current.base_currency IS 'Currency of the exposure figures.';
COMMENT ON COLUMN report.balance_current.exposure_observed_at IS 'Since when the exposure is as shown.';
