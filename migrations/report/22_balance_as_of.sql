CREATE FUNCTION report.balance_as_of(ts timestamptz, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    account text, user_id text, asset text, as_of timestamptz, available numeric, allocated numeric, total numeric,
    reported boolean, deleted boolean, valid_from timestamptz, observed_at timestamptz, confirmed_until timestamptz,
    certainty text, is_former boolean, epoch integer, sequence bigint, revision integer, session_id uuid,
    ordinal bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        s.account, s.user_id, k.asset, s.as_of, b.available, b.allocated, b.available + b.allocated, b.reported,
        s.deleted, b.valid_from, s.observed_at, s.confirmed_until,
        CASE WHEN b.valid_from IS NULL AND s.certainty IS NOT NULL THEN 'before_first' ELSE s.certainty END,
        s.is_former, s.epoch, s.sequence, s.revision, s.session_id, s.ordinal
    FROM report.stream_as_of(ts, known_at) AS s
    JOIN report.asset AS k ON k.account = s.account AND k.user_id = s.user_id
    LEFT JOIN LATERAL (
        SELECT h.available, h.allocated, h.reported, h.valid_from
        FROM report.balance_history AS h
        WHERE h.account = k.account AND h.user_id = k.user_id AND h.asset = k.asset
          AND (h.valid_from, h.epoch, h.sequence, h.revision) <= (s.observed_at, s.epoch, s.sequence, s.revision)
        ORDER BY h.valid_from DESC, h.epoch DESC, h.sequence DESC, h.revision DESC
        LIMIT 1
    ) AS b ON true
    WHERE s.kind = 'balances';
END;
COMMENT ON FUNCTION report.balance_as_of(timestamptz, timestamptz) IS
    'What did the accounts contain at a moment, as known at another moment (by default: now), and how certain is that? A row for each asset ever reported; amounts are null if it had not been reported yet, or if the moment is later than known_at.
as_of: The moment.
observed_at: Receipt of the version that was valid.
valid_from: Since when the asset had these amounts.
reported: False: the snapshot did not name the asset any more, so it counts as 0.
confirmed_until: When the hub last confirmed the account''s state of that version, as far as it was known: until then the state was unchanged.
certainty: confirmed: the hub confirmed this state at or after the moment, or, outside any gap, pushed the next number in the session that had confirmed it. last_known: neither, or a confirmation was pending. in_gap: the moment lies in a gap, before the snapshot that confirmed the state. before_first: the asset had not been reported yet.';

CREATE FUNCTION report.balance_at_each(instants timestamptz[], known_at timestamptz DEFAULT now())
RETURNS TABLE (
    account text, user_id text, asset text, as_of timestamptz, available numeric, allocated numeric, total numeric,
    reported boolean, deleted boolean, valid_from timestamptz, observed_at timestamptz, confirmed_until timestamptz,
    certainty text, is_former boolean, epoch integer, sequence bigint, revision integer, session_id uuid,
    ordinal bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT b.*
    FROM unnest(instants) AS i (instant)
    CROSS JOIN LATERAL report.balance_as_of(i.instant, known_at) AS b;
END;
COMMENT ON FUNCTION report.balance_at_each(timestamptz[], timestamptz) IS
    'What did the accounts contain at each of these moments? The rows are those of report.balance_as_of.
as_of: The moment.
valid_from: As in report.balance_as_of.
observed_at: As in report.balance_as_of.
confirmed_until: As in report.balance_as_of.
certainty: As in report.balance_as_of.';

CREATE FUNCTION report.balance_eod(first_day date, last_day date, zone text, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    day date, account text, user_id text, asset text, as_of timestamptz, available numeric, allocated numeric,
    total numeric, reported boolean, deleted boolean, valid_from timestamptz, observed_at timestamptz,
    confirmed_until timestamptz, certainty text, is_former boolean, epoch integer, sequence bigint, revision integer,
    session_id uuid, ordinal bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT d.day::date, b.*
    FROM generate_series(
        CASE WHEN isfinite(first_day) THEN first_day::timestamp END,
        least(last_day::timestamp, now() AT TIME ZONE zone),
        interval '1 day'
    ) AS d (day)
    CROSS JOIN LATERAL report.balance_as_of(report.local_moment(d.day + interval '1 day', zone), known_at) AS b
    WHERE report.local_moment(d.day + interval '1 day', zone) <= least(known_at, statement_timestamp());
END;
COMMENT ON FUNCTION report.balance_eod(date, date, text, timestamptz) IS
    'What did the accounts contain at the end of each local day? Days may have 23 or 25 hours; a day that has not ended has no row. The rows are those of report.balance_as_of at the midnight that ends the day.
day: The local day.
as_of: The local midnight at which the day ends.
valid_from: As in report.balance_as_of.
observed_at: As in report.balance_as_of.
confirmed_until: As in report.balance_as_of.
certainty: As in report.balance_as_of.';

CREATE FUNCTION report.bucket(since timestamptz, until timestamptz, step interval, zone text DEFAULT 'UTC')
RETURNS TABLE (bucket_from timestamptz, bucket_until timestamptz)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT b.bucket_from, least(b.bucket_until, until)
    FROM (
        -- Where clocks go back, the range may begin or end at the second of two moments with the same local time.
        SELECT greatest(since, report.local_moment(t, zone)) AS bucket_from, report.local_moment(t + step, zone) AS bucket_until
        FROM generate_series(
            CASE WHEN isfinite(since) AND isfinite(until) THEN since AT TIME ZONE zone END,
            (until AT TIME ZONE zone) + interval '1 day',
            step
        ) AS t
        WHERE step >= interval '1 day'
        UNION ALL
        SELECT t, t + step
        FROM generate_series(CASE WHEN isfinite(since) AND isfinite(until) THEN since END, until, step) AS t
        WHERE step < interval '1 day'
    ) AS b
    WHERE b.bucket_from < until;
END;
COMMENT ON FUNCTION report.bucket(timestamptz, timestamptz, interval, text) IS
    'Which buckets make up a range? Steps of a day and more follow the calendar of the time zone; shorter ones have a fixed length, also on days of 23 or 25 hours. A range without a beginning or an end has none.
bucket_from: Start of the bucket.
bucket_until: Its end, the start of the next one.';

CREATE FUNCTION report.balance_bucket(
    since timestamptz, until timestamptz, step interval, zone text DEFAULT 'UTC', known_at timestamptz DEFAULT now()
)
RETURNS TABLE (
    bucket_from timestamptz, bucket_until timestamptz, is_carried boolean, account text, user_id text, asset text,
    as_of timestamptz, available numeric, allocated numeric, total numeric, reported boolean, deleted boolean,
    valid_from timestamptz, observed_at timestamptz, confirmed_until timestamptz, certainty text, is_former boolean,
    epoch integer, sequence bigint, revision integer, session_id uuid, ordinal bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT t.bucket_from, t.bucket_until, coalesce(b.valid_from <= t.bucket_from, true), b.*
    -- What begins later has no row: it need not be made, and there may be no end to it.
    FROM report.bucket(
        since, least(until, least(known_at, now()) + step + interval '1 day'), step, zone
    ) AS t
    CROSS JOIN LATERAL report.balance_as_of(least(t.bucket_until, known_at, now()), known_at) AS b
    WHERE t.bucket_from < least(known_at, now());
END;
COMMENT ON FUNCTION report.balance_bucket(timestamptz, timestamptz, interval, text, timestamptz) IS
    'What did the accounts contain over a range, in equal steps without missing ones? The amounts are those at the end of each bucket; in the bucket that has not ended, those of now. The range needs a beginning; its end may be infinity.
bucket_from: Start of the bucket.
bucket_until: Its end, the start of the next one.
is_carried: The amounts did not change within the bucket: they are carried over from before.
as_of: The end of the bucket, at the latest what was known.
valid_from: As in report.balance_as_of.
observed_at: As in report.balance_as_of.
confirmed_until: As in report.balance_as_of.
certainty: As in report.balance_as_of.';

CREATE FUNCTION report.balance_change(since timestamptz, until timestamptz, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    account text, user_id text, asset text, available_before numeric, allocated_before numeric, total_before numeric,
    available numeric, allocated numeric, total numeric, available_change numeric, allocated_change numeric,
    total_change numeric, certainty_before text, certainty text, observed_before timestamptz, observed_at timestamptz,
    confirmed_until timestamptz, reported boolean, deleted boolean, is_former boolean, epoch integer, sequence bigint,
    revision integer
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT
        b.account, b.user_id, b.asset, a.available, a.allocated, a.total, b.available, b.allocated, b.total,
        b.available - a.available, b.allocated - a.allocated, b.total - a.total, a.certainty, b.certainty,
        a.observed_at, b.observed_at, b.confirmed_until, b.reported, b.deleted, b.is_former, b.epoch, b.sequence,
        b.revision
    FROM report.balance_as_of(until, known_at) AS b
    JOIN report.balance_as_of(since, known_at) AS a USING (account, user_id, asset);
END;
COMMENT ON FUNCTION report.balance_change(timestamptz, timestamptz, timestamptz) IS
    'By how much did each asset change between two moments? A change is null if the asset had not been reported at the first of them.
available_before: Free amount at the first moment.
allocated_before: Allocated amount at the first moment.
total_before: Their sum at the first moment.
available: Free amount at the second moment.
allocated: Allocated amount at the second moment.
total: Their sum at the second moment.
available_change: Difference of the free amounts.
allocated_change: Difference of the allocated amounts.
total_change: Difference of the totals.
certainty_before: Certainty at the first moment, as in report.balance_as_of.
certainty: Certainty at the second moment, as in report.balance_as_of.
observed_before: Receipt of the version that held at the first moment.
observed_at: Receipt of the version that held at the second moment.
confirmed_until: When the hub last confirmed that version, as in report.balance_as_of.';

CREATE FUNCTION report.balance_movements(since timestamptz, until timestamptz, known_at timestamptz DEFAULT now())
RETURNS TABLE (
    account text, user_id text, asset text, observed_at timestamptz, available_change numeric,
    allocated_change numeric, total_change numeric, movement numeric, available numeric, allocated numeric,
    total numeric, confirmed_until timestamptz, certainty text, origin text, previous_confirmed_until timestamptz,
    reported boolean, deleted boolean, is_former boolean, epoch integer, sequence bigint, revision integer,
    session_id uuid, ordinal bigint
)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
    -- Materialized: otherwise the assets might be read again for every row.
    WITH known AS MATERIALIZED (SELECT account, user_id, asset FROM report.asset)
    SELECT
        h.account, h.user_id, h.asset, h.valid_from, h.available_change, h.allocated_change, h.total_change,
        abs(h.total_change), h.available, h.allocated, h.total, h.confirmed_until, h.certainty, h.origin,
        h.previous_confirmed_until, h.reported, h.deleted, h.is_former, h.epoch, h.sequence, h.revision,
        h.session_id, h.ordinal
    FROM known AS k
    JOIN report.balance_history AS h ON h.account = k.account AND h.user_id = k.user_id AND h.asset = k.asset
    WHERE h.valid_from >= since AND h.valid_from < until AND h.recorded_at <= known_at;
END;
COMMENT ON FUNCTION report.balance_movements(timestamptz, timestamptz, timestamptz) IS
    'Which changes were received in a range, and how large were they? Order by movement for the largest. The first row of an asset has no change.
observed_at: Receipt of the snapshot that contained the change. The change happened between previous_confirmed_until and then.
movement: Size of the change of the total, without its sign.
confirmed_until: As in report.balance_history, as known now.
certainty: As in report.balance_history, as known now.';
