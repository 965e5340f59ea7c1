CREATE FUNCTION report.pair_as_of(ts timestamptz, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    account text, name text, as_of timestamptz, asset text, currency text, min_size numeric, max_size numeric,
    min_quote_size numeric, max_quote_size numeric, listed boolean, valid_from timestamptz, observed_at timestamptz,
    confirmed_until timestamptz, certainty text, epoch integer, sequence bigint, revision integer
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        s.account, k.name, s.as_of, p.asset, p.currency, p.min_size, p.max_size, p.min_quote_size, p.max_quote_size,
        p.listed, p.valid_from, s.observed_at, s.confirmed_until,
        CASE WHEN p.valid_from IS NULL AND s.certainty IS NOT NULL THEN 'before_first' ELSE s.certainty END,
        s.epoch, s.sequence, s.revision
    FROM report.stream_as_of(ts, known_at) AS s
    JOIN report.known_pair AS k ON k.account = s.account
    LEFT JOIN LATERAL (
        SELECT
            h.asset, h.currency, h.min_size, h.max_size, h.min_quote_size, h.max_quote_size, h.listed, h.valid_from
        FROM report.pair_history AS h
        WHERE h.account = k.account AND h.name = k.name
          AND (h.valid_from, h.epoch, h.sequence, h.revision) <= (s.observed_at, s.epoch, s.sequence, s.revision)
        ORDER BY h.valid_from DESC, h.epoch DESC, h.sequence DESC, h.revision DESC
        LIMIT 1
    ) AS p ON true
    WHERE s.kind = 'pairs';
END;
COMMENT ON FUNCTION report.pair_as_of(timestamptz, timestamptz) IS
    'Which pairs could be traded at a moment, and within which limits, as known at another moment? A row for each pair ever listed; the limits are null if it had not been listed yet.
as_of: The moment.
listed: False: the pair was missing from the hub''s list.
valid_from: Since when the limits were as shown.
observed_at: Receipt of the list that held.
certainty: confirmed: the hub sent this list again at or after the moment. last_known: it did not, or a confirmation was pending. in_gap: the moment lies in a gap, before the list that confirmed the state. before_first: the pair had not been listed yet.';

-- The text of a numeric includes its scale, which is no change: hence the trim.
CREATE VIEW report.pair_change AS
SELECT
    h.account, h.name, h.valid_from AS changed_at, h.previous_confirmed_until, changed.field, changed.before,
    changed.after, b.valid_from IS NULL AS is_first, h.epoch, h.sequence, h.revision
FROM report.pair_history AS h
LEFT JOIN LATERAL (
    SELECT x.*
    FROM report.pair_history AS x
    WHERE x.account = h.account AND x.name = h.name
      AND (x.valid_from, x.epoch, x.sequence, x.revision) < (h.valid_from, h.epoch, h.sequence, h.revision)
    ORDER BY x.valid_from DESC, x.epoch DESC, x.sequence DESC, x.revision DESC
    LIMIT 1
) AS b ON true
CROSS JOIN LATERAL (
    VALUES
        ('listed', b.listed::text, h.listed::text),
        ('asset', b.asset, h.asset),
        ('currency', b.currency, h.currency),
        ('min_size', trim_scale(b.min_size)::text, trim_scale(h.min_size)::text),
        ('max_size', trim_scale(b.max_size)::text, trim_scale(h.max_size)::text),
        ('min_quote_size', trim_scale(b.min_quote_size)::text, trim_scale(h.min_quote_size)::text),
        ('max_quote_size', trim_scale(b.max_quote_size)::text, trim_scale(h.max_quote_size)::text)
) AS changed (field, before, after)
WHERE changed.before IS DISTINCT FROM changed.after;

COMMENT ON VIEW report.pair_change IS
    'Which limit of which pair changed when, from what to what? One row per change of a field.';
COMMENT ON COLUMN report.pair_change.name IS 'Name of the pair, as the hub writes it.';
COMMENT ON COLUMN report.pair_change.changed_at IS 'Receipt of the list that contained the change.';
COMMENT ON COLUMN report.pair_change.previous_confirmed_until IS 'When the list before was last confirmed: the change lies between that and changed_at.';
COMMENT ON COLUMN report.pair_change.field IS 'What changed: listed, asset, currency, min_size, max_size, min_quote_size or max_quote_size.';
COMMENT ON COLUMN report.pair_change.before IS 'Its value before, as text with every digit; null if the hub did not send it, or the pair was new.';
COMMENT ON COLUMN report.pair_change.after IS 'Its value from then on, as text with every digit.';
COMMENT ON COLUMN report.pair_change.is_first IS 'The pair had not been seen before.';
COMMENT ON COLUMN report.pair_change.epoch IS 'Always 1: pair lists have no counter of the hub''s.';
COMMENT ON COLUMN report.pair_change.sequence IS 'Our own count of lists that differed.';
COMMENT ON COLUMN report.pair_change.revision IS 'Always 0: lists have no number of the hub''s.';
