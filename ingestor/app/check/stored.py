"""The last step of `ingestor check`: the hub's answer is stored, and an analyst can read it.

While a daemon holds the account's lock, only that daemon writes: it is asked to request snapshots, as by
`ingestor snapshot`, and the step waits for its commit. If no daemon runs, the step takes the lock, writes the
session of `check` with the hub to the tables by the daemon's code, reads it as an analyst, and rolls it back:
the account's history is as before. An empty commit proves that commits work.
"""

import threading
from collections.abc import Sequence

import psycopg

from ingestor import __version__
from ingestor.adapters.clock import DatabaseClock
from ingestor.adapters.postgres import checking, writing
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.loading import load_state
from ingestor.adapters.postgres.store import REGISTER_ACCOUNT
from ingestor.app.check.findings import Problem
from ingestor.app.check.hub import HubItem
from ingestor.app.control import live_state, snapshot_now
from ingestor.config import Settings
from ingestor.domain.decode import Decoder
from ingestor.domain.errors import RowRejected
from ingestor.domain.limits import Limits
from ingestor.domain.records import Decoded, Fact, Record
from ingestor.domain.requests import Command, RequestSent
from ingestor.logs import redact
from ingestor.pipeline.apply.fold import fold
from ingestor.pipeline.apply.rules import Rules

_POLL_SECONDS = 0.05


class StoredCheck:
    """One step.

    Args:
        database: the database session of the steps before.
        hub_items: the items of the session with the hub, with an answer to GetPairs.
        clock: synchronised with the database.
    """

    def __init__(
        self,
        settings: Settings,
        database: DatabaseSession,
        hub_items: Sequence[HubItem],
        clock: DatabaseClock,
    ) -> None:
        self._settings = settings
        self._account = settings.account
        self._database = database
        self._hub_items = hub_items
        self._clock = clock

    def run(self, seconds: float) -> str:
        """Returns what was stored and which role read it.

        Args:
            seconds: the longest wait for a daemon.
        """
        if live_state(self._account) is not None:
            return self._by_the_daemon(seconds)
        try:
            return self._without_a_daemon()
        except RowRejected as error:
            raise Problem(
                f"the database rejects what the hub sends: {error}",
                "the daemon will quarantine such records: see `ingestor dead-letters list`",
                76,
            ) from None

    def _without_a_daemon(self) -> str:
        """Without a daemon that answers on this machine."""
        with self._database.use() as connection:
            with connection.transaction(force_rollback=True):
                tried = self._rolled_back(connection)
            if tried is not None:
                checking.commit_nothing(connection)
                return tried
            with connection.transaction(force_rollback=True):
                reader = checking.become_reader(connection)
                newest = checking.newest_pairs_request(connection, self._account)
        return self._of_another_machine(reader, newest)

    def _by_the_daemon(self, seconds: float) -> str:
        _, before = self._newest()
        snapshot_now(self._account)
        until, pause = self._clock.monotonic() + seconds, threading.Event()
        while self._clock.monotonic() < until:
            reader, newest = self._newest()
            is_new = before is None or (newest and newest.request_id) != before.request_id
            if newest is not None and newest.outcome == "answered" and is_new:
                return f"a new answer to GetPairs was committed by the running daemon, and read as {reader}"
            pause.wait(_POLL_SECONDS)
        raise Problem(
            f"the running daemon was asked for a snapshot and has committed none within {seconds:g} s",
            "see `ingestor status`",
            69,
        )

    def _newest(self) -> tuple[str, checking.Request | None]:
        with self._database.use() as connection, connection.transaction(force_rollback=True):
            return checking.become_reader(connection), checking.newest_pairs_request(
                connection, self._account
            )

    def _of_another_machine(self, reader: str, newest: checking.Request | None) -> str:
        if newest is None:
            raise Problem(
                "a daemon that does not answer here holds the account's lock, and has stored no GetPairs",
                "run the check on the daemon's machine, as root or as the daemon's user",
                0,
            )
        said = (
            "a daemon that does not answer here holds the account's lock; its last GetPairs, "
            f"{newest.seconds_ago:.0f} s ago, was {newest.outcome}, read as {reader}"
        )
        late = newest.seconds_ago > 2 * self._settings.snapshots.pairs_interval_seconds
        if late or newest.outcome != "answered":
            raise Problem(said, "see `ingestor status`", 0)
        return said

    def _rolled_back(self, connection: psycopg.Connection) -> str | None:
        """Returns what was tried; None if a daemon holds the account's lock."""
        if not checking.lock_account(connection, self._account):
            return None
        settings, environment = self._settings, self._settings.hub.environment.value
        register = (self._account, environment, self._clock.now())
        psycopg.RawCursor(connection).execute(REGISTER_ACCOUNT, register)
        state, stored_environment = load_state(connection, self._account)
        if stored_environment != environment:
            raise Problem(
                f"the account belongs to environment {stored_environment!r} in this database, but "
                f"hub.environment is {environment!r}",
                "choose another name (the setting account), or another database",
                78,
            )
        decoder = Decoder(Limits(record_bytes=settings.hub.max_record_bytes), redact)
        items: list[Decoded | Fact] = [
            decoder.decoded(each) if isinstance(each, Record) else each for each in self._hub_items
        ]
        _, batch = fold(state, items, Rules(software_version=__version__))
        writing.write(connection, self._account, batch)
        request = next(
            each.request_id
            for each in reversed(self._hub_items)
            if isinstance(each, RequestSent) and each.command is Command.GET_PAIRS
        )
        reader = checking.become_reader(connection)
        outcome, pairs = checking.outcome_of(connection, self._account, request)
        if outcome != "answered":
            raise Problem(
                f"the answer to GetPairs was written and reads back as {outcome or 'missing'}",
                "make sure that the schema is that of this software: `ingestor db status`",
                78,
            )
        return (
            f"the answer was written, read as {reader} ({pairs} pairs) and rolled back, since no daemon "
            "runs; an empty commit succeeded"
        )
