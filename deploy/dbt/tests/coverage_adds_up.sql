-- Each moment of a day counts once.
SELECT day, account, kind, user_id, sum(share) AS share
FROM {{ ref('coverage_by_day') }}
GROUP BY day, account, kind, user_id
HAVING abs(sum(share) - 1) > 0.00000001
