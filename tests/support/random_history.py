"""A random history of one account: items, applied by `fold` and stored by the real store.

Only the times at which the database stored something are set afterwards, since a test has no days to wait.
"""

from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta
from random import Random
from uuid import UUID

from ingestor.adapters.postgres.connecting import DatabaseTiming
from ingestor.adapters.postgres.database_session import DatabaseSession
from ingestor.adapters.postgres.store import PostgresStore
from ingestor.domain.decision import Policy, Step
from ingestor.domain.records import Item, Record, SessionEnd
from ingestor.domain.requests import Command
from ingestor.pipeline.apply import Rules
from ingestor.pipeline.ports import ClockStep
from ingestor.pipeline.resume import ends_of_left_sessions, resumed
from tests.support.feed import Feed
from tests.support.hub_records import account, asset, quoted
from tests.support.items import at, envelope, invocation
from tests.support.rows import Query
from tests.support.story import beat
from tests.support.told import Contents, Sent, Told

ASSETS = ("BTC", "EUR", "ETH", "a 'quoted'; asset")
AMOUNTS = (
    *("0", "-0", "0.0", "7", "1.50", "-3.25", "1e-5", "12345678901234567890"),
    *("0.0000000000000000000000000001", "98765432.1234567890123456789012345678"),
)
PAIRS = ("BTCEUR", "ETHEUR", "ETHBTC")
LIMITS = ("0.1", "5", "1000.000000000000000000000001")
BROKEN = invocation(envelope("account.balances.snapshot", "not JSON"))
_LOST = (
    *("session", "raw_event", "outcome", "balance", "exposure", "exposure_total", "pair"),
    *("epoch", "watermark", "gap", "confirmation", "request", "dead_letter"),
)
"""The tables of a commit; a table after those that it refers to."""
_STAMPED = {
    "outcome": ("recorded_at",),
    "exposure": ("recorded_at",),
    "exposure_total": ("recorded_at",),
    "gap": ("recorded_at", "balances_confirmation_recorded_at", "pairs_confirmation_recorded_at"),
    "confirmation": ("recorded_at", "resolution_recorded_at"),
    "request": ("recorded_at", "end_recorded_at"),
}


class _Clock:
    """The time of the newest item; the database's is not asked."""

    offset_seconds = None

    def __init__(self) -> None:
        self.moment: Callable[[], datetime] = lambda: at(0)

    def now(self) -> datetime:
        return self.moment()

    def monotonic(self) -> float:
        return 0.0

    def synchronise(self, database: datetime, sent: float, received: float) -> tuple[ClockStep, ...]:
        return ()


