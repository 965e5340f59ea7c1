"""Rows as a daemon would have left them, for what reads them."""

from collections.abc import Callable
from typing import Any

Query = Callable[..., list[tuple[Any, ...]]]
"""Runs one statement with its values; gives its rows."""


def account(sql: Query, name: str = "main") -> None:
    """An account whose daemon is alive and asks for balances every minute, for pairs every five."""
    sql("INSERT INTO ingest.account VALUES (%s, 'custom', now())", name)
    sql(
        "INSERT INTO ingest.heartbeat (account, process_id, pid, host, software_version, started_at, "
        "beat_at, link_state, inbox_records, inbox_bytes, balances_interval, pairs_interval) "
        "VALUES (%s, gen_random_uuid(), 1, 'h', '1', now(), now(), 'up', 0, 0, '1 minute', '5 minutes')",
        name,
    )


def stream(
    sql: Query, user: str = "u", *, age: str = "10 seconds", kind: str = "balances", name: str = "main"
) -> None:
    """A stream that was confirmed so long ago, and one asset of it."""
    sql(
        "INSERT INTO ingest.epoch VALUES (%s, %s, %s, 1, now(), 'first_seen', 1, NULL, "
        "gen_random_uuid(), 1, gen_random_uuid(), 1, 1)",
        *(name, kind, user),
    )
    sql(
        "INSERT INTO ingest.watermark VALUES (%s, %s, %s, 1, 1, 0, '', gen_random_uuid(), 1, 0, "
        "now() - interval '1 year', now() - %s::interval, false)",
        *(name, kind, user, age),
    )
    if kind == "balances":
        sql(
            "INSERT INTO ingest.balance "
            "VALUES (%s, %s, 'BTC', now() - interval '1 year', 1, 1, 0, 1, 0, true)",
            *(name, user),
        )


def gap(
    sql: Query,
    ending: str | None,
    awaiting: str,
    *,
    ended: str = "1 second",
    user: str | None = None,
    name: str = "main",
) -> None:
    """A gap that began a minute ago and ended so long ago, if it did."""
    sql(
        "INSERT INTO ingest.gap (account, session_id, ordinal, position, kind, missed_from, missed_until, "
        "opened_at, cause, obstacles, stream, user_id, awaiting, ending, ended_at) "
        "VALUES (%s, gen_random_uuid(), 1, 0, 'disconnected', now() - interval '1 minute', "
        "now() - interval '50 seconds', now() - interval '1 minute', 'reset', '{}', %s, %s, %s::text[], %s, "
        "CASE WHEN %s::text IS NOT NULL THEN now() - %s::interval END)",
        *(name, None if user is None else "balances", user, awaiting, ending, ending, ended),
    )
