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
    w.confirmed_until
FROM (
    SELECT DISTINCT ON (account, name) *
    FROM ingest.pair
    ORDER BY account, name, valid_from DESC, epoch DESC, sequence DESC, revision DESC
) AS p
JOIN ingest.watermark AS w ON w.account = p.account AND w.kind = 'pairs'
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
