CREATE VIEW report.epoch AS
SELECT
    account, kind, user_id, epoch, opened_at, cause, first_sequence, previous_sequence, witnesses,
    first_witness_session_id, first_witness_ordinal, last_witness_session_id, last_witness_ordinal
FROM ingest.epoch;

COMMENT ON VIEW report.epoch IS
    'When did the hub''s counter begin, or begin again, and who saw it?';
COMMENT ON COLUMN report.epoch.account IS 'Name of the account.';
COMMENT ON COLUMN report.epoch.kind IS 'balances or pairs.';
COMMENT ON COLUMN report.epoch.user_id IS 'The hub''s user.';
COMMENT ON COLUMN report.epoch.epoch IS 'Number of the epoch, from 1.';
COMMENT ON COLUMN report.epoch.opened_at IS 'Receipt of the event that opened it.';
COMMENT ON COLUMN report.epoch.cause IS 'first_seen or suspected_server_reset.';
COMMENT ON COLUMN report.epoch.first_sequence IS 'First sequence of the epoch.';
COMMENT ON COLUMN report.epoch.previous_sequence IS 'Where the epoch before stood.';
COMMENT ON COLUMN report.epoch.witnesses IS 'How many events showed the lower counter.';
COMMENT ON COLUMN report.epoch.first_witness_session_id IS 'Session of the first of them.';
COMMENT ON COLUMN report.epoch.first_witness_ordinal IS 'Ordinal of the first of them.';
COMMENT ON COLUMN report.epoch.last_witness_session_id IS 'Session of the last of them.';
COMMENT ON COLUMN report.epoch.last_witness_ordinal IS 'Ordinal of the last of them.';
