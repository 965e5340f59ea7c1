CREATE VIEW report.epoch AS
SELECT
    account, kind, user_id, epoch, opened_at, cause, first_sequence, previous_sequence, stale_snapshots,
    first_stale_at, evidence, first_evidence_session_id, first_evidence_ordinal, last_evidence_session_id,
    last_evidence_ordinal
FROM ingest.epoch;

COMMENT ON VIEW report.epoch IS
    'When did the hub''s counter begin, or begin again, and what is the evidence?';
COMMENT ON COLUMN report.epoch.kind IS 'balances or pairs.';
COMMENT ON COLUMN report.epoch.epoch IS 'Number of the epoch, from 1.';
COMMENT ON COLUMN report.epoch.opened_at IS 'Receipt of the event that opened it.';
COMMENT ON COLUMN report.epoch.cause IS 'first_seen or suspected_server_reset.';
COMMENT ON COLUMN report.epoch.first_sequence IS 'First sequence of the epoch.';
COMMENT ON COLUMN report.epoch.previous_sequence IS 'Last sequence of the epoch before.';
COMMENT ON COLUMN report.epoch.stale_snapshots IS 'Snapshots of the lower counter that came before the epoch was opened and were not applied, since the last restart of the daemon; they are in ingest.event_outcome as stale.';
COMMENT ON COLUMN report.epoch.first_stale_at IS 'Receipt of the first of them.';
COMMENT ON COLUMN report.epoch.evidence IS 'How many answers showed the lower counter.';
COMMENT ON COLUMN report.epoch.first_evidence_session_id IS 'Session of the first of them.';
COMMENT ON COLUMN report.epoch.first_evidence_ordinal IS 'Ordinal of the first of them.';
COMMENT ON COLUMN report.epoch.last_evidence_session_id IS 'Session of the last of them.';
COMMENT ON COLUMN report.epoch.last_evidence_ordinal IS 'Ordinal of the last of them.';
