"""The command desk: what to ask the hub, when, and how each ask ends.

The hub may push nothing at all, so asking is how we learn. Reasons to ask arrive from everywhere (link up,
schedule, gap, doubt) and are merged here: one open want per command is enough, because its answer is newer
than every reason given before it was sent. An ask is recorded before it is sent, is sent once, and is settled
exactly once: by its answer, by a refusal, by its deadline, or by the loss of the link. A retry is a new ask
with a fresh id, so a late answer can never be taken for an early one.

The desk has a thread of its own, because sending can block and deadlines must not wait for it. It is also the
monotonic guard over the schedule: whatever the wall clock or the scheduler does, an answer that is older than
`overdue_factor` intervals makes it ask.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from uuid import UUID, uuid4

from ingestor.domain.backoff import full_jitter
from ingestor.domain.commands import (
    ArgumentForm,
    Cause,
    Command,
    CommandAsked,
    CommandOutcome,
    CommandSettled,
)
from ingestor.domain.errors import LinkDown
from ingestor.domain.records import Item, Record
from ingestor.domain.scrub import scrub
from ingestor.pipeline.ports import Clock, Hub

_BARE_FAILURE = "on the server."
"""A hub without detailed errors ends its text for a binding failure like this, and says no more."""


@dataclass(frozen=True, slots=True)
class DeskRules:
    """`[snapshots]` of the configuration."""

    reply_deadline_seconds: float = 15.0
    commit_patience_seconds: float = 60.0
    """How long an answer that has arrived may take through the inbox and the database."""
    attempts: int = 3
    retry_cap_seconds: float = 8.0
    spacing_seconds: float = 1.0
    """At least this long between two asks of one command for doubts and gaps: a hub that provokes one with
    every event must not make us flood it."""
    overdue_factor: float = 2.0
    interval_seconds: dict[Command, float] = field(
        default_factory=lambda: {Command.GET_BALANCES: 60.0, Command.GET_PAIRS: 300.0}
    )


@dataclass(slots=True)
class _Open:
    """An ask that has been sent and not settled."""

    asked: CommandAsked
    deadline: float
    heard: bool = False
    """A record with its id has arrived and is on its way through the writer, which gets longer to say so."""


@dataclass(slots=True)
class _Want:
    cause: Cause
    attempt: int
    not_before: float
    form: ArgumentForm | None = None


class CommandDesk:
    """Thread-safe; `start` and `stop` once."""

    def __init__(
        self, hub: Hub, record: Callable[[Item], None], clock: Clock, rules: DeskRules, chance: Random
    ) -> None:
        self._hub = hub
        self._record = record
        self._clock = clock
        self._rules = rules
        self._chance = chance
        self._changed = threading.Condition(threading.Lock())
        self._session: UUID | None = None
        self._wants: dict[Command, _Want] = {}
        self._open: dict[str, _Open] = {}
        self._forms = dict.fromkeys(Command, ArgumentForm.POSITIONAL)
        self._last_sent: dict[Command, float] = {}
        self._last_answer: dict[Command, float] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="command desk", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """Send nothing more."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(timeout)

    def alive(self) -> bool:
        """False once its thread has ended, for whatever reason."""
        return self._thread.is_alive()

    # --- reasons to ask ---

    def ask(self, command: Command, cause: Cause) -> None:
        """Want a fresh answer. Merged with an unsent want for the same command."""
        with self._changed:
            if self._session is None or command in self._wants:
                return  # link-up asks for everything anyway
            now = self._clock.monotonic()
            not_before = now
            if cause in {Cause.GAP, Cause.SUSPICION, Cause.UNDECODABLE}:
                not_before = max(now, self._last_sent.get(command, -1e9) + self._rules.spacing_seconds)
            self._wants[command] = _Want(cause, 1, not_before)
            self._changed.notify()

    def link_up(self, session: UUID) -> None:
        """A session began: everything is asked for."""
        with self._changed:
            self._session = session
            now = self._clock.monotonic()
            for command in Command:
                self._wants[command] = _Want(Cause.LINK_UP, 1, now)
                self._last_answer[command] = now
            self._changed.notify()

    def link_down(self, session: UUID) -> None:
        """A session ended: what was open in it will not be answered."""
        with self._changed:
            if self._session == session:
                self._session = None
                self._wants.clear()
            for sent in [each for each in self._open.values() if each.asked.session == session]:
                self._settle(sent, CommandOutcome.LINK_LOST, None, final=False)
            self._changed.notify()

    # --- what comes back ---

    def hear(self, records: Sequence[Record]) -> None:
        """Note answers on arrival, so that a slow database is not taken for a silent hub."""
        if not self._open:  # unlocked peek: an ask is registered before it is sent
            return
        with self._changed:
            for command_id, sent in self._open.items():
                if not sent.heard and any(command_id.encode() in record.raw for record in records):
                    sent.heard = True
                    sent.deadline += self._rules.commit_patience_seconds

    def completed(self, session: UUID, command_id: str, error: str | None) -> None:
        """A Completion arrived. Without an error it says only that the hub took the invocation."""
        del session  # ids are never used twice
        if error is None:
            return
        with self._changed:
            sent = self._open.get(command_id)
            if sent is not None:
                self._refuse(sent, scrub(error), may_be_form=error.endswith(_BARE_FAILURE) or "bind" in error)

    def answered(self, command_id: str) -> None:
        """The answer is committed."""
        with self._changed:
            sent = self._open.pop(command_id, None)
            if sent is not None:
                self._last_answer[sent.asked.command] = self._clock.monotonic()
                self._forms[sent.asked.command] = sent.asked.form
                self._changed.notify()

    def refused(self, command_id: str, reason: str) -> None:
        """The answer was an error event, or unreadable. `reason` is scrubbed already."""
        with self._changed:
            sent = self._open.get(command_id)
            if sent is not None:
                self._refuse(sent, reason, may_be_form=False)

    # --- the thread ---

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._stopping:
                    return
                now = self._clock.monotonic()
                self._expire(now)
                self._guard(now)
                due = [command for command, want in self._wants.items() if want.not_before <= now]
                if not due or self._session is None:
                    self._changed.wait(self._pause(now))
                    continue
                asked, sent = self._register(due[0], now)
            self._send(asked, sent)

    def _register(self, command: Command, now: float) -> tuple[CommandAsked, _Open]:
        want = self._wants.pop(command)
        assert self._session is not None  # noqa: S101 - the caller has just checked, under the same lock
        asked = CommandAsked(
            command_id=str(uuid4()),
            command=command,
            cause=want.cause,
            session=self._session,
            asked_at=self._clock.now(),
            attempt=want.attempt,
            form=want.form or self._forms[command],
        )
        sent = _Open(asked, now + self._rules.reply_deadline_seconds)
        self._open[asked.command_id] = sent
        self._last_sent[command] = now
        self._record(asked)
        return asked, sent

    def _send(self, asked: CommandAsked, sent: _Open) -> None:
        try:
            self._hub.ask(asked.session, asked.command, asked.command_id, asked.form)
        except LinkDown:
            with self._changed:
                self._settle(sent, CommandOutcome.UNSENT, None, final=False)

    def _expire(self, now: float) -> None:
        for sent in [each for each in self._open.values() if each.deadline <= now]:
            self._settle(
                sent, CommandOutcome.TIMED_OUT, None, final=not self._retry(sent, sent.asked.attempt + 1)
            )

    def _refuse(self, sent: _Open, reason: str, *, may_be_form: bool) -> None:
        nested = ArgumentForm.NESTED
        if may_be_form and sent.asked.form is not nested and self._forms[sent.asked.command] is not nested:
            # The vendor's pages show both forms: try the other one once, and remember it if it works.
            retried = self._retry(sent, sent.asked.attempt + 1, nested)
        else:
            retried = self._retry(sent, sent.asked.attempt + 1)
        self._settle(sent, CommandOutcome.REFUSED, reason, final=not retried)

    def _retry(self, sent: _Open, attempt: int, form: ArgumentForm | None = None) -> bool:
        command = sent.asked.command
        if command in self._wants:
            return True
        if attempt > self._rules.attempts or self._session != sent.asked.session:
            return False
        delay = 0.0
        if form is None:
            delay = full_jitter(attempt, self._chance.random(), cap_seconds=self._rules.retry_cap_seconds)
        self._wants[command] = _Want(Cause.RETRY, attempt, self._clock.monotonic() + delay, form)
        self._changed.notify()
        return True

    def _settle(self, sent: _Open, outcome: CommandOutcome, error: str | None, *, final: bool) -> None:
        if self._open.pop(sent.asked.command_id, None) is None:
            return
        self._record(
            CommandSettled(
                command_id=sent.asked.command_id,
                command=sent.asked.command,
                session=sent.asked.session,
                settled_at=self._clock.now(),
                outcome=outcome,
                error=error,
                final=final,
            )
        )

    def _guard(self, now: float) -> None:
        """Ask when the last answer is too old, whatever the scheduler thinks the time is."""
        if self._session is None:
            return
        for command, interval in self._rules.interval_seconds.items():
            oldest = now - interval * self._rules.overdue_factor
            pending = command in self._wants or any(
                each.asked.command is command for each in self._open.values()
            )
            if self._last_answer.get(command, now) < oldest and not pending:
                self._last_answer[command] = now  # the next reminder is due one whole period later
                self._wants[command] = _Want(Cause.OVERDUE, 1, now)

    def _pause(self, now: float) -> float:
        """Seconds until something is due; a guard tick at the latest."""
        times = [want.not_before for want in self._wants.values() if self._session is not None]
        times += [each.deadline for each in self._open.values()]
        return max(0.001, min([1.0, *(at - now for at in times)]))