class History:
    """Tells one account; each method whose name begins with `_do_` is something that can happen."""

    def __init__(self, sql: Query, url: str, account: str, random: Random, seconds: float) -> None:
        self.sql, self.random, self.told = sql, random, Told(account)
        self.clock = _Clock()
        self.store = PostgresStore(
            DatabaseSession(url, DatabaseTiming(), self.clock), account, "custom", "0", self.clock
        )
        ((self.tested_at,),) = sql("SELECT now()")
        step = random.choice((Step.RISING, Step.RISING, Step.CONTIGUOUS))
        self.rules = Rules(policy=Policy(step=step), software_version="1.2.3")
        self.feed = Feed(rules=self.rules, seconds=seconds)
        self.clock.moment = lambda: self.feed.now
        self.skew, self.late = 0.0, 0.0
        self.sent: dict[tuple[UUID, int], Sent] = {}
        self.sessions, self.left = 0, False
        self.users = {"u": (100, self._some(ASSETS, AMOUNTS))}
        self.user, self.deleted, self.up = "u", False, False
        self.pairs = self._some(PAIRS, LIMITS)
        self._start()

    def tell(self, length: int) -> Told:
        """So many things happen; then the process stops in good order, or dies."""
        happens = [name for name in dir(self) if name.startswith("_do_")]
        usual = ["_do_push", "_do_answer", "_do_answer_pairs", "_do_reconnect"] * 2
        for _ in range(length):
            if not self.up:
                self._open()
            getattr(self, self.random.choice([*happens, *usual]))()
        self.told.end = self.feed.now + timedelta(seconds=self.random.choice((0, 10, 3600)))
        self.store.close()
        self.told.died = self.random.random() < 0.3
        beat(self.sql, self.told.account, self.told.end, self.told.end if not self.told.died else None)
        return self.told

    # --- what can happen ---

    def _do_push(self) -> None:
        self._commit(*(self._pushed(moves=True) for _ in range(self.random.choice((1, 1, 3)))))

    def _do_skip(self) -> None:
        number, contents = self.users[self.user]
        self.users[self.user] = number + self.random.randrange(1, 4), contents
        self._do_push()

    def _do_repeat(self) -> None:
        self._commit(*(self._pushed() for _ in range(self.random.choice((1, 1, 4)))))

    def _do_old_number(self) -> None:
        number, _ = self.users[self.user]
        if number > 1:
            self._commit(self._received(number - 1, self._some(ASSETS, AMOUNTS)))

    def _do_conflict(self) -> None:
        number, _ = self.users[self.user]
        self.users[self.user] = number, self._some(ASSETS, AMOUNTS)
        self._do_repeat()

    def _do_answer(self) -> None:
        self._move(self.random.choice((0, 0, 1)))
        self._ask()

    def _do_answer_that_a_push_overtakes(self) -> None:
        number, contents = self.users[self.user]
        name, sent = self._requested(Command.GET_BALANCES)
        self._commit(sent, self._pushed(moves=True))
        self._commit(self._received(number, contents, name))

    def _do_no_answer(self) -> None:
        name, sent = self._requested(self.random.choice(list(Command)))
        self._commit(sent)
        self._commit(self.feed.ended(name))

    def _do_answer_pairs(self) -> None:
        if self.random.random() < 0.3:
            self.pairs = self._some(PAIRS, LIMITS)
        self._ask_pairs()

    def _do_push_pairs(self) -> None:
        if self.random.random() < 0.5:
            self.pairs = self._some(PAIRS, LIMITS)
        self._commit(self._received_pairs())

    def _do_empty_pairs(self) -> None:
        before, self.pairs = self.pairs, {}
        self._commit(self._received_pairs())
        if self.random.random() < 0.5:
            self.pairs = before
        for _ in range(2):
            self._ask_pairs()

    def _do_empty(self) -> None:
        number, before = self.users[self.user]
        self.users[self.user] = number + 1, {}
        self._commit(self._pushed())
        if self.random.random() < 0.5:
            self.users[self.user] = number + 2, before
        if self.random.random() < 0.8:
            self._ask()
            self._ask()

    def _do_reset(self) -> None:
        self.users[self.user] = self.random.randrange(3), self._some(ASSETS, AMOUNTS)
        for _ in range(self.random.choice((1, 3, 4))):
            self._ask()

    def _do_deleted(self) -> None:
        self.deleted = not self.deleted
        self._do_push()

    def _do_another_user(self) -> None:
        self.user = self.random.choice(("u", "v", "w"))
        self.users.setdefault(self.user, (5, self._some(ASSETS, AMOUNTS)))

    def _do_broken(self) -> None:
        self._commit(self._record(BROKEN))

    def _do_drop(self) -> None:
        self._move(1)
        self._commit(self.feed.dropped(self.random.choice((1, 7))))

    def _do_lose_commits(self) -> None:
        """The server loses what is committed meanwhile, and the daemon notices it."""
        told = deepcopy(self.told)
        for name in _LOST:
            self.sql(f"CREATE TEMP TABLE kept_{name} AS TABLE ingest.{name}")
        happens = (self._do_push, self._do_answer, self._do_answer_pairs, self._do_repeat, self._do_conflict)
        more = (self._do_broken, self._do_drop, self._do_reset, self._do_no_answer, self._reconnect)
        for each in self.random.choices((*happens, *more), k=self.random.choice((1, 1, 3))):
            if not self.up:
                self._open()
            each()
        for name in reversed(_LOST):
            self.sql(f"DELETE FROM ingest.{name}")
        for name in _LOST:
            self.sql(f"INSERT INTO ingest.{name} TABLE kept_{name}")
            self.sql(f"DROP TABLE kept_{name}")
        self.told = told
        self.feed.state, facts = resumed(self.feed.state, self.store.open())
        self.left = True
        pushed = [self._pushed(moves=True)] if self.up and self.random.random() < 0.5 else []
        self._commit(*facts, *pushed)

    def _do_reconnect(self) -> None:
        self._reconnect(self.random.choice(("reset", "stopped", "paused")))

    def _reconnect(self, cause: str = "reset") -> None:
        end = SessionEnd.LINK_LOST if cause == "reset" else SessionEnd.CLEAN
        self._wait()
        self._commit(self.feed.closed(cause, end))
        self._move(self.random.choice((0, 0, 1, 2)))
        self.up = False
        if cause == "stopped":
            self._start()
        if self.random.random() < 0.8:
            self._open()
            for ask in self.random.sample((self._ask, self._ask_pairs), k=self.random.choice((1, 2, 2))):
                ask()

    def _do_die(self) -> None:
        self._wait()
        self._start()
        self._commit(*ends_of_left_sessions(self.feed.state, self.feed.now))

    def _do_clock_step(self) -> None:
        """The database's; ours never goes back."""
        self.skew, self.late = self.random.choice((-900.0, -1.5, 0.0, 0.0, 2.0, 600.0)), 0.0

    def _do_long_silence(self) -> None:
        self.feed.seconds += self.random.choice((3600, 20_000, 86_400))

    # --- how it is told ---

    def _start(self) -> None:
        """A process starts."""
        self.feed = Feed(rules=self.rules, seconds=self.feed.seconds + 5)
        self.feed.state = self.store.open()
        self.up, self.left = False, True

    def _open(self) -> None:
        self._wait()
        self.sessions += 1
        self._commit(self.feed.opened(UUID(int=self.sessions)))
        self.up = True

    def _commit(self, *items: Item) -> None:
        batch = self.feed.apply(*items)
        self.store.write(batch)
        recorded = self._stamp()
        if self.left:
            self.told.abandon(self.feed.now, recorded)
        self.left = False
        self.told.note(items, self.sent, batch, recorded)
        self._wait()

    def _stamp(self) -> datetime:
        """Set the time of the newest transaction."""
        lag = self.random.choice((0.0, 0.0, 0.0, 0.25, 900.0))
        self.late = max(self.late, self.feed.seconds + self.skew + lag)
        recorded = at(self.late)
        for table, columns in _STAMPED.items():
            for column in columns:
                self.sql(
                    f"UPDATE ingest.{table} SET {column} = %s WHERE {column} >= %s AND account = %s",
                    recorded,
                    self.tested_at,
                    self.told.account,
                )
        return recorded

    def _wait(self) -> None:
        self.feed.seconds += self.random.choice((0.0, 0.000001, 0.5, 20.0, 61.0, 200.0, 1800.0))

    # --- the hub ---

    def _some(self, names: tuple[str, ...], values: tuple[str, ...]) -> Contents:
        share = self.random.choice((0.0, 0.7, 0.7, 1.0)) if names is ASSETS else 0.8
        choice = self.random.choice
        return {n: (choice(values), choice(values)) for n in names if self.random.random() < share}

    def _move(self, by: int) -> None:
        number, contents = self.users[self.user]
        if by:
            one = {**contents, self.random.choice(ASSETS): (self.random.choice(AMOUNTS), "0")}
            contents = self.random.choice((one, self._some(ASSETS, AMOUNTS)))
        self.users[self.user] = number + by, contents

    def _pushed(self, *, moves: bool = False) -> Record:
        self._move(int(moves))
        return self._received(*self.users[self.user])

    def _received(self, number: int, contents: Contents, request_id: str | None = None) -> Record:
        shown = self.random.random() < 0.5
        exposure = {name: (self.random.choice("12"), "9") for name in contents if shown}
        base = self.random.choice(("EUR", "EUR", "USD")) if shown else ""
        figures = {name: f',"currentExposure":{now},"maxExposure":9' for name, (now, _) in exposure.items()}
        assets = [asset(quoted(name), *each, figures.get(name, "")) for name, each in contents.items()]
        more = f',"deleted":{str(self.deleted).lower()}' + (f',"baseCurrency":"{base}"' if shown else "")
        data = account(*assets, sequence=str(number), user_id=quoted(self.user), more=more)
        record = self._record(invocation(envelope("account.balances.snapshot", data, request_id)))
        self.sent[record.session, record.ordinal] = Sent(
            "balances", self.user, contents, request_id is None, exposure, base
        )
        return record

    def _received_pairs(self, name: str | None = None) -> Record:
        listed = ",".join(
            f'{{"name":"{pair}","asset":"{pair[:3]}","currency":"{pair[3:]}","minSize":{least},"maxSize":{most}}}'
            for pair, (least, most) in self.pairs.items()
        )
        record = self._record(invocation(envelope("execution.pairs", f"[{listed}]", name)))
        self.sent[record.session, record.ordinal] = Sent("pairs", "", dict(self.pairs), name is None)
        return record

    def _record(self, raw: bytes) -> Record:
        return self.feed.received(raw, later=self.random.choice((0.0, 0.000001, 1.0, 30.0)))

    def _requested(self, command: Command) -> tuple[str, Item]:
        name = str(UUID(int=self.random.getrandbits(128)))
        return name, self.feed.requested(name, command)

    def _ask(self) -> None:
        name, sent = self._requested(Command.GET_BALANCES)
        self._commit(sent)
        self._commit(self._received(*self.users[self.user], name))

    def _ask_pairs(self) -> None:
        name, sent = self._requested(Command.GET_PAIRS)
        self._commit(sent, self._received_pairs(name))
