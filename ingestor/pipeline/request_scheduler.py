"""The request scheduler decides what to request from the hub, and when, and records how each request ends.

The hub may push nothing at all, so snapshots are requested. Several causes (link up, schedule, gap, pending
confirmation) are merged: one planned request for each command is enough, because its answer is newer than
every cause before. A request is recorded before it is sent, is sent once, and ends exactly once. A retry is a
new request with a new id, so a late answer cannot be mistaken for that of the retry.

The rate of requests is bounded. A failed one is repeated after a pause that doubles up to
`retry_cap_seconds`, as long as the link is up and nothing has been answered. Requests for a cause that occurs
again and again are spaced in the same way. If an answer cannot be read, it is requested five times; then only
on schedule, because the hub would send the same again.

The scheduler has a thread of its own, because sending can block and deadlines must not wait for it. It also
checks the schedule with the monotonic clock: independently of the wall clock and APScheduler, it sends a
request when the last answer is older than `overdue_factor` intervals.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID, uuid4

from ingestor.domain.backoff import doubling
from ingestor.domain.binding import is_binding_error
from ingestor.domain.decode import decode
from ingestor.domain.errors import LinkDown
from ingestor.domain.events import Undecodable
from ingestor.domain.records import Fact, Record
from ingestor.domain.requests import (
    ArgumentForm,
    Command,
    RequestCause,
    RequestEnded,
    RequestOutcome,
    RequestSent,
)
from ingestor.domain.scrub import scrub
from ingestor.pipeline.ports import Clock, Hub

_REASONS = frozenset(
    {RequestCause.GAP, RequestCause.CONFIRMATION, RequestCause.UNDECODABLE, RequestCause.OPERATOR}
)
_AT_ONCE = 4
"""How many requests may follow each other without a pause; a reset needs three."""
_UNREADABLE_ATTEMPTS = 5
_LONGEST_TURN_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class RequestRules:
    """`[snapshots]` of the configuration."""

    reply_deadline_seconds: float = 15.0
    retry_cap_seconds: float = 30.0
    overdue_factor: float = 2.0
    interval_seconds: dict[Command, float] = field(
        default_factory=lambda: {Command.GET_BALANCES: 60.0, Command.GET_PAIRS: 300.0}
    )


@dataclass(slots=True)
class _Open:
    """A request that has been sent and has not ended."""

    sent: RequestSent
    deadline: float
    answered: bool = False
    """A record with its id has arrived and is on its way to the writer."""


@dataclass(frozen=True, slots=True)
class _Planned:
    cause: RequestCause
    attempt: int
    not_before: float
    form: ArgumentForm | None = None


@dataclass(slots=True)
class _History:
    """The history of one command's requests."""

    form: ArgumentForm = ArgumentForm.POSITIONAL
    answered_at: float | None = None
    failures: int = 0
    """Since the last good answer."""
    repeats: int = 0
    """Requests for `_REASONS` that followed each other."""
    repeated_at: float = float("-inf")


