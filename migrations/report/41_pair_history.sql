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
    lead(p.valid_from) OVER following AS valid_to,
    p.sequence
FROM ingest.pair AS p
WINDOW following AS (
    PARTITION BY p.account, p.name ORDER BY p.valid_from, p.epoch, p.sequence, p.revision
);

COMMENT ON VIEW report.pair_history IS
    'Which pairs were tradable, and within which limits, when? One row per change of a pair.';
COMMENT ON COLUMN report.pair_history.account IS 'Name of the account.';
COMMENT ON COLUMN report.pair_history.name IS 'Name of the pair, as the hub writes it.';
COMMENT ON COLUMN report.pair_history.asset IS 'Base asset.';
COMMENT ON COLUMN report.pair_history.currency IS 'Quote currency.';
COMMENT ON COLUMN report.pair_history.min_size IS 'Smallest size, in base units.';
COMMENT ON COLUMN report.pair_history.max_size IS 'Largest size, in base units.';
COMMENT ON COLUMN report.pair_history.min_quote_size IS 'Smallest size, in quote units; null where the hub does not tell.';
COMMENT ON COLUMN report.pair_history.max_quote_size IS 'Largest size, in quote units; null where the hub does not tell.';
COMMENT ON COLUMN report.pair_history.listed IS 'False: from here on the pair is missing from the hub''s list.';
COMMENT ON COLUMN report.pair_history.valid_from IS 'From when on this holds.';
COMMENT ON COLUMN report.pair_history.valid_to IS 'Until when it was superseded; null for the current row.';
COMMENT ON COLUMN report.pair_history.sequence IS 'Our own count of pair lists that differed.';
