"""One process for each account: a session's advisory lock, which the server drops when the session ends.

The guards in each batch keep two daemons from harming each other (I16). The lock keeps the second from
trying, and tells the operator that there are two.
"""

from hashlib import blake2b

import psycopg
import structlog

from ingestor.domain.errors import Fatal, Transient

log = structlog.get_logger()

_TRY = "SELECT pg_try_advisory_lock(%b)"

_HOLDER = """
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (classid::bigint << 32 | objid::bigint) = %b
"""


class AccountTaken(Fatal):
    """Another process writes this account; it may be gone by the next start."""

    exit_code = 75


def lock_key(account: str) -> int:
    """The account's number among the advisory locks of a database."""
    digest = blake2b(f"hercle-ingestor/{account}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


class AccountLock:
    """Held by one connection at a time, the writer's; each new one must take it anew."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._key = lock_key(account)
        self._holding: psycopg.Connection | None = None
        self._backend: int | None = None
        """Of the connection that held it last, which the server may not know to be gone."""

    def hold(self, connection: psycopg.Connection) -> None:
        """Take the lock, unless this connection has it.

        Raises:
            AccountTaken: another process has it.
            Transient: a connection of our own has it that we have lost and the server not yet.
            psycopg.Error: as it comes.
        """
        if connection is self._holding:
            return
        if not _value(connection, _TRY, self._key):
            self._refuse(_value(connection, _HOLDER, self._key))
        self._holding = connection
        self._backend = connection.info.backend_pid

    def _refuse(self, holder: object) -> None:
        if holder is None:
            raise Transient("the account's lock was let go this very moment")
        if holder == self._backend:
            raise Transient(f"the server has not yet noticed the end of our last connection (pid {holder})")
        log.error("account_taken", account=self._account, backend=holder)
        raise AccountTaken(
            f"another process writes the account {self._account}\n"
            f"why: its lock belongs to the database session with pid {holder}\n"
            "fix: stop one of the two; `ingestor status` tells the host and pid of the one that writes"
        )


def _value(connection: psycopg.Connection, query: str, *values: object) -> object:
    row = connection.execute(query.encode(), values).fetchone()
    return None if row is None else row[0]
