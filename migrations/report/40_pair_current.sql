-- A loose index scan, as for the assets.
CREATE VIEW report.known_pair AS
SELECT w.account, known.name
FROM ingest.watermark AS w
CROSS JOIN LATERAL (
    WITH RECURSIVE known AS (
        (SELECT p.name FROM ingest.pair AS p WHERE p.account = w.account ORDER BY p.name LIMIT 1)
        UNION ALL
        SELECT (
            SELECT p.name FROM ingest.pair AS p
            WHERE p.account = w.account AND p.name > known.name ORDER BY p.name LIMIT 1
        )
        FROM known
        WHERE known.name IS NOT NULL
    )
    SELECT name FROM known WHERE name IS NOT NULL
) AS known
WHERE w.kind = 'pairs';

COMMENT ON VIEW report.known_pair IS
    'Which pairs have ever been listed?';
COMMENT ON COLUMN report.known_pair.name IS 'Name of the pair, as the hub writes it.';

CREATE VIEW report.pair_current AS
SELECT
    known.account,
    known.name,
    p.asset,
    p.currency,
    p.min_size,
    p.max_size,
    p.min_quote_size,
    p.max_quote_size,
    p.valid_from,
    s.valid_from AS observed_at,
    s.confirmed_until,
    s.certainty,
    s.pending_confirmations,
    s.epoch,
    s.sequence,
    s.revision
FROM report.known_pair AS known
JOIN report.stream AS s ON s.account = known.account AND s.kind = 'pairs'
CROSS JOIN LATERAL (
    SELECT x.*
    FROM ingest.pair AS x
    WHERE x.account = known.account AND x.name = known.name
    ORDER BY x.valid_from DESC, x.epoch DESC, x.sequence DESC, x.revision DESC
    LIMIT 1
) AS p
WHERE p.listed;

COMMENT ON VIEW report.pair_current IS
    'Which pairs can be traded now, and within which limits?';
COMMENT ON COLUMN report.pair_current.name IS 'Name of the pair, as the hub writes it.';
COMMENT ON COLUMN report.pair_current.asset IS 'Base asset.';
COMMENT ON COLUMN report.pair_current.currency IS 'Quote currency.';
COMMENT ON COLUMN report.pair_current.min_size IS 'Smallest size, in base units.';
COMMENT ON COLUMN report.pair_current.max_size IS 'Largest size, in base units.';
COMMENT ON COLUMN report.pair_current.min_quote_size IS 'Smallest size, in quote units; null if the hub does not send it.';
COMMENT ON COLUMN report.pair_current.max_quote_size IS 'Largest size, in quote units; null if the hub does not send it.';
COMMENT ON COLUMN report.pair_current.valid_from IS 'Since when the limits are as shown.';
COMMENT ON COLUMN report.pair_current.observed_at IS 'Receipt of the newest list that differed from the one before.';
COMMENT ON COLUMN report.pair_current.confirmed_until IS 'When the hub last sent the same list.';
COMMENT ON COLUMN report.pair_current.certainty IS 'in_gap: something may have been missed, and no list has confirmed the pairs since. last_known: the last confirmation is older than two intervals, or a confirmation is pending. confirmed: neither.';
COMMENT ON COLUMN report.pair_current.pending_confirmations IS 'Lists that contradict what is shown and wait for confirmation: see report.confirmation.';
COMMENT ON COLUMN report.pair_current.sequence IS 'Our own count of lists that differed.';
COMMENT ON COLUMN report.pair_current.revision IS 'Always 0: lists have no number of the hub''s.';
