"""Engines with the deadlines that a daemon needs, from plain values."""

from dataclasses import dataclass

from sqlalchemy import Engine, create_engine
from sqlalchemy.pool import NullPool


@dataclass(frozen=True, slots=True)
class DatabaseTiming:
    """`[database]` of the configuration. They nest: lock < statement < transaction < drain."""

    connect_seconds: float = 5.0
    lock_seconds: float = 5.0
    statement_seconds: float = 10.0
    transaction_seconds: float = 15.0


def make_engine(url: str, timing: DatabaseTiming, *, application_name: str = "hercle-ingestor") -> Engine:
    """An engine without a pool: one owner holds one connection; a broken one is replaced."""
    options = " ".join(
        (
            f"-c lock_timeout={int(timing.lock_seconds * 1000)}",
            f"-c statement_timeout={int(timing.statement_seconds * 1000)}",
            "-c timezone=UTC",
            # Each statement has one good plan whatever is given: planning anew costs more than the batch.
            "-c plan_cache_mode=force_generic_plan",
            # The server's own, so that it soon lets go of the account's lock when our host has vanished.
            "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3",
        )
    )
    return create_engine(
        url,
        poolclass=NullPool,
        connect_args={
            "connect_timeout": max(2, round(timing.connect_seconds)),
            "options": options,
            "application_name": application_name,
            "target_session_attrs": "read-write",
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": int(timing.transaction_seconds * 1000),
        },
    )
