CREATE VIEW report.sequence_steps AS
SELECT
    account,
    user_id,
    origin,
    step,
    versions,
    round(versions / sum(versions) OVER (PARTITION BY account, user_id, origin), 4) AS share
FROM (
    SELECT w.account, w.user_id, v.origin, v.passed_over + 1 AS step, count(*) AS versions
    FROM ingest.watermark AS w
    CROSS JOIN LATERAL (
        SELECT v.origin, v.passed_over, v.epoch, v.sequence, v.revision
        FROM ingest.version AS v
        WHERE v.account = w.account AND v.kind = w.kind AND v.user_id = w.user_id
        ORDER BY v.valid_from DESC, v.epoch DESC, v.sequence DESC, v.revision DESC
        LIMIT 10000
    ) AS v
    -- The first version of an epoch has no number before it, and another content with the same number is no step.
    LEFT JOIN ingest.epoch AS e
        ON e.account = w.account AND e.kind = w.kind AND e.user_id = w.user_id AND e.epoch = v.epoch
        AND e.first_sequence = v.sequence
    WHERE w.kind = 'balances' AND v.revision = 0 AND e.epoch IS NULL
    GROUP BY w.account, w.user_id, v.origin, v.passed_over
) AS counted;

COMMENT ON VIEW report.sequence_steps IS
    'By how much does the hub''s counter rise from one snapshot to the next? Of the newest 10,000 versions of each user. If pushes only ever rise by 1, the setting sequence.step = "contiguous" makes each skip a gap.';
COMMENT ON COLUMN report.sequence_steps.origin IS 'pushed: the hub sent the snapshot by itself. answered: it answers one of our requests.';
COMMENT ON COLUMN report.sequence_steps.step IS 'Difference to the number before; 1: no number was skipped.';
COMMENT ON COLUMN report.sequence_steps.versions IS 'How many versions came with this step.';
COMMENT ON COLUMN report.sequence_steps.share IS 'Their share among the versions of this user and origin.';
