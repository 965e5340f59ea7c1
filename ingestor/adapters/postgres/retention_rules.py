# ruff: noqa: E501, S608 - SQL, of constants only
"""Selects the rows of one account that may be removed, by the settings of `[retention]`.

Always kept: the current state, the state at the cut, the records from which the current state, open gaps,
pending confirmations, dead letters and epochs come, and those of answers to kept requests that confirmed nothing.
"""

from datetime import datetime
from typing import NamedTuple

Cuts = dict[str, datetime | None]
"""By setting: the moment before which rows may be removed; None: never."""


class Target(NamedTuple):
    """Rows of one table that are removed by the same rule."""

    table: str
    settings: tuple[str, ...]
    """If any of these is set, they are removed."""
    found: str
    """The text after `SELECT ... FROM`; it names the rows `doomed`, with the cuts as parameters."""


def query(what: str, target: Target, more: str = "") -> bytes:
    """Select something of the rows of a target, with `parameters`."""
    return f"{FOUND_BY} SELECT {what} FROM {target.found} {more}".encode()


def parameters(account: str, cuts: Cuts) -> dict[str, object]:
    """The parameters of `query`."""
    return {"account": account, **cuts}


FOUND_BY = """
WITH cut AS (
    SELECT %(account)s::text AS account, %(duplicates_days)s::timestamptz AS duplicates,
        %(records_days)s::timestamptz AS records, %(requests_days)s::timestamptz AS requests,
        %(history_days)s::timestamptz AS history
),
version_floor AS MATERIALIZED (
    SELECT DISTINCT ON (v.kind, v.user_id) v.*
    FROM cut JOIN ingest.version AS v ON v.account = cut.account
    WHERE v.valid_from <= cut.history AND v.recorded_at <= cut.history
    ORDER BY v.kind, v.user_id, v.valid_from DESC, v.epoch DESC, v.sequence DESC, v.revision DESC
),
balance_floor AS MATERIALIZED (
    SELECT DISTINCT ON (b.user_id, b.asset) b.*
    FROM version_floor AS f JOIN ingest.balance AS b ON b.account = f.account AND b.user_id = f.user_id
    WHERE f.kind = 'balances' AND (b.valid_from, b.epoch, b.sequence, b.revision)
        <= (f.valid_from, f.epoch, f.sequence, f.revision)
    ORDER BY b.user_id, b.asset, b.valid_from DESC, b.epoch DESC, b.sequence DESC, b.revision DESC
),
pair_floor AS MATERIALIZED (
    SELECT DISTINCT ON (p.name) p.*
    FROM version_floor AS f JOIN ingest.pair AS p ON p.account = f.account
    WHERE f.kind = 'pairs' AND (p.valid_from, p.epoch, p.sequence, p.revision)
        <= (f.valid_from, f.epoch, f.sequence, f.revision)
    ORDER BY p.name, p.valid_from DESC, p.epoch DESC, p.sequence DESC, p.revision DESC
),
exposure_floor AS MATERIALIZED (
    SELECT DISTINCT ON (e.user_id, e.asset) e.*
    FROM cut JOIN ingest.exposure AS e ON e.account = cut.account
    WHERE e.observed_at <= cut.history AND e.recorded_at <= cut.history
    ORDER BY e.user_id, e.asset, e.observed_at DESC, e.session_id DESC, e.ordinal DESC, e.position DESC
),
total_floor AS MATERIALIZED (
    SELECT DISTINCT ON (t.user_id) t.*
    FROM cut JOIN ingest.exposure_total AS t ON t.account = cut.account
    WHERE t.observed_at <= cut.history AND t.recorded_at <= cut.history
    ORDER BY t.user_id, t.observed_at DESC, t.session_id DESC, t.ordinal DESC, t.position DESC
),
-- The currency of the exposures that are valid at the cut.
total_of_floor AS MATERIALIZED (
    SELECT t.*
    FROM exposure_floor AS e CROSS JOIN LATERAL (
        SELECT x.* FROM ingest.exposure_total AS x
        WHERE x.account = e.account AND x.user_id = e.user_id AND x.observed_at <= e.observed_at
        ORDER BY x.observed_at DESC, x.session_id DESC, x.ordinal DESC, x.position DESC LIMIT 1
    ) AS t
),
last_answer AS MATERIALIZED (
    SELECT r.command, max(r.requested_at) AS requested_at
    FROM cut JOIN ingest.request AS r ON r.account = cut.account
    WHERE r.outcome = 'answered' AND r.ended_at < cut.requests
    GROUP BY r.command
),
current_version AS MATERIALIZED (
    SELECT 'balances' AS kind, b.*
    FROM cut JOIN ingest.known_asset AS k ON k.account = cut.account CROSS JOIN LATERAL (
        SELECT x.user_id, x.valid_from, x.epoch, x.sequence, x.revision FROM ingest.balance AS x
        WHERE x.account = k.account AND x.user_id = k.user_id AND x.asset = k.asset
        ORDER BY x.valid_from DESC, x.epoch DESC, x.sequence DESC, x.revision DESC LIMIT 1
    ) AS b
    UNION
    SELECT 'pairs', '', p.valid_from, p.epoch, p.sequence, p.revision
    FROM (
        SELECT DISTINCT ON (x.name) x.* FROM cut JOIN ingest.pair AS x ON x.account = cut.account
        ORDER BY x.name, x.valid_from DESC, x.epoch DESC, x.sequence DESC, x.revision DESC
    ) AS p
),
source_record AS MATERIALIZED (
    SELECT w.session_id, w.ordinal FROM cut JOIN ingest.watermark AS w USING (account)
    UNION SELECT v.session_id, v.ordinal FROM cut JOIN ingest.version AS v USING (account)
        JOIN current_version AS c USING (kind, user_id, valid_from, epoch, sequence, revision)
    UNION SELECT g.session_id, g.ordinal FROM cut JOIN ingest.gap AS g USING (account) WHERE g.ended_at IS NULL
    UNION SELECT c.session_id, c.ordinal FROM cut JOIN ingest.confirmation AS c USING (account)
        WHERE c.resolution IS NULL
    UNION SELECT d.session_id, d.ordinal FROM cut JOIN ingest.dead_letter AS d USING (account)
    -- An answer that did not repeat what was known confirms nothing; of one that is gone the reports assume that it
    -- did. So it stays as long as its request.
    UNION SELECT o.session_id, o.ordinal FROM cut JOIN ingest.request AS r USING (account)
        JOIN ingest.outcome AS o ON o.account = r.account AND o.session_id = r.session_id AND o.ordinal = r.answer_ordinal
        WHERE o.outcome <> 'duplicate' AND o.valid_from IS NULL AND (
            (r.ended_at < cut.requests AND r.end_recorded_at < cut.requests) IS NOT TRUE
            OR EXISTS (SELECT FROM last_answer AS l WHERE l.command = r.command AND l.requested_at = r.requested_at)
        )
    UNION SELECT e.first_evidence_session_id, e.first_evidence_ordinal FROM cut JOIN ingest.epoch AS e USING (account)
    UNION SELECT e.last_evidence_session_id, e.last_evidence_ordinal FROM cut JOIN ingest.epoch AS e USING (account)
    UNION (SELECT DISTINCT ON (e.user_id, e.asset) e.session_id, e.ordinal
        FROM cut JOIN ingest.exposure AS e USING (account)
        ORDER BY e.user_id, e.asset, e.observed_at DESC, e.session_id DESC, e.ordinal DESC, e.position DESC)
    UNION (SELECT DISTINCT ON (t.user_id) t.session_id, t.ordinal
        FROM cut JOIN ingest.exposure_total AS t USING (account)
        ORDER BY t.user_id, t.observed_at DESC, t.session_id DESC, t.ordinal DESC, t.position DESC)
),
old AS (
    SELECT r.tableoid, r.ctid, r.account, r.session_id, r.ordinal, r.base_ordinal
    FROM cut JOIN ingest.raw_event AS r ON r.account = cut.account
    WHERE (
            r.received_at < cut.records
            OR r.received_at < cut.duplicates AND NOT EXISTS (
                SELECT FROM ingest.outcome AS o
                WHERE o.account = r.account AND o.session_id = r.session_id AND o.ordinal = r.ordinal
                  AND o.outcome <> 'duplicate'
            )
        )
      AND NOT EXISTS (SELECT FROM source_record AS s WHERE s.session_id = r.session_id AND s.ordinal = r.ordinal)
),
-- Whole records to which no record refers that stays.
old_whole AS (
    SELECT o.* FROM old AS o CROSS JOIN cut
    WHERE o.base_ordinal IS NULL AND NOT EXISTS (
        SELECT FROM ingest.raw_event AS r
        WHERE r.account = o.account AND r.session_id = o.session_id AND r.base_ordinal = o.ordinal
          AND (
              r.received_at >= greatest(cut.records, cut.duplicates)
              OR EXISTS (SELECT FROM source_record AS s WHERE s.session_id = r.session_id AND s.ordinal = r.ordinal)
          )
    )
)
"""
"""The queries by which the targets are found."""

