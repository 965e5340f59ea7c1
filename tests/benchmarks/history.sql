-- Two years of three accounts, up to now; the setting history.rows says how many rows of balances.
-- main (70 %) and second (25 %) have a hub that pushes, one version in fifty is an answer; idle (5 %) is only polled.
SET synchronous_commit = off;
SET timezone = 'UTC';
SET work_mem = '256MB';
SET maintenance_work_mem = '512MB';

CREATE SCHEMA history;
CREATE TABLE history.account AS
SELECT account, 'user-of-' || account AS user_id, (current_setting('history.rows')::int / 2 * share)::int AS versions,
    account <> 'idle' AS pushes
FROM (VALUES ('main', 0.70), ('second', 0.25), ('idle', 0.05)) AS a (account, share);

CREATE FUNCTION history.began() RETURNS timestamptz LANGUAGE sql STABLE
RETURN date_trunc('day', now()) - interval '730 days';
CREATE FUNCTION history.session_id(account text, day int) RETURNS uuid LANGUAGE sql IMMUTABLE
RETURN md5(account || day)::uuid;

-- The version i of n, evenly spread with a jitter.
CREATE TABLE history.version AS
SELECT a.account, a.user_id, a.pushes, i AS sequence,
    history.began() + (i + ((hashint4(i) & 1023) / 1024.0) * 0.9) * (729.9 / a.versions) * interval '1 day' AS at
FROM history.account AS a
CROSS JOIN LATERAL generate_series(1, a.versions) AS i;

ALTER TABLE ingest.outcome DROP CONSTRAINT outcome_pkey;
DROP INDEX ingest.outcome_version_idx;
ALTER TABLE ingest.balance DROP CONSTRAINT balance_pkey;
DROP INDEX ingest.outcome_undated_idx;

INSERT INTO ingest.account SELECT account, 'custom', history.began() FROM history.account;
INSERT INTO ingest.session
SELECT a.account, history.session_id(a.account, d), history.began() + d * interval '1 day', 'https://hub.example', 1,
    '{}', '1', NULL, history.began() + (d + 1) * interval '1 day' - interval '40 s', NULL, 6000, 'link_lost', 'eof',
    NULL, 6000, 6000, 0, NULL
FROM history.account AS a
CROSS JOIN generate_series(0, 729) AS d;
INSERT INTO ingest.epoch
SELECT a.account, k.kind, CASE k.kind WHEN 'balances' THEN a.user_id ELSE '' END, 1, history.began(), 'first_seen', 1,
    NULL, 1, history.session_id(a.account, 0), 1, history.session_id(a.account, 0), 1, 0, NULL
FROM history.account AS a
CROSS JOIN unnest(ARRAY['balances', 'pairs']) AS k (kind);

INSERT INTO ingest.outcome (account, kind, user_id, valid_from, epoch, sequence, revision, session_id, ordinal, position, received_at, deleted,
    origin, passed_over, previous_confirmed_until, recorded_at, outcome, subject)
SELECT account, 'balances', user_id, at, 1, sequence, 0,
    history.session_id(account, least(729, (extract(epoch FROM at - history.began()) / 86400)::int)), sequence, 0, at,
    false, CASE WHEN pushes AND sequence % 50 <> 0 THEN 'pushed' ELSE 'answered' END, 0,
    CASE WHEN sequence > 1 THEN greatest(
        lag(at) OVER (PARTITION BY account ORDER BY sequence), date_trunc('minute', at) - interval '0.5 s'
    ) END,
    at, 'applied', 'account.balances.snapshot'
FROM history.version;

INSERT INTO ingest.balance
SELECT v.account, v.user_id, 'A' || lpad(x.asset::text, 2, '0'), v.at, 1, v.sequence, 0,
    round((1000 + (hashint4(v.sequence * 31 + x.asset) & 65535) / 7.0)::numeric, 8),
    round(((hashint4(v.sequence * 17 + x.asset) & 255) / 13.0)::numeric, 8), true
FROM history.version AS v
CROSS JOIN LATERAL (VALUES
    ((hashint4(v.sequence) & 65535) % 20),
    (((hashint4(v.sequence) & 65535) + 1 + (hashint4(v.sequence * 3) & 65535) % 19) % 20)
) AS x (asset);

