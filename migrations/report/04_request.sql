CREATE VIEW report.request AS
SELECT
    account, request_id, command, cause, attempt, argument_form, session_id, requested_at, outcome, ended_at,
    CASE WHEN outcome = 'answered' THEN ended_at - requested_at END AS latency, answer_ordinal, error, recorded_at,
    CASE WHEN ended_at IS NOT NULL THEN end_recorded_at END AS end_recorded_at,
    (
        SELECT e.user_id
        FROM ingest.event_outcome AS e
        WHERE e.account = r.account AND e.session_id = r.session_id AND e.ordinal = r.answer_ordinal
          AND e.request_id = r.request_id::text
        LIMIT 1
    ) AS answer_user_id,
    (
        SELECT e.outcome = 'duplicate'
        FROM ingest.event_outcome AS e
        WHERE e.account = r.account AND e.session_id = r.session_id AND e.ordinal = r.answer_ordinal
          AND e.request_id = r.request_id::text
        LIMIT 1
    ) AS is_repeat
FROM ingest.request AS r;

COMMENT ON VIEW report.request IS
    'What was requested from the hub, why, and how did the request end?';
COMMENT ON COLUMN report.request.request_id IS 'Correlation id.';
COMMENT ON COLUMN report.request.command IS 'GetBalances or GetPairs.';
COMMENT ON COLUMN report.request.cause IS 'Why it was sent, one word of a fixed set.';
COMMENT ON COLUMN report.request.attempt IS '1 for the first try.';
COMMENT ON COLUMN report.request.argument_form IS 'positional or nested.';
COMMENT ON COLUMN report.request.session_id IS 'Session in which it was sent.';
COMMENT ON COLUMN report.request.requested_at IS 'Just before it was sent.';
COMMENT ON COLUMN report.request.outcome IS 'How it ended, one word of a fixed set; null while open.';
COMMENT ON COLUMN report.request.ended_at IS 'Receipt of the answer, or when the request was abandoned.';
COMMENT ON COLUMN report.request.latency IS 'From sending it to the receipt of the answer.';
COMMENT ON COLUMN report.request.answer_ordinal IS 'Ordinal of the record that answered.';
COMMENT ON COLUMN report.request.answer_user_id IS 'The hub''s user that the answer is about; empty for pairs, null if its record is no longer stored.';
COMMENT ON COLUMN report.request.is_repeat IS 'The answer said the same as was known, and so confirmed it. Null if its record is no longer stored.';
COMMENT ON COLUMN report.request.error IS 'The hub''s text, if it refused.';
COMMENT ON COLUMN report.request.recorded_at IS 'When the row was first stored.';
COMMENT ON COLUMN report.request.end_recorded_at IS 'When its end was stored; null while it is open.';
