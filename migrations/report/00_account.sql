CREATE VIEW report.account AS
SELECT account, environment, created_at, history_from FROM ingest.account;

COMMENT ON VIEW report.account IS
    'Which accounts are ingested, and in which environment?';
COMMENT ON COLUMN report.account.environment IS 'sandbox, production or custom: one account never mixes two of them.';
COMMENT ON COLUMN report.account.created_at IS 'When the account was first ingested.';
COMMENT ON COLUMN report.account.history_from IS 'Of moments before this one the reports say nothing, because history has been removed; null: none has.';
