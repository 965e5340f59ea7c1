"""The content check: a run has a figure only if its tables hold what the generator sent, no more, no less."""

from datetime import datetime
from typing import Any

import psycopg

from tests.benchmarks.load import PAIRS, Tally, decimal


class ContentDiffers(Exception):
    """A row is missing, doubled, or wrong: the run has no figure."""


# EXCEPT: a join of tables that have not been analysed yet would compare each record with each outcome.
_QUESTIONS = """
    WITH s AS (SELECT session_id FROM ingest.session WHERE account = 'main' AND opened_at >= %(since)s),
    r AS (SELECT raw, session_id, ordinal, received_at FROM ingest.record JOIN s USING (session_id)
          WHERE account = 'main'),
    o AS (SELECT session_id, ordinal, position, outcome, sequence, kind
          FROM ingest.event_outcome JOIN s USING (session_id) WHERE account = 'main'),
    b AS (SELECT available, allocated FROM ingest.balance WHERE account = 'main' AND user_id = %(user)s)
    SELECT
      (SELECT count(*) FROM r) AS records,
      (SELECT coalesce(sum(('x' || left(md5(raw), 16))::bit(64)::bigint::numeric), 0) FROM r) AS digest,
      (SELECT coalesce(sum(length(raw)), 0) FROM r) AS raw_bytes,
      (SELECT count(*) FROM o WHERE outcome = 'applied') AS applied,
      (SELECT count(*) FROM o WHERE outcome = 'duplicate') AS duplicates,
      (SELECT count(*) FROM o WHERE outcome NOT IN ('applied', 'duplicate')) AS others,
      (SELECT count(*) FROM ingest.version JOIN s USING (session_id) WHERE account = 'main') AS versions,
      (SELECT count(*) FROM b) AS balance_rows,
      (SELECT coalesce(sum(available), 0) FROM b) AS available,
      (SELECT coalesce(sum(allocated), 0) FROM b) AS allocated,
      (SELECT sequence FROM ingest.watermark WHERE kind = 'balances' AND user_id = %(user)s) AS last_sequence,
      (SELECT count(*) FROM (
         SELECT session_id, ordinal FROM r EXCEPT SELECT session_id, ordinal FROM o) x) AS unaccounted,
      (SELECT count(*) FROM (
         SELECT sequence < lag(sequence) OVER (ORDER BY session_id, ordinal, position) AS fell
         FROM o WHERE kind = 'balances') x WHERE fell) AS out_of_order,
      (SELECT count(DISTINCT name) FROM ingest.pair) AS pairs,
      (SELECT coalesce(sum(dropped_records), 0) FROM ingest.session) AS dropped,
      (SELECT count(*) FROM ingest.dead_letter) AS dead_letters
"""

_FINAL = """
    SELECT DISTINCT ON (asset) asset, available, allocated FROM ingest.balance
    WHERE account = 'main' AND user_id = %s
    ORDER BY asset, valid_from DESC, epoch DESC, sequence DESC, revision DESC
"""


def check_daemon(connection: psycopg.Connection, tally: Tally, since: datetime) -> None:
    """Hold what schema `ingest` got since then against the generator's model.

    Raises:
        ContentDiffers: naming each difference.
    """
    expected: dict[str, object] = {
        "records": tally.records,
        "digest": tally.digest,
        "raw_bytes": tally.raw_bytes,
        "applied": tally.applied,
        "duplicates": tally.duplicates,
        "others": 0,
        "versions": tally.applied,
        "balance_rows": tally.balance_rows,
        "pairs": len(PAIRS),
        "available": decimal(tally.available),
        "allocated": decimal(tally.allocated),
        "last_sequence": tally.last_sequence,
        "unaccounted": 0,
        "out_of_order": 0,
        "dropped": 0,
        "dead_letters": 0,
    }
    cursor = connection.execute(_QUESTIONS, {"user": tally.user, "since": since})
    row = cursor.fetchone()
    assert row is not None
    assert cursor.description is not None
    found = {column.name: value for column, value in zip(cursor.description, row, strict=True)}
    final = {name: (free, held) for name, free, held in connection.execute(_FINAL, [tally.user])}
    expected["final balances"], found["final balances"] = _amounts(tally), final
    _compare(expected, found)


def check_script(dsn: str, tally: Tally, assets: int) -> None:
    """The same for the script's tables. Raises ContentDiffers."""
    events = tally.applied
    with psycopg.connect(dsn) as connection:
        counts = connection.execute(
            "SELECT (SELECT count(*) FROM script.event), (SELECT count(*) FROM script.snapshot), "
            "(SELECT count(*) FROM script.balance), (SELECT max(sequence) FROM script.event)"
        ).fetchone()
        final = connection.execute(
            "SELECT asset, available, allocated FROM script.balance "
            "WHERE snapshot_id = (SELECT max(id) FROM script.snapshot)"
        ).fetchall()
    _compare({"rows": (events, events, events * assets, tally.last_sequence)}, {"rows": counts})
    _compare({"final": True}, {"final": _amounts(tally).items() <= {n: (a, b) for n, a, b in final}.items()})


def _amounts(tally: Tally) -> dict[str, Any]:
    return {name: (decimal(free), decimal(held)) for name, (free, held) in tally.assets.items()}


def _compare(expected: dict[str, Any], found: dict[str, Any]) -> None:
    wrong = [
        f"{name}: expected {value}, found {found.get(name)}"
        for name, value in expected.items()
        if found.get(name) != value
    ]
    if wrong:
        raise ContentDiffers("; ".join(wrong))
