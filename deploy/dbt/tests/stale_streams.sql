-- A row for each account and stream that is older than it should be. A stopped account is retired after a week.
SELECT account, kind, user_id, age, stopped_at
FROM {{ source('report', 'freshness') }}
WHERE NOT is_fresh AND coalesce(stopped_at > now() - interval '7 days', true)
