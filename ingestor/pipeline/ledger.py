"""What happened to us rather than to the account: sessions, gaps and commands, as rows.

Shares the books and the batch with `booking`, which tells it of every event that proves, breaks or answers
something.
"""

from collections.abc import Callable, Collection
from datetime import datetime
from uuid import UUID

from msgspec.structs import replace

from ingestor.domain.commands import Cause, Command, CommandAsked, CommandOutcome, CommandSettled
from ingestor.domain.decision import Outcome
from ingestor.domain.gaps import Gap, GapEnd, GapKind, bridged, given_up, proven
from ingestor.domain.records import Record, SessionClosed, SessionEnd, SessionOpened, Shed
from ingestor.domain.streams import EventKey, Kind, StreamKey
from ingestor.pipeline.batch import Batch, CommandRow, Notice, SessionProgress, Want
from ingestor.pipeline.books import Ask, Books

_COMMAND_FOR = {Kind.BALANCES: Command.GET_BALANCES, Kind.PAIRS: Command.GET_PAIRS}
_KIND_OF = {command: kind for kind, command in _COMMAND_FOR.items()}
BOTH_KINDS = frozenset(Kind)
_REMEMBERED_ASKS = 64
"""Settled asks whose late answer we still recognise."""


class Ledger:
    """Adds ledger rows to one batch."""

    def __init__(self, books: Books, batch: Batch) -> None:
        self._books = books
        self._batch = batch
        self._progress: SessionProgress | None = None
        """Of the session that spoke last."""

    # --- sessions and gaps ---

    def session_opened(self, opened: SessionOpened) -> None:
        self._batch.opened.append(opened)
        if not self._books.ever_connected:
            self._books.ever_connected = True
            since = self._books.account_since or opened.opened_at
            self.write_gap(
                Gap(
                    kind=GapKind.DISCONNECTED,
                    session=opened.session,
                    ordinal=0,
                    position=0,
                    missed_from=min(since, opened.opened_at),
                    missed_until=opened.opened_at,
                    opened_at=opened.opened_at,
                    cause="before_first_session",
                    obstacles=opened.obstacles,
                    end=GapEnd.EXPLAINED,
                    ended_at=opened.opened_at,
                )
            )
        self._update_gaps(lambda gap: bridged(gap, opened.opened_at, opened.obstacles))

    def session_closed(self, closed: SessionClosed) -> None:
        self._batch.closed.append(closed)
        unclean = closed.end is SessionEnd.UNCLEAN
        self.open_gap(
            Gap(
                kind=GapKind.UNCLEAN_END if unclean else GapKind.DISCONNECTED,
                session=closed.session,
                ordinal=closed.received + 1,
                position=0,
                missed_from=min(closed.last_heard_at, closed.closed_at),
                missed_until=None,
                opened_at=closed.closed_at,
                cause=closed.cause,
                awaiting=BOTH_KINDS,
            )
        )

    def shed(self, shed: Shed) -> None:
        until = max(shed.first_received_at, shed.last_received_at)  # the clock may have stepped back
        progress = self._progress_of(shed.session, shed.first_ordinal, until)
        progress.last_ordinal = shed.last_ordinal
        progress.shed += shed.count
        progress.last_received_at = max(progress.last_received_at, until)
        self._batch.counts[Outcome.SHED] += shed.count
        self.open_gap(
            Gap(
                kind=GapKind.SHED,
                session=shed.session,
                ordinal=shed.first_ordinal,
                position=0,
                missed_from=shed.first_received_at,
                missed_until=until,
                opened_at=until,
                cause=shed.limit,
                first_missing=shed.first_ordinal,
                last_missing=shed.last_ordinal,
                awaiting=BOTH_KINDS,
            )
        )
        self.want(BOTH_KINDS, Cause.GAP)

    def open_gap(self, gap: Gap) -> None:
        gap = replace(gap, line=self._books.line)
        self._books.open_gaps.append(gap)
        self.write_gap(gap)

    def _update_gaps(self, change: Callable[[Gap], Gap]) -> None:
        """Apply a transition of `domain.gaps` to every open gap and write the ones it changed."""
        still_open: list[Gap] = []
        for gap in self._books.open_gaps:
            changed = change(gap)
            if changed is not gap:
                self.write_gap(changed)
            if changed.end is None:
                still_open.append(changed)
        self._books.open_gaps = still_open

    def write_gap(self, gap: Gap) -> None:
        key = (gap.session, gap.ordinal, gap.position, gap.kind.value)
        first_seen = key not in self._batch.gaps
        self._batch.gaps[key] = gap
        since = gap.missed_from.isoformat()
        if gap.end is not None:
            self.notice("gap_ended", gap=gap.kind.value, cause=gap.cause, since=since, ending=gap.end.value)
        elif first_seen and gap.line == self._books.line:
            self.notice("gap_opened", gap=gap.kind.value, cause=gap.cause, since=since)

    # --- commands ---

    def asked(self, asked: CommandAsked) -> None:
        self._books.asks[asked.command_id] = Ask(asked, self._books.line)
        self._write_command(asked)
        settled = [each for each, ask in self._books.asks.items() if ask.settled]
        for command_id in settled[:-_REMEMBERED_ASKS]:
            del self._books.asks[command_id]

    def settled(self, settled: CommandSettled) -> None:
        """An end without an answer; if the answer overtook it, the answer stands."""
        ask = self._books.asks.get(settled.command_id)
        if ask is None or ask.settled:
            return
        self._books.asks[settled.command_id] = replace(ask, settled=True)
        self._write_command(ask.asked, settled.outcome, settled_at=settled.settled_at, error=settled.error)
        self.notice(
            "command_failed",
            command=settled.command.value,
            outcome=settled.outcome.value,
            error=settled.error,
            final=settled.final,
        )
        if settled.final:
            kind = _KIND_OF[settled.command]
            self._update_gaps(lambda gap: given_up(gap, kind, ask.line, settled.settled_at))

    def proof(self, stream: StreamKey, ask: Ask, event: EventKey, at: datetime) -> None:
        """A fresh answer agrees with our state of this stream, or has become it."""
        self._update_gaps(lambda gap: proven(gap, stream, ask.line, event, at))

    def ask_for(self, client_id: str, session: UUID) -> Ask | None:
        """The command of ours that an event with this `clientId` answers, if any, in this session."""
        ask = self._books.asks.get(client_id)
        return ask if ask is not None and ask.asked.session == session else None

    def about(self, kinds: Collection[Kind], ask: Ask | None, subject: str | None) -> Ask | None:
        """The ask, if it asked for one of these kinds. Else it has no answer, and its retries must go on."""
        if ask is None or _KIND_OF[ask.asked.command] in kinds:
            return ask
        self._batch.refused.append((ask.asked.command_id, f"answered with {subject}"))
        return None

    def answer(self, ask: Ask, record: Record) -> None:
        self._batch.answered.append(ask.asked.command_id)
        if not ask.settled:
            self._books.asks[ask.asked.command_id] = replace(ask, settled=True)
            self._write_command(
                ask.asked, CommandOutcome.ANSWERED, settled_at=record.received_at, ordinal=record.ordinal
            )

    def _write_command(
        self,
        asked: CommandAsked,
        outcome: CommandOutcome | None = None,
        *,
        settled_at: datetime | None = None,
        ordinal: int | None = None,
        error: str | None = None,
    ) -> None:
        self._batch.commands[asked.command_id] = CommandRow(
            command_id=asked.command_id,
            command=asked.command.value,
            cause=asked.cause.value,
            attempt=asked.attempt,
            argument_form=asked.form.value,
            session_id=asked.session,
            asked_at=asked.asked_at,
            outcome=None if outcome is None else outcome.value,
            settled_at=settled_at,
            answer_ordinal=ordinal,
            error=error,
        )

    def want(self, kinds: Collection[Kind], cause: Cause) -> None:
        for kind in sorted(kinds):
            want = Want(_COMMAND_FOR[kind], cause)
            if want not in self._batch.wants:
                self._batch.wants.append(want)

    # --- what every record adds to ---

    def heard(self, record: Record) -> None:
        progress = self._progress
        if progress is None or progress.session_id is not record.session:
            progress = self._progress_of(record.session, record.ordinal, record.received_at)
        progress.last_ordinal = record.ordinal
        progress.records += 1
        if record.received_at > progress.last_received_at:  # noqa: PLR1730 - `max` is a call, and here is every event
            progress.last_received_at = record.received_at

    def _progress_of(self, session: UUID, ordinal: int, at: datetime) -> SessionProgress:
        """The session's, from now on the current one."""
        self._progress = self._batch.progress.setdefault(
            session, SessionProgress(session, ordinal, ordinal, 0, 0, at)
        )
        return self._progress

    def notice(self, name: str, /, **facts: object) -> None:
        self._batch.notices.append(Notice(name, facts))
