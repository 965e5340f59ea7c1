"""What has become of a history's items, with the time at which each row of it was stored."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec.structs import replace

from ingestor.domain.decision import Outcome
from ingestor.domain.records import Item, Record, SessionOpened
from ingestor.pipeline.batch import Batch
from ingestor.pipeline.rows import ConfirmationRow, GapRow, OutcomeRow, RawEventRow
from tests.support.items import EPOCH

Contents = dict[str, tuple[str, str]]
"""Of balances, an asset's two amounts; of pairs, a name's two limits."""


@dataclass
class Sent:
    """A snapshot as the hub sent it."""

    kind: str
    user: str
    contents: Contents
    pushed: bool
    exposure: Contents = field(default_factory=dict)
    """Of each asset, present and at most; empty where the hub tells none."""
    base_currency: str = ""


@dataclass
class Version:
    """A snapshot that became state, and when the hub sent the same again."""

    sent: Sent
    number: tuple[int, int, int]
    valid_from: datetime
    recorded_at: datetime
    session: UUID
    ordinal: int
    passed_over: int
    deleted: bool
    again: list[tuple[datetime, datetime, bool]] = field(default_factory=list)
    """Receipt, when it was stored, and whether it was pushed."""


@dataclass
class Told:
    """What an account has been told, with the time at which each of it was stored."""

    account: str
    streams: dict[tuple[str, str], list[Version]] = field(default_factory=dict)
    gaps: dict[Any, list[tuple[datetime, GapRow]]] = field(default_factory=dict)
    """As each row stood from the moment on at which it was stored."""
    confirmations: dict[Any, list[tuple[datetime, ConfirmationRow]]] = field(default_factory=dict)
    exposed: list[tuple[datetime, datetime, Sent]] = field(default_factory=list)
    """Snapshots that became or repeated the state of their stream: receipt, and when they were stored."""
    sessions: dict[UUID, datetime] = field(default_factory=dict)
    commits: list[datetime] = field(default_factory=list)
    end: datetime = EPOCH
    """The last heartbeat."""
    died: bool = False
    """The process, so there was no other heartbeat; else it stopped in good order."""

    def note(
        self, items: Iterable[Item], sent: Mapping[tuple[UUID, int], Sent], batch: Batch, recorded: datetime
    ) -> None:
        """The items of one batch have been stored; `sent` has their snapshots by session and ordinal."""
        self.commits.append(recorded)
        for gap in batch.all(GapRow):
            self.gaps.setdefault(_key(gap), []).append((recorded, gap))
        for row in batch.all(ConfirmationRow):
            self.confirmations.setdefault(_key(row), []).append((recorded, row))
        became = {(row.session_id, row.ordinal): row for row in batch.all(OutcomeRow)}
        same = {(r.session_id, r.ordinal) for r in batch.all(RawEventRow) if r.base_ordinal is not None}
        for item in items:
            if isinstance(item, SessionOpened):
                self.sessions[item.session] = item.opened_at
            elif isinstance(item, Record) and (item.session, item.ordinal) in sent:
                place = item.session, item.ordinal
                self._snapshot(item, sent[place], became.get(place), recorded, again=place in same)

    def _snapshot(
        self, record: Record, sent: Sent, row: OutcomeRow | None, recorded: datetime, *, again: bool
    ) -> None:
        key = sent.kind, sent.user
        if again or (row is not None and row.outcome is Outcome.DUPLICATE):
            self.streams[key][-1].again.append((record.received_at, recorded, sent.pushed))
            self.exposed.append((record.received_at, recorded, sent))
        elif row is not None and row.valid_from is not None:
            assert row.epoch is not None
            assert row.sequence is not None
            assert row.revision is not None
            version = Version(
                sent=sent,
                number=(row.epoch, row.sequence, row.revision),
                valid_from=row.valid_from,
                recorded_at=recorded,
                session=record.session,
                ordinal=record.ordinal,
                passed_over=row.passed_over or 0,
                deleted=bool(row.deleted),
            )
            self.streams.setdefault(key, []).append(version)
            self.exposed.append((row.valid_from, recorded, sent))

    def abandon(self, moment: datetime, recorded: datetime) -> None:
        """The first commit after a start, or after a loss: what waited for confirmation does so no more."""
        for rows in self.confirmations.values():
            row = rows[-1][1]
            if row.resolution is None:
                rows.append((recorded, replace(row, resolution="abandoned", resolved_at=moment)))


def _key(row: GapRow | ConfirmationRow) -> tuple[Any, ...]:
    return tuple(getattr(row, name) for name in row.key)
