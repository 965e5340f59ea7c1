-- Standard bodies: names are bound when the function is created, and the planner inlines the call, so that a filter
-- around it can use the indexes. Functions read the views of this schema only, because a view has the privileges of its
-- owner and an inlined function those of its caller. OFFSET 0 makes an expression evaluated once for each stream, not once
-- for each use and asset.
CREATE FUNCTION report.stream_as_of(ts timestamptz, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    account text, kind text, user_id text, as_of timestamptz, observed_at timestamptz, confirmed_until timestamptz,
    certainty text, deleted boolean, is_former boolean, epoch integer, sequence bigint, revision integer,
    session_id uuid, ordinal bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        s.account, s.kind, s.user_id, ts, v.valid_from, seen.confirmed_until,
        said.certainty, v.deleted, s.is_former, v.epoch, v.sequence, v.revision, v.session_id, v.ordinal
    FROM report.stream AS s
    LEFT JOIN report.account AS a ON a.account = s.account
    LEFT JOIN LATERAL (
        SELECT x.*
        FROM report.version AS x
        WHERE x.account = s.account AND x.kind = s.kind AND x.user_id = s.user_id
          AND x.valid_from <= least(ts, known_at) AND x.recorded_at <= known_at
          AND ts <= known_at + interval '2 seconds'
          -- Where history has been removed, the version that was valid may be missing.
          AND (ts < a.history_from) IS NOT TRUE
        ORDER BY x.valid_from DESC, x.epoch DESC, x.sequence DESC, x.revision DESC
        LIMIT 1
    ) AS v ON true
    -- The next version limits a confirmation, whether or not it was known at known_at.
    LEFT JOIN LATERAL (
        SELECT x.*
        FROM report.version AS x
        WHERE x.account = s.account AND x.kind = s.kind AND x.user_id = s.user_id
          AND (x.valid_from, x.epoch, x.sequence, x.revision) > (v.valid_from, v.epoch, v.sequence, v.revision)
        ORDER BY x.valid_from, x.epoch, x.sequence, x.revision
        LIMIT 1
    ) AS n ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN n.valid_from IS NULL THEN s.confirmed_until ELSE n.previous_confirmed_until END AS until
    ) AS final
    CROSS JOIN LATERAL (
        SELECT CASE
            WHEN v.valid_from IS NULL THEN NULL
            -- A stamp later than now or than known_at does not confirm anything, nor does an answer that was stored later.
            WHEN final.until <= least(known_at, statement_timestamp()) + interval '2 seconds' AND NOT EXISTS (
                SELECT FROM report.request AS r
                WHERE r.account = s.account
                  AND r.command = CASE s.kind WHEN 'balances' THEN 'GetBalances' ELSE 'GetPairs' END
                  AND r.outcome = 'answered' AND r.ended_at = final.until AND r.end_recorded_at > known_at
                  AND r.requested_at BETWEEN final.until - interval '1 hour' AND final.until
            ) THEN final.until
            ELSE greatest(v.valid_from, (
                SELECT r.ended_at
                FROM report.request AS r
                WHERE r.account = s.account
                  AND r.command = CASE s.kind WHEN 'balances' THEN 'GetBalances' ELSE 'GetPairs' END
                  AND r.outcome = 'answered' AND r.requested_at <= least(known_at, final.until)
                  AND r.ended_at <= known_at AND r.end_recorded_at <= known_at
                  AND r.ended_at BETWEEN v.valid_from AND final.until
                  -- Not one about another user, or that came after a push and told of what was before it. What is not
                  -- stored any more is taken for a repeat: there was no other version until then.
                  AND coalesce(r.is_repeat AND r.answer_user_id = s.user_id, true)
                ORDER BY r.requested_at DESC
                LIMIT 1
            ))
        END AS confirmed_until
        OFFSET 0
    ) AS seen
    CROSS JOIN LATERAL (
        SELECT
            EXISTS (
                SELECT FROM report.confirmation AS c
                WHERE c.account = s.account AND c.kind = s.kind AND c.user_id = s.user_id
                  AND c.open_during @> least(ts, known_at) AND c.recorded_at <= known_at
                  AND (c.during @> ts OR c.resolution_recorded_at > known_at)
            ) AS is_pending,
            coalesce(
                n.epoch = v.epoch AND n.sequence = v.sequence AND n.previous_confirmed_until <= v.valid_from
                AND n.recorded_at <= known_at AND n.valid_from <= known_at,
                false
            ) AS is_contradicted
        OFFSET 0
    ) AS pending
    CROSS JOIN LATERAL (
        SELECT
            CASE
                WHEN (ts <= known_at + interval '2 seconds') IS NOT TRUE THEN NULL
                WHEN v.valid_from IS NULL THEN 'before_first'
                WHEN ts <= seen.confirmed_until AND NOT pending.is_pending AND NOT pending.is_contradicted THEN 'confirmed'
                WHEN EXISTS (
                    SELECT FROM report.gap_interval AS g
                    WHERE g.account = s.account AND g.kind = s.kind AND coalesce(g.user_id, s.user_id) = s.user_id
                      AND g.open_during @> least(ts, known_at) AND g.recorded_at <= known_at
                      AND (g.during @> ts OR g.confirmation_recorded_at > known_at)
                ) THEN 'in_gap'
                WHEN pending.is_pending OR pending.is_contradicted THEN 'last_known'
                -- There was no state between a number and the next one, if that was pushed in the session that confirmed the first.
                -- Lists of pairs have no number of the hub's.
                WHEN s.kind = 'balances' AND n.origin = 'pushed' AND n.passed_over = 0 AND n.revision = 0 AND n.epoch = v.epoch
                    AND n.recorded_at <= known_at AND n.valid_from <= least(known_at, statement_timestamp())
                    AND (
                        SELECT o.opened_at
                        FROM report.session AS o
                        WHERE o.account = s.account AND o.session_id = n.session_id
                    ) <= seen.confirmed_until
                THEN 'confirmed'
                ELSE 'last_known'
            END AS certainty
        OFFSET 0
    ) AS said;
END;
COMMENT ON FUNCTION report.stream_as_of(timestamptz, timestamptz) IS
    'Which version of each stream was valid at a moment, as known at another moment, and how certain is that? confirmed: the hub confirmed this version at or after the moment, or, outside any gap, pushed the next number in the session that had confirmed this one; lists of pairs have no number. last_known: neither, or a confirmation was pending. in_gap: the moment lies in a gap, before the snapshot that confirmed the state. before_first: no snapshot had been received yet, or the moment lies before report.account.history_from. Null: the moment is later than known_at, by more than two seconds.
as_of: The moment.
observed_at: Receipt of the version that was valid.
confirmed_until: When the hub last confirmed that version, as far as it was known: until then the state was unchanged.
certainty: One of the words above.';
