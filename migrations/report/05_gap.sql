CREATE VIEW report.gap AS
SELECT
    account,
    kind,
    cause,
    obstacles,
    missed_from,
    missed_until,
    coalesce(missed_until, clock_timestamp()) - missed_from AS duration,
    opened_at,
    ending,
    ended_at,
    ended_at - opened_at AS time_to_end,
    ending IS NULL AS is_open,
    awaiting,
    stream,
    user_id,
    first_missing,
    last_missing,
    last_missing - first_missing + 1 AS size,
    session_id,
    ordinal,
    proof_session_id,
    proof_ordinal
FROM ingest.gap;

COMMENT ON VIEW report.gap IS
    'When may we have missed something, why, and how did it end? A snapshot heals the state, not the history: the row stays.';
COMMENT ON COLUMN report.gap.account IS 'Name of the account.';
COMMENT ON COLUMN report.gap.kind IS 'disconnected, unclean_end (the process died), sequence_skip, shed (dropped by us at a limit) or undecodable.';
COMMENT ON COLUMN report.gap.cause IS 'What broke, one word of a fixed set.';
COMMENT ON COLUMN report.gap.obstacles IS 'Why attempts to come back failed, in order of first appearance.';
COMMENT ON COLUMN report.gap.missed_from IS 'Start of the interval.';
COMMENT ON COLUMN report.gap.missed_until IS 'End of the interval; null while it lasts.';
COMMENT ON COLUMN report.gap.duration IS 'Its length, so far.';
COMMENT ON COLUMN report.gap.opened_at IS 'When it was noticed.';
COMMENT ON COLUMN report.gap.ending IS 'healed: a fresh answer proved the state again. explained: nothing was missed that was ever announced. lost: the hub would not tell. Null while open.';
COMMENT ON COLUMN report.gap.ended_at IS 'When it ended.';
COMMENT ON COLUMN report.gap.time_to_end IS 'From noticing to the end.';
COMMENT ON COLUMN report.gap.is_open IS 'No end yet.';
COMMENT ON COLUMN report.gap.awaiting IS 'Kinds of stream that still need a fresh answer, or, where it was lost, never got one.';
COMMENT ON COLUMN report.gap.stream IS 'balances or pairs, where only one is touched.';
COMMENT ON COLUMN report.gap.user_id IS 'The hub''s user, where only one is touched.';
COMMENT ON COLUMN report.gap.first_missing IS 'First missing sequence (sequence_skip) or ordinal (shed).';
COMMENT ON COLUMN report.gap.last_missing IS 'Last missing one.';
COMMENT ON COLUMN report.gap.size IS 'How many are missing.';
COMMENT ON COLUMN report.gap.session_id IS 'Session in which, or after which, it began.';
COMMENT ON COLUMN report.gap.ordinal IS 'First record that may be missing, or the one that revealed it.';
COMMENT ON COLUMN report.gap.proof_session_id IS 'Session of the event that healed it.';
COMMENT ON COLUMN report.gap.proof_ordinal IS 'Ordinal of that event.';
