CREATE VIEW report.session AS
SELECT
    account, session_id, opened_at, closed_at, coalesce(closed_at, statement_timestamp()) - opened_at AS duration,
    ending, cause, detail, attempts, connection_errors, url, software_version, clock_offset_seconds, last_message_at,
    received, committed_records, dropped_records, last_received_at
FROM ingest.session;

COMMENT ON VIEW report.session IS
    'Which sessions with the hub were there, and how did they end?';
COMMENT ON COLUMN report.session.session_id IS 'Identity; sorts by time.';
COMMENT ON COLUMN report.session.opened_at IS 'When the hub answered the handshake.';
COMMENT ON COLUMN report.session.closed_at IS 'When it ended; null while open.';
COMMENT ON COLUMN report.session.duration IS 'Its duration, so far.';
COMMENT ON COLUMN report.session.ending IS 'clean, link_lost or unclean; null while open.';
COMMENT ON COLUMN report.session.cause IS 'What ended it.';
COMMENT ON COLUMN report.session.detail IS 'Details of the cause, as text.';
COMMENT ON COLUMN report.session.attempts IS 'Connection attempts until it was opened.';
COMMENT ON COLUMN report.session.connection_errors IS 'Causes of the attempts that failed before.';
COMMENT ON COLUMN report.session.url IS 'Address of the hub.';
COMMENT ON COLUMN report.session.software_version IS 'Version of the software.';
COMMENT ON COLUMN report.session.clock_offset_seconds IS 'Wall clock of the ingestor''s host minus the database''s clock, when it was opened. Stamps are the database''s.';
COMMENT ON COLUMN report.session.last_message_at IS 'Receipt of the last whole message of the hub; set at the end.';
COMMENT ON COLUMN report.session.received IS 'Records received; set at the end.';
COMMENT ON COLUMN report.session.committed_records IS 'Records stored.';
COMMENT ON COLUMN report.session.dropped_records IS 'Records dropped at a limit.';
COMMENT ON COLUMN report.session.last_received_at IS 'Receipt of the newest stored record.';
