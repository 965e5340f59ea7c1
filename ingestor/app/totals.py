"""Whole-table counts of an account, for the closing document of `ingestor demo`."""

from dataclasses import dataclass

import psycopg
from msgspec import convert

from ingestor.adapters.postgres.reading import rows


@dataclass(frozen=True, slots=True)
class AccountTotals:
    """`ingestor demo --json`: numbers of all rows of an account."""

    received: int
    committed: int
    outcomes: dict[str, int]
    unaccounted: int
    """Records received that are neither stored nor counted as dropped, and stored ones without an outcome."""
    reconnects: int
    requests_answered: int
    gaps: dict[str, dict[str, int]]
    """By kind, then by `open` and `ended`."""
    balance_rows: int
    pair_rows: int


def account_totals(connection: psycopg.Connection, account: str) -> AccountTotals:
    """Counts all rows of one account by scanning; not for a large database."""
    gaps: dict[str, dict[str, int]] = {}
    for kind, state, count in rows(connection, _GAPS, account):
        gaps.setdefault(kind, {})[state] = count
    outcomes = outcome_counts(connection, account)
    (counts,) = rows(connection, _COUNTS, account)
    if counts.dropped:
        outcomes["dropped"] = counts.dropped
    return convert({**counts._asdict(), "outcomes": outcomes, "gaps": gaps}, AccountTotals)


def outcome_counts(connection: psycopg.Connection, account: str) -> dict[str, int]:
    """Number of events of one account by outcome, by scanning."""
    return dict(rows(connection, _OUTCOMES, account))


_GAPS = """
    SELECT kind, CASE WHEN ended_at IS NULL THEN 'open' ELSE 'ended' END, count(*)
    FROM ingest.gap WHERE account = $1 GROUP BY 1, 2 ORDER BY 1, 2
"""

_OUTCOMES = "SELECT outcome, count(*) FROM ingest.event_outcome WHERE account = $1 GROUP BY 1 ORDER BY 1"

# EXCEPT: a join of tables that have not been analysed yet would compare each record with each outcome.
_COUNTS = """
    SELECT received, committed, dropped, received - committed - dropped + without_outcome AS unaccounted,
        greatest(0, sessions - 1) AS reconnects,
        (SELECT count(*) FROM ingest.request WHERE account = $1 AND outcome = 'answered')
            AS requests_answered,
        (SELECT count(*) FROM ingest.balance WHERE account = $1) AS balance_rows,
        (SELECT count(*) FROM ingest.pair WHERE account = $1) AS pair_rows
    FROM (
        SELECT count(*) AS sessions,
            coalesce(sum(coalesce(received, committed_ordinal)), 0)::int8 AS received,
            coalesce(sum(dropped_records), 0)::int8 AS dropped
        FROM ingest.session WHERE account = $1
    ) AS session
    CROSS JOIN (SELECT count(*) AS committed FROM ingest.raw_event WHERE account = $1) AS record
    CROSS JOIN (
        SELECT count(*) AS without_outcome FROM (
            SELECT session_id, ordinal FROM ingest.raw_event WHERE account = $1
            EXCEPT SELECT session_id, ordinal FROM ingest.event_outcome WHERE account = $1
        ) AS each
    ) AS missing
"""
