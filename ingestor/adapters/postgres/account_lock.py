"""One process for each account: an advisory lock, which the server releases when the database session ends.

The guards in each batch prevent two daemons from harming each other (I16). The lock makes the second one
wait.
"""

from hashlib import blake2b

import psycopg

from ingestor.adapters.postgres.connecting import backend_pid
from ingestor.adapters.postgres.reading import value
from ingestor.domain.errors import Fatal, Transient

_TRY = "SELECT pg_try_advisory_lock($1::int8)"

HOLDER = """
    SELECT pid FROM pg_locks
    WHERE locktype = 'advisory' AND granted AND objsubid = 1
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND (classid::bigint << 32 | objid::bigint) = $1::int8
"""


class AccountLockedElsewhere(Fatal):
    """Another process writes this account: a starting daemon waits, a running one ends."""

    exit_code = 75

    def __init__(self, account: str, backend: object) -> None:
        super().__init__(
            f"another process writes the account {account}\n"
            f"why: its lock belongs to the database session with pid {backend}\n"
            "fix: none is needed for a standby; `ingestor status` shows host and pid of the writer"
        )
        self.backend = backend


def lock_key(account: str) -> int:
    """The account's number among the advisory locks of a database."""
    digest = blake2b(f"hercle-ingestor/{account}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


class AccountLock:
    """Held by the writer's connection; each new connection must take it again."""

    def __init__(self, account: str) -> None:
        self._account = account
        self._key = lock_key(account)
        self._backend: int | None = None
        """Process id of the connection that held it last, whose end the server may not have noticed."""

    def hold(self, connection: psycopg.Connection) -> None:
        """Take the lock for a new connection.

        Raises:
            AccountLockedElsewhere: another process holds it.
            Transient: our lost connection holds it, whose end the server has not noticed yet.
            psycopg.Error: as it comes.
        """
        if not value(connection, _TRY, self._key):
            self._raise_locked(value(connection, HOLDER, self._key))
        self._backend = backend_pid(connection)

    def _raise_locked(self, holder: object) -> None:
        if holder is None:
            raise Transient("the account's lock has just been released")
        if holder == self._backend:
            raise Transient(f"the server has not yet noticed the end of our last connection (pid {holder})")
        raise AccountLockedElsewhere(self._account, holder)
