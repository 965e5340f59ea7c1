CREATE TABLE report.maintenance_window (
    weekday integer NOT NULL CHECK (weekday BETWEEN 1 AND 7),
    starts_at time NOT NULL,
    ends_at time NOT NULL CHECK (ends_at > starts_at),
    zone text NOT NULL,
    PRIMARY KEY (weekday, starts_at)
);
COMMENT ON TABLE report.maintenance_window IS
    'When does the vendor maintain its systems, each week? Coverage counts time that is unknown within these hours separately. Change the rows when the vendor changes its hours.';
COMMENT ON COLUMN report.maintenance_window.weekday IS '1 for Monday to 7 for Sunday.';
COMMENT ON COLUMN report.maintenance_window.starts_at IS 'Local time at which it begins.';
COMMENT ON COLUMN report.maintenance_window.ends_at IS 'Local time at which it ends.';
COMMENT ON COLUMN report.maintenance_window.zone IS 'Zone of the local times. The vendor''s GMT+1 is called Etc/GMT-1 by Postgres.';
INSERT INTO report.maintenance_window VALUES (3, '10:00', '11:00', 'Etc/GMT-1');

CREATE FUNCTION report.coverage(since timestamptz, until timestamptz, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    account text, kind text, user_id text, cause text, duration interval, share numeric, intervals bigint,
    is_former boolean
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    WITH asked AS MATERIALIZED (
        SELECT
            s.account, s.kind, s.user_id, s.is_former, s.confirmed_until,
            greatest(since, least(until, known_at, statement_timestamp())) AS ended,
            -- What lies before the history counts for itself, at the end.
            least(greatest(since, h.history_from), greatest(since, least(until, known_at, statement_timestamp()))) AS begun,
            tstzrange(
                greatest(since, h.history_from),
                greatest(since, h.history_from, least(until, known_at, statement_timestamp()))
            ) AS span,
            (
                SELECT v.valid_from
                FROM report.version AS v
                WHERE v.account = s.account AND v.kind = s.kind AND v.user_id = s.user_id AND v.recorded_at <= known_at
                ORDER BY v.valid_from
                LIMIT 1
            ) AS first_at
        FROM report.stream_as_of(least(known_at, statement_timestamp()), known_at) AS s
        LEFT JOIN report.account AS h ON h.account = s.account
        WHERE isfinite(since) AND until IS NOT NULL AND known_at IS NOT NULL
    ),
    hole AS MATERIALIZED (
        SELECT
            a.account, a.kind, a.user_id,
            CASE WHEN g.gap_kind = 'disconnected' AND g.cause = 'stopped' THEN 'stopped' ELSE g.gap_kind END AS cause,
            k.during * a.span AS during
        FROM asked AS a
        JOIN report.gap_interval AS g ON g.account = a.account AND g.kind = a.kind
        CROSS JOIN LATERAL (
            SELECT CASE WHEN g.confirmation_recorded_at > known_at THEN tstzrange(g.missed_from, 'infinity')
                ELSE g.during END AS during
        ) AS k
        WHERE coalesce(g.user_id, a.user_id) = a.user_id AND g.recorded_at <= known_at
          AND g.open_during && tstzrange(since, greatest(since, until)) AND k.during && a.span
    ),
    pending AS MATERIALIZED (
        SELECT a.account, a.kind, a.user_id, k.during * a.span AS during
        FROM asked AS a
        JOIN report.confirmation AS c ON c.account = a.account AND c.kind = a.kind AND c.user_id = a.user_id
        CROSS JOIN LATERAL (
            SELECT CASE WHEN c.resolution_recorded_at > known_at THEN tstzrange(c.raised_at, 'infinity')
                ELSE c.during END AS during
        ) AS k
        WHERE c.open_during && tstzrange(since, greatest(since, until)) AND k.during && a.span
          AND c.recorded_at <= known_at
    ),
    maintained AS MATERIALIZED (
        -- On the night on which clocks go forward, a window may end before it begins.
        SELECT tstzrange(
            report.local_moment(d.day + w.starts_at, w.zone),
            greatest(report.local_moment(d.day + w.starts_at, w.zone), report.local_moment(d.day + w.ends_at, w.zone))
        ) * tstzrange(since, greatest(since, until)) AS during
        FROM report.maintenance_window AS w
        CROSS JOIN LATERAL generate_series(
            date_trunc('day', CASE WHEN isfinite(since) THEN since AT TIME ZONE w.zone END),
            least(until, known_at, statement_timestamp()) AT TIME ZONE w.zone,
            interval '1 day'
        ) AS d (day)
        WHERE extract(isodow FROM d.day) = w.weekday
    ),
    -- Before a version that was not pushed with the next number, the time since the last confirmation is unknown; lists
    -- of pairs have no number. There may be many of these intervals, and they never overlap: their lengths are summed,
    -- and only what lies in an interval with a cause of its own is computed separately. outcome_undated_idx has the same
    -- condition.
    undated AS MATERIALIZED (
        SELECT a.account, a.kind, a.user_id, v.intervals, v.duration
        FROM asked AS a
        CROSS JOIN LATERAL (
            SELECT count(*) AS intervals, sum(x.valid_from - greatest(x.previous_confirmed_until, a.begun)) AS duration
            FROM report.version AS x
            WHERE x.account = a.account AND x.kind = a.kind AND x.user_id = a.user_id
              AND x.valid_from > a.begun AND x.valid_from <= a.ended AND x.recorded_at <= known_at
              AND x.previous_confirmed_until < x.valid_from
              AND (x.kind = 'pairs' OR x.origin <> 'pushed' OR x.passed_over <> 0 OR x.revision <> 0)
        ) AS v
        WHERE v.intervals > 0
    ),
    -- In a gap, the time before a pushed version is unknown too.
    piece AS MATERIALIZED (
        SELECT
            i.account, i.kind, i.user_id, i.is_gap,
            v.valid_from <= i.span_until AND v.recorded_at <= known_at
                AND (v.kind = 'pairs' OR v.origin <> 'pushed' OR v.passed_over <> 0 OR v.revision <> 0) AS is_undated,
            tstzrange(v.previous_confirmed_until, greatest(v.previous_confirmed_until, v.valid_from)) * i.during AS during
        FROM (
            SELECT h.account, h.kind, h.user_id, true AS is_gap, h.during, upper(a.span) AS span_until
            FROM hole AS h
            JOIN asked AS a USING (account, kind, user_id)
            UNION ALL
            SELECT c.account, c.kind, c.user_id, false, c.during, upper(a.span)
            FROM pending AS c
            JOIN asked AS a USING (account, kind, user_id)
            UNION ALL
            SELECT a.account, a.kind, a.user_id, false, m.during * a.span, upper(a.span)
            FROM asked AS a
            JOIN maintained AS m ON m.during && a.span
        ) AS i
        CROSS JOIN LATERAL (
            (
                SELECT x.*
                FROM report.version AS x
                WHERE x.account = i.account AND x.kind = i.kind AND x.user_id = i.user_id
                  AND x.valid_from > lower(i.during) AND x.valid_from <= upper(i.during)
                  AND x.previous_confirmed_until IS NOT NULL
            )
            UNION ALL
            (
                SELECT x.*
                FROM report.version AS x
                WHERE x.account = i.account AND x.kind = i.kind AND x.user_id = i.user_id
                  AND x.valid_from > upper(i.during)
                ORDER BY x.valid_from, x.epoch, x.sequence, x.revision
                LIMIT 1
            )
        ) AS v
        WHERE v.previous_confirmed_until < upper(i.during)
    ),
    unknown AS MATERIALIZED (
        SELECT a.account, a.kind, a.user_id, range_agg(u.during) * tstzmultirange(a.span) AS during
        FROM asked AS a
        JOIN (
            SELECT account, kind, user_id, during FROM piece WHERE is_gap OR is_undated
            UNION ALL
            SELECT account, kind, user_id, during FROM pending
            UNION ALL
            -- Before the first version of a session, even if it was pushed.
            SELECT a.account, a.kind, a.user_id, tstzrange(v.previous_confirmed_until, v.valid_from)
            FROM asked AS a
            JOIN report.session AS o ON o.account = a.account AND o.opened_at <= upper(a.span)
            CROSS JOIN LATERAL (
                SELECT x.*
                FROM report.version AS x
                WHERE x.account = a.account AND x.kind = a.kind AND x.user_id = a.user_id
                  AND x.valid_from >= o.opened_at AND x.valid_from > since
                ORDER BY x.valid_from, x.epoch, x.sequence, x.revision
                LIMIT 1
            ) AS v
            WHERE v.session_id = o.session_id AND v.previous_confirmed_until < o.opened_at
              AND v.kind = 'balances' AND v.origin = 'pushed' AND v.passed_over = 0 AND v.revision = 0
              AND v.recorded_at <= known_at AND o.opened_at >= coalesce((
                  SELECT max(before.opened_at)
                  FROM report.session AS before
                  WHERE before.account = a.account AND before.opened_at <= since
              ), '-infinity')
            UNION ALL
            -- Before the first version after the range.
            SELECT a.account, a.kind, a.user_id, tstzrange(v.previous_confirmed_until, v.valid_from)
            FROM asked AS a
            CROSS JOIN LATERAL (
                SELECT x.*
                FROM report.version AS x
                WHERE x.account = a.account AND x.kind = a.kind AND x.user_id = a.user_id
                  AND x.valid_from > upper(a.span)
                ORDER BY x.valid_from, x.epoch, x.sequence, x.revision
                LIMIT 1
            ) AS v
            WHERE v.recorded_at <= known_at AND v.previous_confirmed_until < v.valid_from
              AND (
                  v.kind = 'pairs' OR v.origin <> 'pushed' OR v.passed_over <> 0 OR v.revision <> 0
                  OR NOT coalesce((
                      SELECT o.opened_at
                      FROM report.session AS o
                      WHERE o.account = v.account AND o.session_id = v.session_id
                  ) <= v.previous_confirmed_until, false)
              )
            UNION ALL
            -- After the last confirmation of all, and before the first version.
            SELECT account, kind, user_id, tstzrange(confirmed_until, NULL) FROM asked
            UNION ALL
            SELECT account, kind, user_id, tstzrange(NULL, first_at) FROM asked
        ) AS u USING (account, kind, user_id)
        GROUP BY a.account, a.kind, a.user_id, a.span
    ),
    -- A moment with several causes counts for the first of these.
    layer AS (
        SELECT account, kind, user_id, 1 AS rank, 'before_first' AS cause, tstzmultirange(tstzrange(NULL, first_at)) AS during
        FROM asked
        UNION ALL
        SELECT account, kind, user_id, 2, 'former_user', tstzmultirange(tstzrange(confirmed_until, NULL))
        FROM asked
        WHERE is_former
        UNION ALL
        SELECT h.account, h.kind, h.user_id, 3 + array_position(
                ARRAY['stopped', 'disconnected', 'unclean_end', 'commits_lost', 'dropped', 'undecodable', 'unanswered'],
                h.cause
            ), h.cause, range_agg(h.during)
        FROM hole AS h
        WHERE h.cause <> 'sequence_skip'
        GROUP BY h.account, h.kind, h.user_id, h.cause
        UNION ALL
        SELECT h.account, h.kind, h.user_id, 20, 'sequence_skip', range_agg(h.during)
        FROM hole AS h
        WHERE h.cause = 'sequence_skip'
        GROUP BY h.account, h.kind, h.user_id
        UNION ALL
        SELECT account, kind, user_id, 21, 'pending', range_agg(during)
        FROM pending
        GROUP BY account, kind, user_id
        UNION ALL
        SELECT account, kind, user_id, 22, 'unconfirmed', tstzmultirange(span) FROM asked
    ),
    part AS (
        SELECT
            l.account, l.kind, l.user_id, l.rank, l.cause,
            l.during * u.during - coalesce((
                SELECT range_agg(above.during)
                FROM (
                    SELECT unnest(x.during) AS during
                    FROM layer AS x
                    WHERE x.account = l.account AND x.kind = l.kind AND x.user_id = l.user_id AND x.rank < l.rank
                ) AS above
            ), '{}') AS during
        FROM layer AS l
        JOIN unknown AS u USING (account, kind, user_id)
    ),
    maintenance AS MATERIALIZED (
        SELECT coalesce(range_agg(during), '{}') AS during FROM maintained
    ),
    counted AS (
        SELECT p.account, p.kind, p.user_id, p.cause, sum(upper(r.during) - lower(r.during)) AS duration,
            count(*) AS intervals
        FROM (
            SELECT p.account, p.kind, p.user_id, p.cause,
                CASE WHEN p.rank > 2 THEN p.during - m.during ELSE p.during END AS during
            FROM part AS p
            CROSS JOIN maintenance AS m
            UNION ALL
            SELECT p.account, p.kind, p.user_id, 'maintenance', range_agg(r.during)
            FROM part AS p
            CROSS JOIN maintenance AS m
            CROSS JOIN LATERAL unnest(p.during * m.during) AS r (during)
            WHERE p.rank > 2
            GROUP BY p.account, p.kind, p.user_id
        ) AS p
        CROSS JOIN LATERAL unnest(p.during) AS r (during)
        GROUP BY p.account, p.kind, p.user_id, p.cause
        UNION ALL
        SELECT
            d.account, d.kind, d.user_id, 'unconfirmed',
            d.duration - coalesce((
                SELECT sum(upper(r.during) - lower(r.during))
                FROM (
                    SELECT unnest(range_agg(p.during)) AS during
                    FROM piece AS p
                    WHERE p.account = d.account AND p.kind = d.kind AND p.user_id = d.user_id AND p.is_undated
                ) AS r
            ), interval '0'),
            d.intervals
        FROM undated AS d
        UNION ALL
        SELECT account, kind, user_id, 'before_first', begun - since, CASE WHEN first_at <= begun THEN 1 ELSE 0 END
        FROM asked
    ),
    summed AS (
        SELECT account, kind, user_id, cause, sum(duration) AS duration, sum(intervals)::bigint AS intervals
        FROM counted
        GROUP BY account, kind, user_id, cause
        HAVING sum(duration) > interval '0'
    )
    SELECT
        a.account, a.kind, a.user_id, c.cause, c.duration,
        round(
            extract(epoch FROM c.duration) / nullif(extract(epoch FROM a.ended - since), 0), 9
        ),
        c.intervals, a.is_former
    FROM asked AS a
    CROSS JOIN LATERAL (
        SELECT 'known' AS cause, a.ended - since - coalesce(sum(x.duration), interval '0') AS duration,
            NULL::bigint AS intervals
        FROM summed AS x
        WHERE x.account = a.account AND x.kind = a.kind AND x.user_id = a.user_id
        UNION ALL
        SELECT x.cause, x.duration, x.intervals
        FROM summed AS x
        WHERE x.account = a.account AND x.kind = a.kind AND x.user_id = a.user_id
    ) AS c
    WHERE a.ended > since;
END;
COMMENT ON FUNCTION report.coverage(timestamptz, timestamptz, timestamptz) IS
    'For which share of a range was the state of each stream known, and what caused the rest? Known means that report.balance_as_of shows it as confirmed. Each moment counts once, so the parts add up to the range; a range that has not ended is counted up to now. One without a beginning has no rows.
cause: known, or the cause: before_first (also before report.account.history_from), former_user (the key is no longer in use), maintenance (unknown within report.maintenance_window), stopped (the process, in good order), a kind of gap, pending (a confirmation was pending), or unconfirmed (an answer brought a change that no push dates, or no answer has come since). Of several, the first in this order: before_first, former_user, maintenance, stopped, disconnected, unclean_end, commits_lost, dropped, undecodable, unanswered, sequence_skip, pending, unconfirmed.
duration: Length of that part of the range.
share: Its share of the range, from 0 to 1.
intervals: Of how many intervals it consists; of unconfirmed: about how many changes no push dates; null for known.';

-- Not inlined, because no filter could be pushed into it, and compiling (jit) would take longer than running it.
CREATE FUNCTION report.coverage_daily(first_day date, last_day date, zone text, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    day date, account text, kind text, user_id text, cause text, duration interval, share numeric, intervals bigint,
    is_former boolean
)
LANGUAGE sql STABLE PARALLEL SAFE SET jit = off
BEGIN ATOMIC
    SELECT d.day::date, c.*
    FROM generate_series(
        CASE WHEN isfinite(first_day) THEN first_day::timestamp END,
        least(last_day::timestamp, now() AT TIME ZONE zone),
        interval '1 day'
    ) AS d (day)
    CROSS JOIN LATERAL report.coverage(
        report.local_moment(d.day, zone), report.local_moment(d.day + interval '1 day', zone), known_at
    ) AS c
    WHERE report.local_moment(d.day, zone) < least(known_at, statement_timestamp());
END;
COMMENT ON FUNCTION report.coverage_daily(date, date, text, timestamptz) IS
    'For which share of each local day was the state known, and what caused the rest? The rows are those of report.coverage; days may have 23 or 25 hours.
day: The local day.
cause: As in report.coverage.
duration: How much of the day that is.
share: Its share of the day, from 0 to 1.
intervals: Of how many intervals it consists; null for known.';
