"""From items to rows: the pure middle of the pipe.

`Bookkeeper.book` takes the items of a batch in order, decodes them, lets the sequencer decide, and collects
the rows of one transaction. It reads no clock and does no I/O: the same items on the same books give the same
rows, which is what makes a refused batch repeatable and the projections replayable (I7).
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import assert_never
from uuid import UUID

from msgspec.structs import replace

from ingestor.domain.commands import Cause, CommandAsked, CommandSettled
from ingestor.domain.content import Content
from ingestor.domain.decision import Decision, Offer, Outcome, Policy
from ingestor.domain.decode import decode
from ingestor.domain.events import (
    BalanceSnapshot,
    Event,
    HubError,
    PairList,
    Reason,
    Rejected,
    Unhandled,
)
from ingestor.domain.gaps import Gap, GapKind
from ingestor.domain.limits import DEFAULT_LIMITS, Limits
from ingestor.domain.records import Item, Record, SessionClosed, SessionOpened, Shed
from ingestor.domain.sequencer import decide, decide_by_arrival
from ingestor.domain.streams import EventKey, Kind, StreamKey
from ingestor.pipeline.batch import Batch, DeadLetterRow, RawEventRow, WatermarkMove
from ingestor.pipeline.books import Ask, Books, Stream
from ingestor.pipeline.entries import Entries
from ingestor.pipeline.ledger import BOTH_KINDS, Ledger
from ingestor.pipeline.projections import project_balances, project_pairs

_KIND_OF_SUBJECT = {"account.balances.snapshot": Kind.BALANCES, "execution.pairs": Kind.PAIRS}
_STATE_PROVEN = frozenset({Outcome.APPLIED, Outcome.DUPLICATE, Outcome.CONFLICT})


@dataclass(frozen=True, slots=True)
class BookingRules:
    """What an operator may set, and what identifies this software in the rows."""

    policy: Policy = field(default_factory=Policy)
    limits: Limits = DEFAULT_LIMITS
    mass_delete_share: float = 0.5
    """A snapshot that loses more than this share of what was there needs a second answer (rule 15)."""
    software_version: str = "unknown"


class Bookkeeper:
    """Books one batch on one set of books; made anew for each attempt."""

    def __init__(self, books: Books, rules: BookingRules) -> None:
        self.books = books
        self._rules = rules
        self._batch = Batch()
        self._ledger = Ledger(books, self._batch)
        self._entries = Entries(self._batch, self._ledger)
        self._found = dict(books.streams)

    def book(self, items: Sequence[Item], refused: Collection[tuple[UUID, int]] = ()) -> Batch:
        """The rows for these items.

        Args:
            items: in order of arrival.
            refused: (session, ordinal) of records whose projection the database has refused; they are
                quarantined as `refused_by_database`.
        """
        for item in items:
            self.books.line += 1
            match item:
                case Record():
                    self._record(item, refused=(item.session, item.ordinal) in refused)
                case SessionOpened():
                    self._ledger.session_opened(item)
                case SessionClosed():
                    self._ledger.session_closed(item)
                case CommandAsked():
                    self._ledger.asked(item)
                case CommandSettled():
                    self._ledger.settled(item)
                case Shed():
                    self._ledger.shed(item)
                case _:
                    assert_never(item)
        self._batch.watermarks = self._moves()
        self._batch.counts.update(Counter(row.outcome for row in self._batch.outcomes))
        return self._batch

    # --- records ---

    def _record(self, record: Record, *, refused: bool) -> None:
        self._ledger.heard(record)
        self._batch.raw_events.append(
            RawEventRow(
                record.session, record.ordinal, record.received_at, record.size, record.sha256, record.raw
            )
        )
        for event in decode(record.raw, self._rules.limits, truncated=record.sha256 is not None):
            if refused and isinstance(event.body, BalanceSnapshot | PairList):
                detail = "the database refused a value of this event"
                event = replace(event, body=Rejected(Reason.REFUSED_BY_DATABASE, detail))  # noqa: PLW2901 - the same event, as the database sees it
            self._event(record, event)

    def _event(self, record: Record, event: Event) -> None:
        client = event.client_id
        ask = None if client is None else self._ledger.ask_for(client, record.session)
        key = EventKey(record.session, record.ordinal, event.position)
        match event.body:
            case BalanceSnapshot() as snapshot:
                ask = self._ledger.about((Kind.BALANCES,), ask, event.subject)
                self._balances(record, event, key, snapshot, ask)
            case PairList() as listing:
                ask = self._ledger.about((Kind.PAIRS,), ask, event.subject)
                self._pairs(record, event, key, listing, ask)
            case Rejected() as rejected:
                self._quarantine(record, event, rejected, ask)
            case HubError() as error:
                self._entries.outcome(record, event, Outcome.IGNORED, reason="hub_error")
                if ask is not None:
                    self._batch.refused.append((ask.asked.command_id, error.message))
                self._ledger.notice("hub_error_received", subject=event.subject, message=error.message)
            case Unhandled():
                self._entries.outcome(record, event, Outcome.IGNORED, reason="unhandled_subject")
                if ask is not None:
                    self._batch.refused.append((ask.asked.command_id, "answered with an unknown subject"))
            case _:
                assert_never(event.body)

    def _quarantine(self, record: Record, event: Event, rejected: Rejected, ask: Ask | None) -> None:
        self._entries.outcome(record, event, Outcome.QUARANTINED, reason=rejected.reason.value)
        self._batch.dead_letters.append(
            DeadLetterRow(
                session_id=record.session,
                ordinal=record.ordinal,
                position=event.position,
                received_at=record.received_at,
                stage="store" if rejected.reason is Reason.REFUSED_BY_DATABASE else "decode",
                reason=rejected.reason.value,
                detail=rejected.detail,
                subject=event.subject,
                software_version=self._rules.software_version,
            )
        )
        self._ledger.notice(
            "event_quarantined", reason=rejected.reason.value, ordinal=record.ordinal, detail=rejected.detail
        )
        kind = _KIND_OF_SUBJECT.get((event.subject or "").lower())
        touched = BOTH_KINDS if kind is None else frozenset({kind})
        self._ledger.open_gap(
            Gap(
                kind=GapKind.UNDECODABLE,
                session=record.session,
                ordinal=record.ordinal,
                position=event.position,
                missed_from=record.received_at,
                missed_until=record.received_at,
                opened_at=record.received_at,
                cause=rejected.reason.value,
                stream=kind,
                awaiting=touched,
            )
        )
        ask = self._ledger.about(touched, ask, event.subject)
        if ask is None or ask.settled:  # nobody tries again for a command that has ended
            self._ledger.want(touched, Cause.UNDECODABLE)
        else:  # the bounded retries of that command take care of it; asking anew each time would never end
            self._batch.refused.append((ask.asked.command_id, f"unreadable answer: {rejected.reason.value}"))

    def _balances(
        self, record: Record, event: Event, key: EventKey, snapshot: BalanceSnapshot, ask: Ask | None
    ) -> None:
        stream_key = StreamKey(Kind.BALANCES, snapshot.user_id)
        stream = self._stream(stream_key)
        missing = stream.holdings.keys() - [asset.name for asset in snapshot.assets]
        offer = Offer(
            key=key,
            received_at=record.received_at,
            line=self.books.line,
            sequence=snapshot.sequence,
            content=Content(snapshot),
            deleted=snapshot.deleted,
            shrinks=bool(missing) and self._empties(stream, snapshot, missing),
            asked_line=None if ask is None else ask.line,
        )
        decision = decide(stream.state, offer, self._rules.policy)
        stream = self._decided(record, event, stream_key, stream, offer, decision, ask)
        self.books.streams[stream_key] = project_balances(
            self._batch, stream, snapshot, missing, offer, decision
        )

    def _pairs(self, record: Record, event: Event, key: EventKey, listing: PairList, ask: Ask | None) -> None:
        stream_key = StreamKey(Kind.PAIRS, "")
        stream = self._stream(stream_key)
        present = {pair.name for pair in listing.pairs}
        gone = sum(name not in present for name in stream.pairs)
        offer = Offer(
            key=key,
            received_at=record.received_at,
            line=self.books.line,
            sequence=0,
            content=Content(listing),
            deleted=False,
            shrinks=self._loses_too_much(len(stream.pairs), gone),
            asked_line=None if ask is None else ask.line,
        )
        decision = decide_by_arrival(stream.state, offer)
        stream = self._decided(record, event, stream_key, stream, offer, decision, ask)
        self.books.streams[stream_key] = project_pairs(self._batch, stream, listing, offer, decision)

    def _empties(self, stream: Stream, snapshot: BalanceSnapshot, missing: set[str]) -> bool:
        """Whether no asset is left, or too few of those that hold something (rule 15)."""
        if not snapshot.assets:
            return any(held.reported for held in stream.holdings.values())
        funded = {name for name, held in stream.holdings.items() if held.available or held.allocated}
        return self._loses_too_much(len(funded), len(funded & missing))

    def _loses_too_much(self, had: int, gone: int) -> bool:
        """All is too much, whatever share may go."""
        return had > 0 and (gone == had or gone > had * self._rules.mass_delete_share)

    def _stream(self, key: StreamKey) -> Stream:
        stream = self.books.streams.get(key)
        if stream is not None:
            return stream
        others = [each for each in self.books.streams if each.kind is key.kind]
        if others:  # rule 13: the key now belongs to someone else, or to more than one
            self._ledger.notice("unknown_user_seen", kind=key.kind.value, known_users=len(others))
        return Stream()

    def _decided(
        self,
        record: Record,
        event: Event,
        stream_key: StreamKey,
        stream: Stream,
        offer: Offer,
        decision: Decision,
        ask: Ask | None,
    ) -> Stream:
        """What follows from the decision itself; the projections follow."""
        self._entries.decision(record, event, stream_key, stream.state.watermark, offer, decision)
        if ask is not None:
            self._ledger.answer(ask, record)
            if decision.outcome in _STATE_PROVEN:
                self._ledger.proof(stream_key, ask, offer.key, record.received_at)
        if decision.ask is not None:
            self._ledger.want((stream_key.kind,), decision.ask)
        if decision.degraded:
            self._ledger.notice("stream_degraded", kind=stream_key.kind.value, sequence=offer.sequence)
        return replace(stream, state=decision.state)

    def _moves(self) -> list[WatermarkMove]:
        """One compare-and-set for each stream, from where the batch found it to where it leaves it."""
        moves = []
        for key, stream in self.books.streams.items():
            old, new = self._found.get(key, Stream()).state.watermark, stream.state.watermark
            if new is not None and new is not old:
                moves.append(WatermarkMove(key, None if old is None else old.mark, new))
        return moves
