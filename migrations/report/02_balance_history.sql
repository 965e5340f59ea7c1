CREATE VIEW report.balance_history AS
SELECT
    b.account,
    b.user_id,
    b.asset,
    b.valid_from,
    b.valid_to,
    CASE WHEN b.valid_to IS NULL THEN w.confirmed_until ELSE n.previous_confirmed_until END AS confirmed_until,
    b.available,
    b.allocated,
    b.available + b.allocated AS total,
    b.available - b.available_before AS available_change,
    b.allocated - b.allocated_before AS allocated_change,
    b.reported,
    b.epoch,
    b.sequence,
    b.revision,
    v.origin,
    v.passed_over,
    v.previous_confirmed_until,
    v.received_at,
    v.recorded_at,
    v.session_id,
    v.ordinal
FROM (
    SELECT
        balance.*,
        lead(valid_from) OVER following AS valid_to,
        lead(epoch) OVER following AS next_epoch,
        lead(sequence) OVER following AS next_sequence,
        lead(revision) OVER following AS next_revision,
        lag(available, 1, 0) OVER following AS available_before,
        lag(allocated, 1, 0) OVER following AS allocated_before
    FROM ingest.balance
    WINDOW following AS (
        PARTITION BY account, user_id, asset ORDER BY valid_from, epoch, sequence, revision
    )
) AS b
LEFT JOIN ingest.version AS v
    ON v.account = b.account AND v.kind = 'balances' AND v.user_id = b.user_id
    AND v.valid_from = b.valid_from AND v.epoch = b.epoch AND v.sequence = b.sequence
    AND v.revision = b.revision
LEFT JOIN ingest.version AS n
    ON n.account = b.account AND n.kind = 'balances' AND n.user_id = b.user_id
    AND n.valid_from = b.valid_to AND n.epoch = b.next_epoch AND n.sequence = b.next_sequence
    AND n.revision = b.next_revision
LEFT JOIN ingest.watermark AS w
    ON w.account = b.account AND w.kind = 'balances' AND w.user_id = b.user_id;

COMMENT ON VIEW report.balance_history IS
    'How did each balance change? One row per change of an asset, valid from valid_from until valid_to. Changes between two snapshots are seen as one.';
COMMENT ON COLUMN report.balance_history.account IS 'Name of the account.';
COMMENT ON COLUMN report.balance_history.user_id IS 'The hub''s user.';
COMMENT ON COLUMN report.balance_history.asset IS 'Name of the asset, as the hub writes it.';
COMMENT ON COLUMN report.balance_history.valid_from IS 'From when on the amounts hold.';
COMMENT ON COLUMN report.balance_history.valid_to IS 'Until when they were superseded; null for the current row.';
COMMENT ON COLUMN report.balance_history.confirmed_until IS 'Until when they are known to have been so; what lies between this and valid_to was not observed.';
COMMENT ON COLUMN report.balance_history.available IS 'Free amount.';
COMMENT ON COLUMN report.balance_history.allocated IS 'Amount tied to open orders or pending actions.';
COMMENT ON COLUMN report.balance_history.total IS 'available + allocated.';
COMMENT ON COLUMN report.balance_history.available_change IS 'Difference to the row before; to 0 for the first one.';
COMMENT ON COLUMN report.balance_history.allocated_change IS 'Difference to the row before; to 0 for the first one.';
COMMENT ON COLUMN report.balance_history.reported IS 'False: from here on snapshots do not name the asset any more.';
COMMENT ON COLUMN report.balance_history.epoch IS 'Counts how often the hub''s counter was seen to begin again, from 1.';
COMMENT ON COLUMN report.balance_history.sequence IS 'The hub''s number of the snapshot; for pairs our own count.';
COMMENT ON COLUMN report.balance_history.revision IS 'Above 0 where the hub sent different contents under one sequence.';
COMMENT ON COLUMN report.balance_history.origin IS 'pushed: the hub sent the snapshot by itself. answered: it answers a request of ours.';
COMMENT ON COLUMN report.balance_history.passed_over IS 'How many sequence numbers lie between the snapshot before, of whatever asset, and this one.';
COMMENT ON COLUMN report.balance_history.previous_confirmed_until IS 'When the state before it was last confirmed: what lies between that and valid_from was not observed.';
COMMENT ON COLUMN report.balance_history.received_at IS 'Receipt of the snapshot.';
COMMENT ON COLUMN report.balance_history.recorded_at IS 'When the snapshot was stored: what was known at a moment is what was recorded by then.';
COMMENT ON COLUMN report.balance_history.session_id IS 'Session of the record that is the evidence.';
COMMENT ON COLUMN report.balance_history.ordinal IS 'Number of that record in its session.';