INSERT INTO ingest.pair
SELECT a.account, 'P' || p, history.began() + g * interval '3.6 days' + p * interval '1 minute', 1, g * 60 + p, 0,
    'A' || p, 'EUR', 0.001, 1000 + g, 10, 1000000 + g, g % 50 <> 49
FROM history.account AS a
CROSS JOIN generate_series(1, 60) AS p
CROSS JOIN generate_series(0, 199) AS g;
INSERT INTO ingest.outcome (account, kind, user_id, valid_from, epoch, sequence, revision, session_id, ordinal, position, received_at, deleted,
    origin, passed_over, previous_confirmed_until, recorded_at, outcome, subject)
SELECT account, 'pairs', '', valid_from, 1, sequence, 0, history.session_id(account, 0),
    1000000 + row_number() OVER (PARTITION BY account ORDER BY sequence), 0, valid_from, false, 'answered', 0,
    valid_from - interval '1 minute', valid_from, 'applied', 'execution.pairs'
FROM ingest.pair;

INSERT INTO ingest.gap
SELECT a.account, history.session_id(a.account, d), 100 + k, 0, 'disconnected', at, 'eof', at, at + length, '{}',
    '{balances,pairs}', NULL, NULL, NULL, 1, at, at + length + interval '20 ms', history.session_id(a.account, d), 1,
    at + length + interval '20 ms', history.session_id(a.account, d), 2, at + length + interval '20 ms', at,
    at + length + interval '30 ms', at + length + interval '30 ms'
FROM history.account AS a
CROSS JOIN generate_series(0, 729) AS d
CROSS JOIN generate_series(0, 2) AS k
CROSS JOIN LATERAL (SELECT
    history.began() + d * interval '1 day' + (k * 8 + 1) * interval '1 hour' + (hashint4(d) & 1023) * interval '1 s' AS at,
    (5 + (hashint4(d * 3 + k) & 127)) * interval '1 s' AS length
) AS x;
INSERT INTO ingest.confirmation
SELECT a.account, history.session_id(a.account, d), 9000, 0, 'conflict', at, 'balances', a.user_id, d, 'confirmed',
    at + interval '1 s', NULL, NULL, at, at + interval '1 s'
FROM history.account AS a
CROSS JOIN generate_series(0, 729, 10) AS d
CROSS JOIN LATERAL (SELECT history.began() + d * interval '1 day' + interval '5 hours' AS at) AS x;
INSERT INTO ingest.request
SELECT a.account, md5(a.account || m)::uuid, at, 'GetBalances', 'schedule', 1, 'positional', history.session_id(a.account, m / 144),
    'answered', at + (5 + (hashint4(m) & 63)) * interval '1 ms', m, NULL, at, at + interval '0.1 s'
FROM history.account AS a
CROSS JOIN generate_series(1, 105100) AS m
CROSS JOIN LATERAL (SELECT history.began() + m * interval '10 minutes' AS at) AS x;
INSERT INTO ingest.watermark
SELECT DISTINCT ON (account, kind, user_id) account, kind, user_id, epoch, sequence, revision, '\x00', session_id,
    ordinal, 0, valid_from, now(), false
FROM ingest.version
ORDER BY account, kind, user_id, valid_from DESC;
INSERT INTO ingest.heartbeat
SELECT account, history.session_id(account, 729), 1, 'h', '1', history.began(), now(), 0, 'up', NULL, NULL, false, NULL,
    now(), 0, 0, 0, interval '1 minute', interval '5 minutes', NULL
FROM history.account;

ALTER TABLE ingest.outcome ADD PRIMARY KEY (account, session_id, ordinal, position, received_at);
CREATE UNIQUE INDEX outcome_version_idx ON ingest.outcome (account, kind, user_id, valid_from, epoch, sequence, revision);
CREATE INDEX outcome_undated_idx ON ingest.outcome (account, kind, user_id, valid_from)
    INCLUDE (previous_confirmed_until, recorded_at)
    WHERE valid_from IS NOT NULL AND (kind = 'pairs' OR origin <> 'pushed' OR passed_over <> 0 OR revision <> 0);
ALTER TABLE ingest.balance ADD PRIMARY KEY (account, user_id, asset, valid_from, epoch, sequence, revision);
DROP SCHEMA history CASCADE;
VACUUM (ANALYZE);
