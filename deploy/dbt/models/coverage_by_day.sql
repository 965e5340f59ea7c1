-- depends_on: {{ source('report', 'version') }}
-- depends_on: {{ source('report', 'gap') }}
-- depends_on: {{ source('report', 'confirmation') }}
SELECT
    md5(concat_ws('|', day, account, kind, user_id, cause)) AS coverage_key,
    day, account, kind, user_id, cause, duration, share, intervals, is_former,
    now() AS changed_at
FROM report.coverage_daily(
    {{ hercle_first_day() }}, (now() AT TIME ZONE '{{ var("hercle_zone") }}')::date, '{{ var("hercle_zone") }}'
)
