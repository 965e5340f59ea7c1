-- depends_on: {{ source('report', 'version') }}
-- depends_on: {{ source('report', 'gap') }}
-- depends_on: {{ source('report', 'confirmation') }}
-- depends_on: {{ source('report', 'balance_history') }}
SELECT
    md5(concat_ws('|', day, account, user_id, asset)) AS balance_key,
    day, account, user_id, asset, as_of, available, allocated, total, reported, deleted, valid_from, observed_at,
    confirmed_until, certainty, is_former, epoch, sequence, revision,
    now() AS changed_at
FROM report.balance_eod(
    {{ hercle_first_day() }}, (now() AT TIME ZONE '{{ var("hercle_zone") }}')::date, '{{ var("hercle_zone") }}'
)