_RECORDS = ("duplicates_days", "records_days")
_BELOW = "(doomed.valid_from, doomed.epoch, doomed.sequence, doomed.revision) < (f.valid_from, f.epoch, f.sequence, f.revision)"
_EARLIER = "(doomed.observed_at, doomed.session_id, doomed.ordinal, doomed.position) < (f.observed_at, f.session_id, f.ordinal, f.position)"

TARGETS = (
    # Records that refer to others are removed before those, and outcomes before their records: so after an
    # interruption the remaining rows are consistent, and the next call continues.
    Target("raw_event", _RECORDS, "old AS doomed WHERE doomed.base_ordinal IS NOT NULL"),
    Target(
        "outcome",
        _RECORDS,
        "ingest.outcome AS doomed JOIN old_whole USING (account, session_id, ordinal) "
        "WHERE doomed.valid_from IS NULL",
    ),
    Target("raw_event", _RECORDS, "old_whole AS doomed"),
    Target(
        "request",
        ("requests_days",),
        "ingest.request AS doomed JOIN cut ON cut.account = doomed.account "
        "WHERE doomed.outcome IS NOT NULL AND doomed.ended_at < cut.requests "
        # As known at the cut, a request whose end was stored later was still open.
        "AND doomed.end_recorded_at < cut.requests AND NOT EXISTS ("
        "SELECT FROM last_answer AS l WHERE l.command = doomed.command AND l.requested_at = doomed.requested_at)",
    ),
    Target(
        "outcome",
        ("history_days",),
        # Not the outcome of a record that is kept: duplicates that refer to the record are shown by it.
        "ingest.outcome AS doomed JOIN version_floor AS f USING (account, kind, user_id) "
        f"WHERE doomed.valid_from IS NOT NULL AND {_BELOW} "
        "AND NOT EXISTS (SELECT FROM ingest.raw_event AS r WHERE r.account = doomed.account "
        "AND r.session_id = doomed.session_id AND r.ordinal = doomed.ordinal AND NOT EXISTS ("
        "SELECT FROM old_whole AS o WHERE o.session_id = r.session_id AND o.ordinal = r.ordinal)) "
        "AND NOT EXISTS (SELECT FROM balance_floor AS b WHERE doomed.kind = 'balances' "
        "AND (b.user_id, b.valid_from, b.epoch, b.sequence, b.revision) "
        "= (doomed.user_id, doomed.valid_from, doomed.epoch, doomed.sequence, doomed.revision)) "
        "AND NOT EXISTS (SELECT FROM pair_floor AS p WHERE doomed.kind = 'pairs' "
        "AND (p.valid_from, p.epoch, p.sequence, p.revision) "
        "= (doomed.valid_from, doomed.epoch, doomed.sequence, doomed.revision))",
    ),
    Target(
        "balance",
        ("history_days",),
        f"ingest.balance AS doomed JOIN balance_floor AS f USING (account, user_id, asset) WHERE {_BELOW}",
    ),
    Target(
        "pair",
        ("history_days",),
        f"ingest.pair AS doomed JOIN pair_floor AS f USING (account, name) WHERE {_BELOW}",
    ),
    Target(
        "exposure_total",
        ("history_days",),
        f"ingest.exposure_total AS doomed JOIN total_floor AS f USING (account, user_id) WHERE {_EARLIER} "
        "AND NOT EXISTS (SELECT FROM total_of_floor AS t "
        "WHERE (t.user_id, t.observed_at, t.session_id, t.ordinal, t.position) "
        "= (doomed.user_id, doomed.observed_at, doomed.session_id, doomed.ordinal, doomed.position))",
    ),
    Target(
        "exposure",
        ("history_days",),
        f"ingest.exposure AS doomed JOIN exposure_floor AS f USING (account, user_id, asset) WHERE {_EARLIER}",
    ),
)
