CREATE VIEW report.doubt AS
SELECT
    account, doubt, kind, user_id, sequence, raised_at, resolution, resolved_at, session_id, ordinal, position,
    resolved_by_session_id, resolved_by_ordinal
FROM ingest.doubt;

COMMENT ON VIEW report.doubt IS
    'Which snapshots were not believed at once, and how was that decided?';
COMMENT ON COLUMN report.doubt.account IS 'Name of the account.';
COMMENT ON COLUMN report.doubt.doubt IS 'reset_suspected, conflict or mass_delete.';
COMMENT ON COLUMN report.doubt.kind IS 'balances or pairs.';
COMMENT ON COLUMN report.doubt.user_id IS 'The hub''s user.';
COMMENT ON COLUMN report.doubt.sequence IS 'Sequence of the event in doubt.';
COMMENT ON COLUMN report.doubt.raised_at IS 'Its receipt.';
COMMENT ON COLUMN report.doubt.resolution IS 'confirmed, refuted, superseded or abandoned; null while open.';
COMMENT ON COLUMN report.doubt.resolved_at IS 'When it was decided.';
COMMENT ON COLUMN report.doubt.session_id IS 'Session of the record that is the evidence.';
COMMENT ON COLUMN report.doubt.ordinal IS 'Number of that record in its session.';
COMMENT ON COLUMN report.doubt.position IS 'Index of the event within its record.';
COMMENT ON COLUMN report.doubt.resolved_by_session_id IS 'Session of the event that decided it.';
COMMENT ON COLUMN report.doubt.resolved_by_ordinal IS 'Ordinal of that event.';
