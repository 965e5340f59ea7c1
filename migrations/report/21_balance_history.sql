-- The previous and next rows are looked up by the primary key. Window functions would read the whole history first.
CREATE VIEW report.balance_history AS
SELECT
    b.account,
    b.user_id,
    b.asset,
    b.valid_from,
    b.valid_to,
    b.valid_from AS observed_at,
    b.confirmed_until,
    CASE
        WHEN b.valid_to IS NULL THEN b.certainty_now
        WHEN b.confirmed_until >= b.valid_to THEN 'confirmed'
        WHEN b.confirmed_until = b.blind_from THEN 'in_gap'
        ELSE 'last_known'
    END AS certainty,
    b.available,
    b.allocated,
    b.available + b.allocated AS total,
    b.available - b.available_before AS available_change,
    b.allocated - b.allocated_before AS allocated_change,
    b.available + b.allocated - b.available_before - b.allocated_before AS total_change,
    b.reported,
    b.deleted,
    b.is_former,
    b.epoch,
    b.sequence,
    b.revision,
    b.origin,
    b.passed_over,
    b.previous_confirmed_until,
    b.received_at,
    b.recorded_at,
    b.session_id,
    b.ordinal
FROM (
    SELECT
        row.*,
        least(
            row.unproven_from, row.blind_from, row.valid_to, row.latest_confirmation,
            -- A push in a session that began after the last confirmation dates nothing.
            (
                SELECT CASE WHEN o.opened_at > x.previous_confirmed_until THEN x.previous_confirmed_until END
                FROM ingest.version AS x
                JOIN ingest.session AS o ON o.account = x.account AND o.session_id = x.session_id
                WHERE x.account = row.account AND x.kind = 'balances' AND x.user_id = row.user_id
                  AND x.valid_from > row.blind_from
                ORDER BY x.valid_from, x.epoch, x.sequence, x.revision LIMIT 1
            ),
            -- Versions that followed it may have been removed.
            (
                SELECT row.valid_from
                FROM ingest.account AS a
                JOIN ingest.version AS x ON x.account = a.account AND x.kind = 'balances' AND x.user_id = row.user_id
                WHERE a.account = row.account AND x.valid_from <= a.history_from
                  AND (x.valid_from, x.epoch, x.sequence, x.revision)
                      > (row.valid_from, row.epoch, row.sequence, row.revision)
                LIMIT 1
            )
        ) AS confirmed_until
    FROM (
        SELECT
            b.*,
            v.origin, v.passed_over, v.deleted, v.previous_confirmed_until, v.received_at, v.recorded_at,
            v.session_id, v.ordinal,
            s.confirmed_until AS latest_confirmation, s.certainty AS certainty_now, s.is_former,
            (
                SELECT x.valid_from FROM ingest.balance AS x
                WHERE x.account = b.account AND x.user_id = b.user_id AND x.asset = b.asset
                  AND (x.valid_from, x.epoch, x.sequence, x.revision)
                      > (b.valid_from, b.epoch, b.sequence, b.revision)
                ORDER BY x.valid_from, x.epoch, x.sequence, x.revision LIMIT 1
            ) AS valid_to,
            (
                SELECT x.available FROM ingest.balance AS x
                WHERE x.account = b.account AND x.user_id = b.user_id AND x.asset = b.asset
                  AND (x.valid_from, x.epoch, x.sequence, x.revision)
                      < (b.valid_from, b.epoch, b.sequence, b.revision)
                ORDER BY x.valid_from DESC, x.epoch DESC, x.sequence DESC, x.revision DESC LIMIT 1
            ) AS available_before,
            (
                SELECT x.allocated FROM ingest.balance AS x
                WHERE x.account = b.account AND x.user_id = b.user_id AND x.asset = b.asset
                  AND (x.valid_from, x.epoch, x.sequence, x.revision)
                      < (b.valid_from, b.epoch, b.sequence, b.revision)
                ORDER BY x.valid_from DESC, x.epoch DESC, x.sequence DESC, x.revision DESC LIMIT 1
            ) AS allocated_before,
            (
                SELECT x.previous_confirmed_until FROM ingest.version AS x
                WHERE x.account = b.account AND x.kind = 'balances' AND x.user_id = b.user_id
                  AND (x.valid_from, x.epoch, x.sequence, x.revision)
                      > (b.valid_from, b.epoch, b.sequence, b.revision)
                  AND x.valid_from > b.valid_from
                  AND (x.origin <> 'pushed' OR x.passed_over <> 0 OR x.revision <> 0)
                ORDER BY x.valid_from, x.epoch, x.sequence, x.revision LIMIT 1
            ) AS unproven_from,
            CASE
                -- Pushed in a gap: as in the index.
                WHEN EXISTS (
                    SELECT FROM ingest.gap AS g
                    WHERE g.account = b.account AND 'balances' = ANY (g.affects)
                      AND coalesce(g.user_id, b.user_id) = b.user_id
                      AND coalesce(g.balances_confirmed_at, 'infinity') > b.valid_from
                      AND tstzrange(
                          g.missed_from,
                          CASE WHEN g.balances_confirmed_at IS NULL THEN 'infinity'
                              ELSE greatest(
                                  g.missed_from, g.balances_confirmed_at, g.balances_confirmation_recorded_at
                              ) END
                      ) @> b.valid_from
                ) THEN b.valid_from
                ELSE (
                    SELECT g.missed_from FROM ingest.gap AS g
                    WHERE g.account = b.account AND 'balances' = ANY (g.affects)
                      AND coalesce(g.user_id, b.user_id) = b.user_id
                      AND g.missed_from >= b.valid_from
                    ORDER BY g.missed_from LIMIT 1
                )
            END AS blind_from
        FROM ingest.balance AS b
        LEFT JOIN ingest.version AS v
            ON v.account = b.account AND v.kind = 'balances' AND v.user_id = b.user_id
            AND v.valid_from = b.valid_from AND v.epoch = b.epoch AND v.sequence = b.sequence
            AND v.revision = b.revision
        LEFT JOIN report.stream AS s
            ON s.account = b.account AND s.kind = 'balances' AND s.user_id = b.user_id
    ) AS row
) AS b;

