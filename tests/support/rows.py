"""Rows as a daemon would have left them, for what reads them."""

from collections.abc import Callable
from typing import Any

Query = Callable[..., list[tuple[Any, ...]]]
"""Runs one statement with its values; gives its rows."""


def insert(sql: Query, table: str, **values: object) -> None:
    """One row; a value that is a tuple is an SQL expression with its parameters."""
    expressions = [value if isinstance(value, tuple) else ("%s", value) for value in values.values()]
    given = ", ".join(each[0] for each in expressions)
    sql(
        f"INSERT INTO ingest.{table} ({', '.join(values)}) VALUES ({given})",
        *(parameter for each in expressions for parameter in each[1:]),
    )


def ago(interval: str) -> tuple[str, str]:
    """A moment before the database's now; of `-1 hour`, after it."""
    return "now() - %s::interval", interval


SOME_ID = ("gen_random_uuid()",)
NOW = ("now()",)


def account(sql: Query, name: str = "main") -> None:
    """An account whose daemon is alive and requests balances every minute, pairs every five."""
    insert(sql, "account", account=name, environment="custom", created_at=NOW)
    insert(
        sql,
        "heartbeat",
        account=name,
        process_id=SOME_ID,
        pid=1,
        host="h",
        software_version="1",
        started_at=NOW,
        heartbeat_at=NOW,
        link_state="up",
        key_refused=False,
        inbox_records=0,
        inbox_bytes=0,
        dropped_records=0,
        balances_interval="1 minute",
        pairs_interval="5 minutes",
    )


def epoch(sql: Query, number: int, first_sequence: int, user: str = "u", *, name: str = "main") -> None:
    """The beginning of a counter of balances."""
    _epoch(sql, number, first_sequence, "balances", user, name)


def _epoch(sql: Query, number: int, first: int, kind: str, user: str, name: str) -> None:
    insert(
        sql,
        "epoch",
        account=name,
        kind=kind,
        user_id=user,
        epoch=number,
        opened_at=NOW,
        cause="first_seen" if number == 1 else "suspected_server_reset",
        first_sequence=first,
        evidence=1,
        first_evidence_session_id=SOME_ID,
        first_evidence_ordinal=1,
        last_evidence_session_id=SOME_ID,
        last_evidence_ordinal=1,
        stale_snapshots=0,
    )


def stream(
    sql: Query, user: str = "u", *, age: str = "10 seconds", kind: str = "balances", name: str = "main"
) -> None:
    """A stream that was confirmed so long ago, and one asset of it."""
    _epoch(sql, 1, 1, kind, user, name)
    insert(
        sql,
        "watermark",
        account=name,
        kind=kind,
        user_id=user,
        epoch=1,
        sequence=1,
        revision=0,
        content=b"",
        session_id=SOME_ID,
        ordinal=1,
        position=0,
        valid_from=ago("1 year"),
        confirmed_until=ago(age),
        deleted=False,
    )
    if kind == "balances":
        insert(
            sql,
            "balance",
            account=name,
            user_id=user,
            asset="BTC",
            valid_from=ago("1 year"),
            epoch=1,
            sequence=1,
            revision=0,
            available=1,
            allocated=0,
            reported=True,
        )


def version(
    sql: Query,
    sequence: int,
    *,
    passed_over: int = 0,
    origin: str = "pushed",
    epoch: int = 1,
    revision: int = 0,
    user: str = "u",
    name: str = "main",
) -> None:
    """A version of the balances; the higher its sequence, the younger."""
    insert(
        sql,
        "outcome",
        outcome="applied",
        account=name,
        kind="balances",
        user_id=user,
        valid_from=("timestamptz '2026-01-01' + %s * interval '1 second'", 1_000 * epoch + sequence),
        epoch=epoch,
        sequence=sequence,
        revision=revision,
        session_id=SOME_ID,
        ordinal=sequence,
        position=0,
        received_at=NOW,
        deleted=False,
        origin=origin,
        passed_over=passed_over,
    )


def pending(
    sql: Query, reason: str = "conflict", user: str = "u", *, kind: str = "balances", name: str = "main"
) -> None:
    """A snapshot that waits for confirmation."""
    insert(
        sql,
        "confirmation",
        account=name,
        session_id=SOME_ID,
        ordinal=1,
        position=0,
        reason=reason,
        raised_at=NOW,
        kind=kind,
        user_id=user,
        sequence=1,
    )


def gap(
    sql: Query,
    affects: str,
    *,
    balances: str | None = None,
    pairs: str | None = None,
    ended: bool = False,
    user: str | None = None,
    name: str = "main",
    kind: str = "disconnected",
) -> None:
    """A gap that began a minute ago; `balances` and `pairs` were confirmed so long ago, if they were."""
    insert(
        sql,
        "gap",
        account=name,
        session_id=SOME_ID,
        ordinal=1,
        position=0,
        kind=kind,
        opened_at=ago("1 minute"),
        cause="reset",
        missed_from=ago("1 minute"),
        missed_until=ago("50 seconds"),
        connection_errors=("'{}'",),
        affects=("%s::text[]", affects),
        user_id=user,
        occurrences=1,
        last_occurred_at=ago("1 minute"),
        balances_confirmed_at=None if balances is None else ago(balances),
        pairs_confirmed_at=None if pairs is None else ago(pairs),
        ended_at=NOW if ended else None,
    )
