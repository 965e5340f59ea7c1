"""Operators' commands to an account's daemon, as rows of `ingest.signal`; the newest one is in effect."""

from enum import StrEnum

import psycopg

from ingestor.adapters.postgres.timekeeping import within_a_second


class Signal(StrEnum):
    """The words of `signal.signal`."""

    PAUSE = "pause"
    """Close the link to the hub and do not connect again."""
    RESUME = "resume"


_NEWEST = b"SELECT signal FROM ingest.signal WHERE account = $1 ORDER BY sent_at DESC LIMIT 1"
_SEND = b"INSERT INTO ingest.signal (account, signal) VALUES ($1, $2)"


def is_paused(connection: psycopg.Connection, account: str) -> bool:
    """Whether an operator has paused the account and not resumed it.

    Raises:
        Transient: the table is locked, or the database is slow; commits need not wait for it.
        psycopg.Error: as it comes.
    """
    with within_a_second(connection):
        row = psycopg.RawCursor(connection).execute(_NEWEST, (account,)).fetchone()
    return row is not None and row[0] == Signal.PAUSE


def send(connection: psycopg.Connection, account: str, signal: Signal) -> None:
    """Store a signal for the account's daemon."""
    psycopg.RawCursor(connection).execute(_SEND, (account, signal.value))
