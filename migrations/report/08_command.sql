CREATE VIEW report.command AS
SELECT
    account, command_id, command, cause, attempt, argument_form, session_id, asked_at, outcome, settled_at,
    CASE WHEN outcome = 'answered' THEN settled_at - asked_at END AS latency, answer_ordinal, error
FROM ingest.command;

COMMENT ON VIEW report.command IS
    'What did we ask the hub, why, and how did it answer?';
COMMENT ON COLUMN report.command.account IS 'Name of the account.';
COMMENT ON COLUMN report.command.command_id IS 'Correlation id.';
COMMENT ON COLUMN report.command.command IS 'GetBalances or GetPairs.';
COMMENT ON COLUMN report.command.cause IS 'link_up, schedule, overdue, gap, suspicion, undecodable or retry.';
COMMENT ON COLUMN report.command.attempt IS '1 for the first try.';
COMMENT ON COLUMN report.command.argument_form IS 'positional or nested.';
COMMENT ON COLUMN report.command.session_id IS 'Session in which it was asked.';
COMMENT ON COLUMN report.command.asked_at IS 'Just before it was sent.';
COMMENT ON COLUMN report.command.outcome IS 'answered, refused, timed_out, unsent or link_lost; null while open.';
COMMENT ON COLUMN report.command.settled_at IS 'Receipt of the answer, or when it was given up.';
COMMENT ON COLUMN report.command.latency IS 'From asking to the receipt of the answer.';
COMMENT ON COLUMN report.command.answer_ordinal IS 'Ordinal of the record that answered.';
COMMENT ON COLUMN report.command.error IS 'The hub''s text where it refused.';
