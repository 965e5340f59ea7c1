CREATE VIEW report.exposure_history AS
SELECT
    e.account,
    e.user_id,
    e.asset,
    e.observed_at,
    (
        SELECT x.observed_at FROM ingest.exposure AS x
        WHERE x.account = e.account AND x.user_id = e.user_id AND x.asset = e.asset
          AND (x.observed_at, x.session_id, x.ordinal, x.position)
              > (e.observed_at, e.session_id, e.ordinal, e.position)
        ORDER BY x.observed_at, x.session_id, x.ordinal, x.position LIMIT 1
    ) AS valid_to,
    e.current_exposure,
    e.max_exposure,
    (
        SELECT t.base_currency FROM ingest.exposure_total AS t
        WHERE t.account = e.account AND t.user_id = e.user_id AND t.observed_at <= e.observed_at
        ORDER BY t.observed_at DESC, t.session_id DESC, t.ordinal DESC, t.position DESC LIMIT 1
    ) AS base_currency,
    e.recorded_at,
    e.session_id,
    e.ordinal,
    e.position
FROM ingest.exposure AS e;

COMMENT ON VIEW report.exposure_history IS
    'How did the exposure of each asset change? One row per change.';
COMMENT ON COLUMN report.exposure_history.observed_at IS 'Receipt of the snapshot from which on the figures are valid.';
COMMENT ON COLUMN report.exposure_history.valid_to IS 'Until when they were superseded; null for the current row.';
COMMENT ON COLUMN report.exposure_history.current_exposure IS 'Exposure in base_currency; null if the hub does not send it.';
COMMENT ON COLUMN report.exposure_history.max_exposure IS 'Limit of the exposure in base_currency.';
COMMENT ON COLUMN report.exposure_history.base_currency IS 'Currency of the exposure figures when they came. It may have changed since without a change of the figures: see report.exposure_total_history.';
COMMENT ON COLUMN report.exposure_history.recorded_at IS 'When the row was stored.';

CREATE VIEW report.exposure_total_history AS
SELECT
    e.account,
    e.user_id,
    e.observed_at,
    (
        SELECT x.observed_at FROM ingest.exposure_total AS x
        WHERE x.account = e.account AND x.user_id = e.user_id
          AND (x.observed_at, x.session_id, x.ordinal, x.position)
              > (e.observed_at, e.session_id, e.ordinal, e.position)
        ORDER BY x.observed_at, x.session_id, x.ordinal, x.position LIMIT 1
    ) AS valid_to,
    e.total_current_exposure,
    e.total_max_exposure,
    e.base_currency,
    e.recorded_at,
    e.session_id,
    e.ordinal,
    e.position
FROM ingest.exposure_total AS e
-- Of what is older, only the currency is kept, without the rows in between.
WHERE NOT EXISTS (
    SELECT FROM ingest.account AS a
    JOIN ingest.exposure_total AS x ON x.account = a.account AND x.user_id = e.user_id
    WHERE a.account = e.account AND x.observed_at <= a.history_from AND x.recorded_at <= a.history_from
      AND (x.observed_at, x.session_id, x.ordinal, x.position)
          > (e.observed_at, e.session_id, e.ordinal, e.position)
);

COMMENT ON VIEW report.exposure_total_history IS
    'How did the exposure of each account change? One row per change.';
COMMENT ON COLUMN report.exposure_total_history.observed_at IS 'Receipt of the snapshot from which on the figures are valid.';
COMMENT ON COLUMN report.exposure_total_history.valid_to IS 'Until when they were superseded; null for the current row.';
COMMENT ON COLUMN report.exposure_total_history.total_current_exposure IS 'Exposure of the whole account, in base_currency.';
COMMENT ON COLUMN report.exposure_total_history.total_max_exposure IS 'Limit of the exposure of the whole account, in base_currency.';
COMMENT ON COLUMN report.exposure_total_history.base_currency IS 'Currency of the exposure figures.';
COMMENT ON COLUMN report.exposure_total_history.recorded_at IS 'When the row was stored.';

