"""The writer: one thread that owns decoding, sequencing and commit, so nothing there needs a lock.

Its loop is the sentence that this software is about: take what has arrived, book it, commit it, and only
then tell anyone. There is no timer in it: it takes what is there as soon as it is free, so a quiet stream
commits at once and a flood commits by the thousand. In a flood it books one batch ahead while the database
works on the one before; if that one does not come out as it was booked, what was built on it is booked anew.

Trouble has three answers, given by the class of the error. *Transient*: the same batch again, for as long as
it takes, while the inbox holds what arrives. *Data*: halve the batch until the one record that the database
refuses stands alone, quarantine it, commit its neighbours. *Anything else*: stop; the process ends and is
restarted.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from uuid import UUID

import structlog
from msgspec.structs import replace

from ingestor.domain.backoff import full_jitter
from ingestor.domain.errors import DataRefused, Fatal, OutcomeUnknown, StateMoved, Transient
from ingestor.domain.records import Item, Record, SessionClosed, SessionEnd
from ingestor.domain.streams import StreamKey
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.booking import BookingRules, Bookkeeper
from ingestor.pipeline.books import Books, Stream
from ingestor.pipeline.committer import Committer
from ingestor.pipeline.desk import CommandDesk
from ingestor.pipeline.inbox import Inbox
from ingestor.pipeline.ports import Beat, Clock, Store
from ingestor.pipeline.telemetry import LOG_EVENTS

log = structlog.get_logger()

_MOVES = 5
"""So often a batch is decided again because a guard refused it. What that does not cure, a new process with a
session of its own does: in a database restored from a backup, which does not know ours, for example."""


@dataclass(frozen=True, slots=True)
class WriterRules:
    """`[writer]` of the configuration."""

    max_records: int = 1_000
    max_bytes: int = 8 * 1024 * 1024
    turn_seconds: float = 1.0
    """An idle writer turns this often, to show that it can."""
    beat_seconds: float = 5.0
    retry_cap_seconds: float = 5.0


@dataclass(slots=True)
class Progress:
    """What the writer has done, for status, watchdog and demo. Other threads read single fields of it."""

    turned_at: float = 0.0
    """Monotonic time of the last turn of the loop: alive, though perhaps waiting for the database."""
    committed_at: datetime | None = None
    committed_records: int = 0
    batches: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    retrying: str | None = None
    """Why the current batch is not committed yet."""


@dataclass(frozen=True, slots=True)
class _Booked:
    """Items, and what they come to if all before them is committed as booked."""

    items: Sequence[Item]
    refused: frozenset[tuple[UUID, int]]
    """(session, ordinal) of records among them whose projection the database has refused."""
    books: Books
    batch: Batch


class Writer:
    """Thread-safe `start`, `finish` and `alive`; all else happens in its own thread."""

    def __init__(
        self,
        inbox: Inbox,
        store: Store,
        desk: CommandDesk,
        clock: Clock,
        beat: Callable[[], Beat],
        rules: WriterRules,
        booking: BookingRules,
        chance: Random,
    ) -> None:
        self._inbox = inbox
        self._store = store
        self._desk = desk
        self._clock = clock
        self._make_beat = beat
        self._rules = rules
        self._booking = booking
        self._chance = chance
        self._books = Books()
        self._ahead: _Booked | None = None
        self._committer = Committer(store)
        self._finishing = threading.Event()
        self._abandon = threading.Event()
        self._next_beat = 0.0
        self._failure: BaseException | None = None
        self.progress = Progress()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    def start(self, books: Books) -> None:
        """Go on from what the store has loaded. Sessions that a dead process left open are closed first."""
        self._books = books
        now = self._clock.now()
        for left in books.left_open:
            self._inbox.put(
                SessionClosed(
                    session=left.session,
                    closed_at=now,
                    last_heard_at=left.last_heard_at,
                    received=left.committed_ordinal,
                    end=SessionEnd.UNCLEAN,
                    cause="process_died",
                )
            )
        books.left_open = ()
        self._committer.start()
        self._thread.start()

    def finish(self, timeout: float) -> bool:
        """Write all that the inbox holds, then end. False if it took longer than `timeout` seconds."""
        self._finishing.set()
        self._inbox.close()
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._abandon.set()
            self._thread.join(1.0)
            return False
        return self._failure is None

    def abandon(self) -> None:
        """Give up on a database that is away: what is held stays unwritten."""
        self._abandon.set()

    def alive(self) -> bool:
        """False once the thread has ended, for whatever reason."""
        return self._thread.is_alive()

    def committer_alive(self) -> bool:
        """The same of the thread that commits for it: without that one, it would wait for ever."""
        return self._committer.alive()

    @property
    def books(self) -> Books:
        """As of the last commit. Owned by the thread while that lives."""
        return self._books

    @property
    def failure(self) -> BaseException | None:
        """What ended the thread, if it was not asked to."""
        return self._failure

    def _run(self) -> None:
        try:
            while self._turn():
                pass
        except BaseException as error:  # noqa: BLE001 - handed to the main thread, which ends the process with it
            self._failure = error
        finally:
            self._committer.end()

    def _turn(self) -> bool:
        booked, self._ahead = self._ahead, None
        if booked is None:
            items = self._inbox.take(self._rules.max_records, self._rules.max_bytes, self._rules.turn_seconds)
            booked = self._book(items, self._books) if items else None
        self.progress.turned_at = self._clock.monotonic()
        if booked is not None:
            self._write(booked)
        self._beat()
        return booked is not None or not self._finishing.is_set()

    def _write(self, booked: _Booked) -> None:
        """Commit, and book what waits while the database is busy."""
        if self._inbox.level.records == 0:
            self._commit(booked)
            return
        under_way = self._committer.write(booked.batch)
        waiting = self._inbox.take(self._rules.max_records, self._rules.max_bytes, 0.0)
        ahead = self._book(waiting, booked.books)
        self._commit(booked, under_way)
        if self._books is not booked.books:  # what it stood on has not come to be
            ahead = self._book(waiting, self._books)
        self._ahead = ahead

    def _commit(self, booked: _Booked, under_way: "Future[None] | None" = None) -> None:
        """Commit, for as long as it takes; on a refused value, in halves.

        Args:
            under_way: the first attempt, if it has begun already.
        """
        delay = 1
        moved = 0
        unknown = False
        while True:
            self.progress.turned_at = self._clock.monotonic()
            try:
                if under_way is not None:
                    first, under_way = under_way, None
                    first.result()
                elif not (unknown and self._store.holds(booked.batch)):
                    unknown = False
                    self._store.write(booked.batch)
                break
            except DataRefused as error:
                self._without_the_refused(booked, error)
                return
            except StateMoved as error:
                moved += 1
                if moved > _MOVES:
                    raise Fatal(f"the state that is stored is not ours to go on from: {error}") from error
                log.warning("state_moved", error=str(error))
                self._reload()
                booked = self._book(booked.items, self._books, booked.refused)
            except Transient as error:
                unknown = unknown or isinstance(error, OutcomeUnknown)
                self._wait(delay, error)
                delay = min(delay + 1, 16)
        self._books = booked.books
        self._published(booked)

    def _book(
        self, items: Sequence[Item], books: Books, refused: frozenset[tuple[UUID, int]] = frozenset()
    ) -> _Booked:
        keeper = Bookkeeper(books.copy(), self._booking)
        batch = keeper.book(items, refused)
        self._store.pack(batch)
        return _Booked(items, refused, keeper.books, batch)

    def _without_the_refused(self, booked: _Booked, error: DataRefused) -> None:
        items, refused = booked.items, booked.refused
        if len(items) > 1:
            middle = len(items) // 2
            for half in (items[:middle], items[middle:]):
                self._commit(self._book(half, self._books, refused))
            return
        only = items[0]
        if not isinstance(only, Record) or (only.session, only.ordinal) in refused:
            raise Fatal(f"the database refuses what only we have written: {error}") from error
        log.error("record_refused", ordinal=only.ordinal, error=str(error))
        self._commit(self._book(items, self._books, refused | {(only.session, only.ordinal)}))

    def _reload(self) -> None:
        """Another writer has moved a stream: take over where it stands, keep all that is our own."""
        stand = self._where_streams_stand()
        self._books.streams = {key: self._taken_over(key, stream) for key, stream in stand.items()}

    def _where_streams_stand(self) -> Mapping[StreamKey, Stream]:
        delay = 1
        while True:
            try:
                return self._store.streams()
            except Transient as error:
                self._wait(delay, error)
                delay = min(delay + 1, 16)

    def _taken_over(self, key: StreamKey, stream: Stream) -> Stream:
        """With what we doubt and have heard. No answer to a command asked before now is newer than it."""
        state, ours = stream.state, self._books.streams.get(key, Stream()).state
        if state.watermark is not None:
            state = replace(state, watermark=replace(state.watermark, line=self._books.line))
        return replace(stream, state=replace(state, doubts=ours.doubts, heard_in=ours.heard_in))

    def _wait(self, attempt: int, error: Transient) -> None:
        if self.progress.retrying is None:
            log.warning("commit_delayed", error=str(error), waiting_records=self._inbox.level.records)
        self.progress.retrying = str(error)
        pause = full_jitter(attempt, self._chance.random(), cap_seconds=self._rules.retry_cap_seconds)
        if self._abandon.wait(pause):
            raise Fatal(f"ended while the database was away: {error}") from error

    def _published(self, booked: _Booked) -> None:
        """What follows from the commit, and never precedes it."""
        progress, batch = self.progress, booked.batch
        if progress.retrying is not None:
            log.info("commit_resumed")
            progress.retrying = None
        progress.committed_at = self._clock.now()
        progress.committed_records += len(batch.raw_events)
        progress.batches += 1
        progress.outcomes.update(batch.counts)
        progress.answered += len(batch.answered)
        for command_id in batch.answered:
            self._desk.answered(command_id)
        for command_id, reason in batch.refused:
            self._desk.refused(command_id, reason)
        for want in batch.wants:
            self._desk.ask(want.command, want.cause)
        for notice in batch.notices:
            tell = getattr(log, LOG_EVENTS[notice.event].level)
            tell(notice.event, **notice.facts)
        log.debug("batch_committed", items=len(booked.items), records=len(batch.raw_events))

    def _beat(self) -> None:
        now = self._clock.monotonic()
        if now < self._next_beat:
            return
        self._next_beat = now + self._rules.beat_seconds
        try:
            self._store.beat(self._make_beat())
        except Transient as error:
            log.debug("beat_missed", error=str(error))
