CREATE FUNCTION report.vendor_latency_daily(first_day date, last_day date, zone text)
RETURNS TABLE (
    day date, account text, command text, requests bigint, answered bigint, unanswered bigint, refused bigint,
    median_ms numeric, p95_ms numeric, p99_ms numeric, max_ms numeric
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        d.day::date, r.account, r.command, count(*),
        count(*) FILTER (WHERE r.outcome = 'answered'),
        count(*) FILTER (WHERE r.outcome = 'timed_out'),
        count(*) FILTER (WHERE r.outcome = 'refused'),
        percentile_disc(0.5) WITHIN GROUP (ORDER BY round(1000 * extract(epoch FROM r.latency), 3)),
        percentile_disc(0.95) WITHIN GROUP (ORDER BY round(1000 * extract(epoch FROM r.latency), 3)),
        percentile_disc(0.99) WITHIN GROUP (ORDER BY round(1000 * extract(epoch FROM r.latency), 3)),
        max(round(1000 * extract(epoch FROM r.latency), 3))
    FROM report.account AS a
    CROSS JOIN generate_series(
        CASE WHEN isfinite(first_day) THEN first_day::timestamp END,
        least(last_day::timestamp, now() AT TIME ZONE zone),
        interval '1 day'
    ) AS d (day)
    JOIN report.request AS r
        ON r.account = a.account AND r.requested_at >= report.local_moment(d.day, zone)
        AND r.requested_at < report.local_moment(d.day + interval '1 day', zone)
    GROUP BY d.day, r.account, r.command;
END;
COMMENT ON FUNCTION report.vendor_latency_daily(date, date, text) IS
    'How fast did the hub answer on each local day, and how often did it not answer?
day: The local day on which the requests were sent.
requests: How many were sent.
answered: How many were answered.
unanswered: How many got no answer in time.
refused: How many the hub refused.
median_ms: Half of the answers came within so many milliseconds.
p95_ms: 95 of 100 answers came within so many milliseconds.
p99_ms: 99 of 100 answers came within so many milliseconds.
max_ms: The slowest answer, in milliseconds.';

CREATE VIEW report.dead_letter_summary AS
SELECT
    account, stage, reason, subject, count(*) AS dead_letters, sum(occurrences) AS occurrences,
    min(received_at) AS first_received_at, max(last_received_at) AS last_received_at,
    (array_agg(detail ORDER BY last_received_at DESC))[1] AS newest_detail
FROM ingest.dead_letter
GROUP BY account, stage, reason, subject;

COMMENT ON VIEW report.dead_letter_summary IS
    'Which events could not be applied, by reason?';
COMMENT ON COLUMN report.dead_letter_summary.stage IS 'decode or store.';
COMMENT ON COLUMN report.dead_letter_summary.reason IS 'One word of a fixed set.';
COMMENT ON COLUMN report.dead_letter_summary.subject IS 'Subject of the envelope, where readable.';
COMMENT ON COLUMN report.dead_letter_summary.dead_letters IS 'Rows in report.dead_letter.';
COMMENT ON COLUMN report.dead_letter_summary.occurrences IS 'Events; a cause that occurs again while its gap is open has one row.';
COMMENT ON COLUMN report.dead_letter_summary.first_received_at IS 'Receipt of the first of them.';
COMMENT ON COLUMN report.dead_letter_summary.last_received_at IS 'Receipt of the last of them.';
COMMENT ON COLUMN report.dead_letter_summary.newest_detail IS 'Place and description of the fault, of the last of them.';

CREATE VIEW report.data_quality AS
SELECT account, 'records_unaccounted' AS problem, records || ' in session ' || session_id AS detail
FROM report.unaccounted
UNION ALL
SELECT account, 'time_in_the_future', kind || ' ' || user_id || ' confirmed until ' || confirmed_until
FROM ingest.watermark
WHERE greatest(valid_from, confirmed_until) > statement_timestamp() + interval '2 seconds'
UNION ALL
SELECT account, 'process_silent', 'last heartbeat ' || heartbeat_at
FROM ingest.heartbeat
WHERE stopped_at IS NULL AND heartbeat_at < statement_timestamp() - interval '30 seconds'
UNION ALL
-- A stop is reported for a week, from 15 minutes on; after that the account counts as retired.
SELECT account, 'process_stopped', 'since ' || stopped_at
FROM ingest.heartbeat
WHERE stopped_at BETWEEN statement_timestamp() - interval '7 days' AND statement_timestamp() - interval '15 minutes'
UNION ALL
SELECT g.account, 'gap_open', g.kind || ', ' || g.cause || ', since ' || g.missed_from
FROM ingest.gap AS g
JOIN ingest.heartbeat AS h ON h.account = g.account AND h.stopped_at IS NULL
WHERE g.ended_at IS NULL AND g.opened_at < statement_timestamp() - interval '5 minutes'
  AND NOT EXISTS (
      SELECT FROM report.stream AS s
      WHERE s.account = g.account AND s.user_id = g.user_id AND s.kind = ANY (g.affects) AND s.is_former
  )
UNION ALL
SELECT c.account, 'confirmation_pending', c.reason || ' of ' || c.kind || ' since ' || c.raised_at
FROM ingest.confirmation AS c
WHERE c.resolution IS NULL
UNION ALL
SELECT s.account, 'stale', s.kind || ' ' || s.user_id || ' confirmed until ' || s.confirmed_until
FROM report.stream AS s
JOIN ingest.heartbeat AS h ON h.account = s.account AND h.stopped_at IS NULL
WHERE NOT s.is_former AND s.confirmed_until < statement_timestamp() - 2 * s.expected_every
UNION ALL
SELECT account, 'record_deleted', user_id || ', sequence ' || sequence
FROM report.stream
WHERE deleted AND NOT is_former
UNION ALL
SELECT account, 'several_users', string_agg(user_id, ', ' ORDER BY user_id)
FROM report.stream
WHERE kind = 'balances' AND NOT is_former
GROUP BY account
HAVING count(*) > 1
UNION ALL
SELECT w.account, 'watermark_without_version', w.kind || ' ' || w.user_id || ', sequence ' || w.sequence
FROM ingest.watermark AS w
WHERE NOT EXISTS (
    SELECT FROM ingest.version AS v
    WHERE v.account = w.account AND v.kind = w.kind AND v.user_id = w.user_id AND v.valid_from = w.valid_from
      AND v.epoch = w.epoch AND v.sequence = w.sequence AND v.revision = w.revision
);

COMMENT ON VIEW report.data_quality IS
    'Must return no rows: problems that an operator must examine before the figures are used.';
COMMENT ON COLUMN report.data_quality.problem IS 'Name of the check.';
COMMENT ON COLUMN report.data_quality.detail IS 'What it found.';

CREATE VIEW report.size AS
SELECT
    c.relname::text AS "table",
    sum(greatest(part.reltuples, 0)) FILTER (WHERE part.relkind = 'r')::bigint AS estimated_rows,
    sum(pg_table_size(part.oid))::bigint AS table_bytes,
    sum(pg_indexes_size(part.oid))::bigint AS index_bytes,
    sum(pg_total_relation_size(part.oid))::bigint AS total_bytes
FROM pg_class AS c
JOIN pg_class AS part
    ON part.oid = c.oid OR part.oid IN (SELECT i.inhrelid FROM pg_inherits AS i WHERE i.inhparent = c.oid)
WHERE c.relnamespace = 'ingest'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND c.relname <> 'alembic_version'
GROUP BY c.relname;

COMMENT ON VIEW report.size IS
    'How much space does each table of the private schema take?';
COMMENT ON COLUMN report.size."table" IS 'Name of the table.';
COMMENT ON COLUMN report.size.estimated_rows IS 'Rows, as of the last VACUUM or ANALYZE.';
COMMENT ON COLUMN report.size.table_bytes IS 'Bytes of its rows.';
COMMENT ON COLUMN report.size.index_bytes IS 'Bytes of its indexes.';
COMMENT ON COLUMN report.size.total_bytes IS 'table_bytes + index_bytes.';