CREATE FUNCTION report.exposure_as_of(ts timestamptz, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    account text, user_id text, asset text, as_of timestamptz, current_exposure numeric, max_exposure numeric,
    base_currency text, observed_at timestamptz, confirmed_until timestamptz, certainty text, is_former boolean,
    epoch integer, sequence bigint, revision integer, session_id uuid, ordinal bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        s.account, s.user_id, k.asset, s.as_of, e.current_exposure, e.max_exposure,
        -- As of the moment: the currency may have changed since the figure was received.
        CASE WHEN e.observed_at IS NOT NULL THEN (
            SELECT x.base_currency
            FROM report.exposure_total_history AS x
            WHERE x.account = s.account AND x.user_id = s.user_id
              AND x.observed_at <= least(ts, known_at) AND x.recorded_at <= known_at
            ORDER BY x.observed_at DESC, x.session_id DESC, x.ordinal DESC, x.position DESC
            LIMIT 1
        ) END,
        e.observed_at, s.confirmed_until,
        -- It changes with prices and has no sequence, so a later confirmation of the balances does not confirm it.
        CASE
            WHEN s.certainty IS NULL THEN NULL
            WHEN e.observed_at IS NULL THEN 'before_first'
            WHEN s.certainty = 'in_gap' THEN 'in_gap'
            WHEN e.observed_at = s.as_of THEN s.certainty
            ELSE 'last_known'
        END,
        s.is_former, s.epoch, s.sequence, s.revision, e.session_id, e.ordinal
    FROM report.stream_as_of(ts, known_at) AS s
    JOIN report.asset AS k ON k.account = s.account AND k.user_id = s.user_id
    LEFT JOIN LATERAL (
        SELECT x.current_exposure, x.max_exposure, x.observed_at, x.session_id, x.ordinal
        FROM report.exposure_history AS x
        WHERE x.account = k.account AND x.user_id = k.user_id AND x.asset = k.asset
          AND x.observed_at <= least(ts, known_at) AND x.recorded_at <= known_at AND s.observed_at IS NOT NULL
        ORDER BY x.observed_at DESC, x.session_id DESC, x.ordinal DESC, x.position DESC
        LIMIT 1
    ) AS e ON true
    WHERE s.kind = 'balances';
END;
COMMENT ON FUNCTION report.exposure_as_of(timestamptz, timestamptz) IS
    'What was the exposure of each asset at a moment, as known at another moment? It changes with prices and without a sequence number, so a moment between two snapshots is last_known at best.
as_of: The moment.
observed_at: Receipt of the snapshot with these figures.
confirmed_until: When the hub last confirmed the balances of that version; it says nothing of prices.
certainty: last_known: the newest figures before the moment. confirmed: a snapshot brought them at that very moment. in_gap: the moment lies in a gap. before_first: none had been seen yet.';

CREATE FUNCTION report.exposure_total_as_of(ts timestamptz, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    account text, user_id text, as_of timestamptz, total_current_exposure numeric, total_max_exposure numeric,
    base_currency text, observed_at timestamptz, confirmed_until timestamptz, certainty text, is_former boolean,
    epoch integer, sequence bigint, revision integer, session_id uuid, ordinal bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        s.account, s.user_id, s.as_of, e.total_current_exposure, e.total_max_exposure, e.base_currency,
        e.observed_at, s.confirmed_until,
        CASE
            WHEN s.certainty IS NULL THEN NULL
            WHEN e.observed_at IS NULL THEN 'before_first'
            WHEN s.certainty = 'in_gap' THEN 'in_gap'
            WHEN e.observed_at = s.as_of THEN s.certainty
            ELSE 'last_known'
        END,
        s.is_former, s.epoch, s.sequence, s.revision, e.session_id, e.ordinal
    FROM report.stream_as_of(ts, known_at) AS s
    LEFT JOIN LATERAL (
        SELECT x.*
        FROM report.exposure_total_history AS x
        WHERE x.account = s.account AND x.user_id = s.user_id
          AND x.observed_at <= least(ts, known_at) AND x.recorded_at <= known_at AND s.observed_at IS NOT NULL
        ORDER BY x.observed_at DESC, x.session_id DESC, x.ordinal DESC, x.position DESC
        LIMIT 1
    ) AS e ON true
    WHERE s.kind = 'balances';
END;
COMMENT ON FUNCTION report.exposure_total_as_of(timestamptz, timestamptz) IS
    'What was the exposure of each account at a moment, as known at another moment?
as_of: The moment.
observed_at: Receipt of the snapshot with these figures.
confirmed_until: When the hub last confirmed the balances of that version; it says nothing of prices.
certainty: As in report.exposure_as_of.';
