CREATE VIEW report.pair_history AS
SELECT
    p.account,
    p.name,
    p.asset,
    p.currency,
    p.min_size,
    p.max_size,
    p.min_quote_size,
    p.max_quote_size,
    p.listed,
    p.valid_from,
    (
        SELECT x.valid_from FROM ingest.pair AS x
        WHERE x.account = p.account AND x.name = p.name
          AND (x.valid_from, x.epoch, x.sequence, x.revision) > (p.valid_from, p.epoch, p.sequence, p.revision)
        ORDER BY x.valid_from, x.epoch, x.sequence, x.revision LIMIT 1
    ) AS valid_to,
    p.valid_from AS observed_at,
    v.previous_confirmed_until,
    p.epoch,
    p.sequence,
    p.revision,
    v.recorded_at,
    v.session_id,
    v.ordinal
FROM ingest.pair AS p
LEFT JOIN ingest.version AS v
    ON v.account = p.account AND v.kind = 'pairs' AND v.user_id = '' AND v.valid_from = p.valid_from
    AND v.epoch = p.epoch AND v.sequence = p.sequence AND v.revision = p.revision;

COMMENT ON VIEW report.pair_history IS
    'Which pairs were tradable, and within which limits, when? One row per change of a pair.';
COMMENT ON COLUMN report.pair_history.name IS 'Name of the pair, as the hub writes it.';
COMMENT ON COLUMN report.pair_history.asset IS 'Base asset.';
COMMENT ON COLUMN report.pair_history.currency IS 'Quote currency.';
COMMENT ON COLUMN report.pair_history.min_size IS 'Smallest size, in base units.';
COMMENT ON COLUMN report.pair_history.max_size IS 'Largest size, in base units.';
COMMENT ON COLUMN report.pair_history.min_quote_size IS 'Smallest size, in quote units; null if the hub does not send it.';
COMMENT ON COLUMN report.pair_history.max_quote_size IS 'Largest size, in quote units; null if the hub does not send it.';
COMMENT ON COLUMN report.pair_history.listed IS 'False: from here on the pair is missing from the hub''s list.';
COMMENT ON COLUMN report.pair_history.valid_from IS 'From when on this is valid.';
COMMENT ON COLUMN report.pair_history.valid_to IS 'Until when it was superseded; null for the current row.';
COMMENT ON COLUMN report.pair_history.observed_at IS 'Receipt of the list with these limits.';
COMMENT ON COLUMN report.pair_history.previous_confirmed_until IS 'When the list before was last confirmed: the change lies between that and valid_from.';
COMMENT ON COLUMN report.pair_history.epoch IS 'Always 1: pair lists have no counter of the hub''s.';
COMMENT ON COLUMN report.pair_history.sequence IS 'Our own count of pair lists that differed.';
COMMENT ON COLUMN report.pair_history.revision IS 'Always 0: lists have no number of the hub''s.';
COMMENT ON COLUMN report.pair_history.recorded_at IS 'When the list was stored.';
