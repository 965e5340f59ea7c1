CREATE VIEW report.balance_current AS
SELECT
    known.account,
    known.user_id,
    known.asset,
    latest.available,
    latest.allocated,
    latest.available + latest.allocated AS total,
    latest.reported,
    s.deleted,
    latest.valid_from,
    s.valid_from AS observed_at,
    s.confirmed_until,
    s.certainty,
    s.pending_confirmations,
    s.is_former,
    s.epoch,
    s.sequence,
    s.revision,
    s.session_id,
    s.ordinal,
    risk.current_exposure,
    risk.max_exposure,
    total_risk.base_currency,
    risk.observed_at AS exposure_observed_at
FROM ingest.known_asset AS known
CROSS JOIN LATERAL (
    SELECT b.available, b.allocated, b.reported, b.valid_from
    FROM ingest.balance AS b
    WHERE b.account = known.account AND b.user_id = known.user_id AND b.asset = known.asset
    ORDER BY b.valid_from DESC, b.epoch DESC, b.sequence DESC, b.revision DESC
    LIMIT 1
) AS latest
JOIN report.stream AS s ON s.account = known.account AND s.kind = 'balances' AND s.user_id = known.user_id
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
    'What does the account contain, as of when, and how certain is that? One row per asset ever reported. A snapshot is the state at its receipt; movements between two snapshots do not appear.';
COMMENT ON COLUMN report.balance_current.available IS 'Free amount.';
COMMENT ON COLUMN report.balance_current.allocated IS 'Amount tied to open orders or pending actions.';
COMMENT ON COLUMN report.balance_current.total IS 'available + allocated.';
COMMENT ON COLUMN report.balance_current.reported IS 'False: the newest snapshot does not name the asset any more, so it counts as 0.';
COMMENT ON COLUMN report.balance_current.valid_from IS 'Since when the asset has these amounts.';
COMMENT ON COLUMN report.balance_current.observed_at IS 'Receipt of the newest version of the account''s state.';
COMMENT ON COLUMN report.balance_current.confirmed_until IS 'When the hub last confirmed the account''s state: until then the state was unchanged.';
COMMENT ON COLUMN report.balance_current.certainty IS 'in_gap: something may have been missed, and no snapshot has confirmed the balances since. last_known: the last confirmation is older than two intervals, or a confirmation is pending. confirmed: neither.';
COMMENT ON COLUMN report.balance_current.pending_confirmations IS 'Snapshots that contradict what is shown and wait for confirmation: see report.confirmation.';
COMMENT ON COLUMN report.balance_current.is_former IS 'The key of this user is no longer in use: for two intervals the hub has confirmed another user only. Leave it out of sums.';
COMMENT ON COLUMN report.balance_current.current_exposure IS 'Exposure in base_currency; null if the hub does not send it.';
COMMENT ON COLUMN report.balance_current.max_exposure IS 'Limit of the exposure in base_currency.';
COMMENT ON COLUMN report.balance_current.base_currency IS 'Currency of the exposure figures.';
COMMENT ON COLUMN report.balance_current.exposure_observed_at IS 'Since when the exposure is as shown.';
