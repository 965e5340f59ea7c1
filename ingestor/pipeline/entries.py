"""What goes on record of a decision: the outcome, the version that the event has become, and the notes."""

from typing import assert_never

from msgspec.structs import replace

from ingestor.domain.decision import (
    Decision,
    DoubtRaised,
    DoubtResolved,
    EpochOpened,
    Note,
    Offer,
    Outcome,
    Skip,
    SkipCause,
)
from ingestor.domain.events import Event
from ingestor.domain.gaps import Gap, GapEnd, GapKind
from ingestor.domain.records import Record
from ingestor.domain.streams import Kind, Resolution, StreamKey, Suspicion, Watermark
from ingestor.pipeline.batch import Batch, DoubtRow, EpochRow, OutcomeRow, VersionRow
from ingestor.pipeline.ledger import Ledger


class Entries:
    """Adds rows to one batch; what waits for proof goes into the ledger."""

    def __init__(self, batch: Batch, ledger: Ledger) -> None:
        self._batch = batch
        self._ledger = ledger

    def outcome(
        self,
        record: Record,
        event: Event,
        outcome: Outcome,
        stream_key: StreamKey | None = None,
        offer: Offer | None = None,
        version: Watermark | None = None,
        *,
        reason: str | None = None,
    ) -> None:
        """What became of one event; without an offer it never came to a decision."""
        sequence = None
        if offer is not None and stream_key is not None and stream_key.kind is Kind.BALANCES:
            sequence = offer.sequence
        self._batch.outcomes.append(
            OutcomeRow(
                record.session,
                record.ordinal,
                event.position,
                record.received_at,
                outcome,
                reason,
                event.subject,
                event.client_id,
                None if stream_key is None else stream_key.kind,
                None if stream_key is None else stream_key.user_id,
                None if version is None else version.mark.epoch,
                sequence if version is None else version.mark.sequence,
                None if version is None else version.mark.revision,
            )
        )

    def decision(
        self,
        record: Record,
        event: Event,
        stream_key: StreamKey,
        old: Watermark | None,
        offer: Offer,
        decision: Decision,
    ) -> None:
        """The outcome, the version if the event has become one, and the notes.

        Args:
            old: where the stream stood before.
        """
        version = decision.state.watermark
        if version is not None and version.event != offer.key:
            version = None  # this event has not become one
        self.outcome(record, event, decision.outcome, stream_key, offer, version)
        if version is not None:
            self._batch.versions.append(
                VersionRow(
                    kind=stream_key.kind,
                    user_id=stream_key.user_id,
                    valid_from=version.valid_from,
                    epoch=version.mark.epoch,
                    sequence=version.mark.sequence,
                    revision=version.mark.revision,
                    session_id=record.session,
                    ordinal=record.ordinal,
                    position=event.position,
                    received_at=record.received_at,
                    deleted=version.deleted,
                    previous_confirmed_until=None if old is None else old.confirmed_until,
                )
            )
        for note in decision.notes:
            self._note(record, stream_key, offer, note)

    def _note(self, record: Record, stream_key: StreamKey, offer: Offer, note: Note) -> None:
        match note:
            case Skip():
                self._skip(record, stream_key, offer, note)
            case EpochOpened():
                self._epoch(record, stream_key, note)
            case DoubtRaised():
                self._doubt(record, stream_key, note.suspicion, None)
            case DoubtResolved():
                self._doubt(record, stream_key, note.suspicion, note.resolution)
            case _:
                assert_never(note)

    def _doubt(
        self, record: Record, stream_key: StreamKey, suspicion: Suspicion, resolution: Resolution | None
    ) -> None:
        """The row is written when the doubt is raised, and again, complete, when it is resolved."""
        sequence = suspicion.witnesses[0][1]
        resolved = resolution is not None
        self._batch.doubts.append(
            DoubtRow(
                doubt=suspicion.doubt.value,
                session_id=suspicion.raised_by.session,
                ordinal=suspicion.raised_by.ordinal,
                position=suspicion.raised_by.position,
                kind=stream_key.kind.value,
                user_id=stream_key.user_id,
                sequence=sequence,
                raised_at=suspicion.raised_at,
                resolution=None if resolution is None else resolution.value,
                resolved_at=record.received_at if resolved else None,
                resolved_by_session_id=record.session if resolved else None,
                resolved_by_ordinal=record.ordinal if resolved else None,
            )
        )
        if resolution is None:
            self._ledger.notice(
                "doubt_raised", doubt=suspicion.doubt.value, kind=stream_key.kind.value, sequence=sequence
            )
        else:
            self._ledger.notice(
                "doubt_resolved",
                doubt=suspicion.doubt.value,
                kind=stream_key.kind.value,
                sequence=sequence,
                resolution=resolution.value,
            )

    def _skip(self, record: Record, stream_key: StreamKey, offer: Offer, skip: Skip) -> None:
        gap = Gap(
            kind=GapKind.SEQUENCE_SKIP,
            session=record.session,
            ordinal=record.ordinal,
            position=offer.key.position,
            missed_from=skip.since,
            missed_until=max(skip.since, record.received_at),
            opened_at=record.received_at,
            cause=skip.cause.value,
            stream=stream_key.kind,
            user_id=stream_key.user_id,
            first_missing=skip.first,
            last_missing=skip.last,
        )
        if skip.cause is SkipCause.PUSHED:
            self._ledger.open_gap(replace(gap, awaiting=frozenset({stream_key.kind})))
        else:
            self._ledger.write_gap(replace(gap, end=GapEnd.EXPLAINED, ended_at=record.received_at))

    def _epoch(self, record: Record, stream_key: StreamKey, opened: EpochOpened) -> None:
        first, last = opened.witnesses[0], opened.witnesses[-1]
        self._batch.epochs.append(
            EpochRow(
                kind=stream_key.kind.value,
                user_id=stream_key.user_id,
                epoch=opened.epoch,
                opened_at=record.received_at,
                cause=opened.cause.value,
                first_sequence=opened.first_sequence,
                previous_sequence=opened.previous_sequence,
                first_witness_session_id=first.session,
                first_witness_ordinal=first.ordinal,
                last_witness_session_id=last.session,
                last_witness_ordinal=last.ordinal,
                witnesses=len(opened.witnesses),
            )
        )
        self._ledger.notice(
            "epoch_opened",
            kind=stream_key.kind.value,
            epoch=opened.epoch,
            cause=opened.cause.value,
            first_sequence=opened.first_sequence,
            previous_sequence=opened.previous_sequence,
        )
