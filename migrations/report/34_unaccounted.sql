CREATE VIEW report.unaccounted AS
SELECT
    account,
    session_id,
    opened_at,
    coalesce(received, committed_ordinal) - committed_records - dropped_records AS records
FROM ingest.session
WHERE coalesce(received, committed_ordinal) <> committed_records + dropped_records
  AND (closed_at IS NULL OR ending <> 'link_lost' OR closed_at < clock_timestamp() - interval '1 minute');

COMMENT ON VIEW report.unaccounted IS
    'Must return no rows: sessions with records that are neither stored nor counted as dropped (I1).';
COMMENT ON COLUMN report.unaccounted.session_id IS 'The session.';
COMMENT ON COLUMN report.unaccounted.opened_at IS 'When it was opened.';
COMMENT ON COLUMN report.unaccounted.records IS 'How many records are unaccounted for.';