class RequestScheduler:
    """Thread-safe; `start` and `stop` once."""

    def __init__(
        self, hub: Hub, record: Callable[[Fact], None], clock: Clock, rules: RequestRules, rng: Random
    ) -> None:
        self._hub = hub
        self._record = record
        self._clock = clock
        self._rules = rules
        self._rng = rng
        self._changed = threading.Condition(threading.Lock())
        self._session: UUID | None = None
        self._planned: dict[Command, _Planned] = {}
        self._open: dict[str, _Open] = {}
        self._history = {command: _History() for command in Command}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="request scheduler", daemon=True)
        self.turned_at = clock.monotonic()
        """Monotonic time of the last turn of its loop, which takes `_LONGEST_TURN_SECONDS` at most."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Stop sending."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def alive(self) -> bool:
        """False once its thread has ended."""
        return self._thread.is_alive()

    @property
    def failures(self) -> dict[str, int]:
        """For each command, the failed requests since its last good answer."""
        with self._changed:
            return {command.value: history.failures for command, history in self._history.items()}

    def use(self, rules: RequestRules) -> None:
        """Use these rules from now on; an open request keeps its deadline."""
        with self._changed:
            self._rules = rules
            self._changed.notify()

    # --- reasons to request ---

    def request(self, command: Command, cause: RequestCause) -> None:
        """Plan a request. Merged with one that is planned for the same command."""
        with self._changed:
            now = self._clock.monotonic()
            not_before = now
            if cause in _REASONS:
                history = self._history[command]
                if now - history.repeated_at > 2 * self._rules.retry_cap_seconds:
                    history.repeats = 0
                not_before = max(now, history.repeated_at + self._pause(history.repeats - _AT_ONCE + 1))
            self._plan(command, _Planned(cause, 1, not_before))

    def link_up(self, session: UUID) -> None:
        """A session has begun: plan both requests."""
        with self._changed:
            self._session = session
            now = self._clock.monotonic()
            self._planned = {command: _Planned(RequestCause.LINK_UP, 1, now) for command in Command}
            for history in self._history.values():
                history.answered_at = now
            self._changed.notify()

    def link_down(self, session: UUID) -> None:
        """A session has ended: end its open requests."""
        with self._changed:
            if self._session == session:
                self._session = None
                self._planned.clear()
            for each in [each for each in self._open.values() if each.sent.session == session]:
                if each.answered:  # its end comes with the commit of the answer
                    del self._open[each.sent.request_id]
                else:
                    self._end(each, RequestOutcome.LINK_LOST, None)
            self._changed.notify()

    # --- answers ---

    def received(self, records: Sequence[Record]) -> list[str]:
        """Returns the ids of the requests that these records answer. They no longer time out, even if the
        database is slow."""
        if not self._open:  # unlocked peek: a request is registered before it is sent
            return []
        answered = []
        with self._changed:
            for request_id, each in self._open.items():
                if not each.answered and any(_answers(record, request_id) for record in records):
                    each.answered = True
                    self._history[each.sent.command].answered_at = self._clock.monotonic()
                    answered.append(request_id)
        return answered

    def completed(self, request_id: str, error: str | None) -> None:
        """A Completion has arrived. Without an error it means only that the hub accepted the invocation."""
        with self._changed:
            each = self._open.get(request_id)
            if each is None or error is None:
                return
            self._end(each, RequestOutcome.REFUSED, scrub(error))
            self._retry(each.sent, RequestOutcome.REFUSED, other_form=is_binding_error(error))

    def answered(self, request_id: str) -> None:
        """The answer is committed."""
        with self._changed:
            each = self._open.pop(request_id, None)
            if each is not None:
                history = self._history[each.sent.command]
                history.failures = 0
                history.form = each.sent.form

    def failed(self, request_id: str, outcome: RequestOutcome) -> None:
        """The request has failed, and its end is committed."""
        with self._changed:
            each = self._open.pop(request_id, None)
            if each is not None:
                self._retry(each.sent, outcome)

    # --- the thread ---

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                each = self._due()
                if each is None:
                    self._changed.wait(self._seconds_until_due())
                    continue
            self._send(each)

    def _due(self) -> _Open | None:
        """The next request to send now, already recorded."""
        now = self.turned_at = self._clock.monotonic()
        self._expire(now)
        self._guard(now)
        for command, planned in self._planned.items():
            if planned.not_before <= now and self._session is not None:
                return self._register(command, self._session, now)
        return None

    def _register(self, command: Command, session: UUID, now: float) -> _Open:
        planned, history = self._planned.pop(command), self._history[command]
        if planned.cause in _REASONS:
            history.repeats += 1
            history.repeated_at = now
        sent = RequestSent(
            request_id=str(uuid4()),
            command=command,
            cause=planned.cause,
            session=session,
            requested_at=self._clock.now(),
            attempt=planned.attempt,
            form=planned.form or history.form,
        )
        each = self._open[sent.request_id] = _Open(sent, now + self._rules.reply_deadline_seconds)
        self._record(sent)
        return each

    def _send(self, each: _Open) -> None:
        sent = each.sent
        try:
            self._hub.request(sent.session, sent.command, sent.request_id, sent.form)
        except LinkDown:
            with self._changed:
                self._end(each, RequestOutcome.UNSENT, None)

    def _expire(self, now: float) -> None:
        for each in [each for each in self._open.values() if each.deadline <= now and not each.answered]:
            self._end(each, RequestOutcome.TIMED_OUT, None)
            self._retry(each.sent, RequestOutcome.TIMED_OUT)

    def _retry(self, sent: RequestSent, outcome: RequestOutcome, *, other_form: bool = False) -> None:
        if self._session != sent.session:
            return  # the next session begins with both requests anyway
        history = self._history[sent.command]
        history.failures += 1
        if outcome is RequestOutcome.UNREADABLE and history.failures >= _UNREADABLE_ATTEMPTS:
            return
        form, pause = None, self._pause(history.failures) * (0.5 + self._rng.random() / 2)
        if other_form and ArgumentForm.NESTED not in {sent.form, history.form}:
            # The vendor's pages show both forms: try the other one once, and keep it if it works.
            form, pause = ArgumentForm.NESTED, 0.0
        not_before = self._clock.monotonic() + pause
        self._plan(sent.command, _Planned(RequestCause.RETRY, sent.attempt + 1, not_before, form))

    def _pause(self, times: int) -> float:
        """Seconds before the next request after `times` failures."""
        return doubling(times, cap_seconds=self._rules.retry_cap_seconds)

    def _plan(self, command: Command, planned: _Planned) -> None:
        """Plan a request, unless an earlier one is planned."""
        known = self._planned.get(command)
        if self._session is not None and (known is None or planned.not_before < known.not_before):
            self._planned[command] = planned
            self._changed.notify()

    def _end(self, each: _Open, outcome: RequestOutcome, error: str | None) -> None:
        sent = each.sent
        if self._open.pop(sent.request_id, None) is not None:
            ended_at = self._clock.now()
            self._record(RequestEnded(sent.request_id, sent.command, sent.session, ended_at, outcome, error))

    def _guard(self, now: float) -> None:
        """Plan a request if the last answer is too old, independently of the schedule."""
        for command, due in self._overdue_at().items():
            if due <= now:
                self._history[command].answered_at = now  # so that the next one is due a whole period later
                self._planned[command] = _Planned(RequestCause.OVERDUE, 1, now)

    def _overdue_at(self) -> dict[Command, float]:
        """When the last answer to each command will be too old, if nothing is planned or open for it."""
        busy = {*self._planned, *(each.sent.command for each in self._open.values())}
        return {
            command: answered_at + interval * self._rules.overdue_factor
            for command, interval in self._rules.interval_seconds.items()
            if self._session is not None
            and command not in busy
            and (answered_at := self._history[command].answered_at) is not None
        }

    def _seconds_until_due(self) -> float:
        """Seconds until something is due, at most `_LONGEST_TURN_SECONDS`, so that a stuck thread is
        detected."""
        times = [planned.not_before for planned in self._planned.values()]
        times += [each.deadline for each in self._open.values() if not each.answered]
        times += self._overdue_at().values()
        return max(0.001, min([_LONGEST_TURN_SECONDS, *(at - self.turned_at for at in times)]))


def _answers(record: Record, request_id: str) -> bool:
    """Whether `apply` will treat the record as the answer. A Completion may have our id and mean only that
    the hub accepted the request."""
    return request_id.encode() in record.raw and any(
        event.client_id == request_id or (event.client_id is None and isinstance(event.body, Undecodable))
        for event in decode(record.raw)
    )