COMMENT ON VIEW report.balance_history IS
    'How did each balance change? One row per change of an asset, valid from valid_from until valid_to. Changes between two snapshots appear as one. Name the account and the asset; for all assets of a range use report.balance_movements.';
COMMENT ON COLUMN report.balance_history.valid_from IS 'From when on the amounts are valid.';
COMMENT ON COLUMN report.balance_history.valid_to IS 'Until when they were superseded; null for the current row.';
COMMENT ON COLUMN report.balance_history.observed_at IS 'Receipt of the snapshot with these amounts.';
COMMENT ON COLUMN report.balance_history.confirmed_until IS 'Until when the amounts are known, without a gap, to have been unchanged: at the latest valid_to; else the first gap, the last confirmation before a change that was not pushed, or the newest confirmation.';
COMMENT ON COLUMN report.balance_history.certainty IS 'confirmed: known from valid_from to valid_to without a gap. in_gap: from confirmed_until on, something may have been missed. last_known: the next change is from an answer, so its time is unknown. For the current row: as in report.balance_current. A confirmation that was pending and has been resolved since does not count here, as it does in report.balance_as_of.';
COMMENT ON COLUMN report.balance_history.available IS 'Free amount.';
COMMENT ON COLUMN report.balance_history.allocated IS 'Amount tied to open orders or pending actions.';
COMMENT ON COLUMN report.balance_history.total IS 'available + allocated.';
COMMENT ON COLUMN report.balance_history.available_change IS 'Difference to the row before; null for the first one.';
COMMENT ON COLUMN report.balance_history.allocated_change IS 'Difference to the row before; null for the first one.';
COMMENT ON COLUMN report.balance_history.total_change IS 'Difference to the row before; null for the first one.';
COMMENT ON COLUMN report.balance_history.reported IS 'False: from here on snapshots do not name the asset any more.';
COMMENT ON COLUMN report.balance_history.is_former IS 'The key of this user is no longer in use. Leave it out of sums.';
COMMENT ON COLUMN report.balance_history.origin IS 'pushed: the hub sent the snapshot by itself. answered: it answers one of our requests.';
COMMENT ON COLUMN report.balance_history.passed_over IS 'How many sequence numbers lie between the snapshot before, of whatever asset, and this one.';
COMMENT ON COLUMN report.balance_history.previous_confirmed_until IS 'When the state before it was last confirmed: from then until valid_from the state is unknown.';
COMMENT ON COLUMN report.balance_history.received_at IS 'Receipt of the snapshot.';
COMMENT ON COLUMN report.balance_history.recorded_at IS 'When the snapshot was stored: what was known at a moment is what was recorded by then.';
