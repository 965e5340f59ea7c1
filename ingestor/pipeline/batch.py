"""A batch: the rows of one transaction, and the notifications after its commit."""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, TypeVar, cast

from msgspec import Struct

from ingestor.domain.decision import Outcome
from ingestor.domain.requests import Command, RequestCause, RequestOutcome
from ingestor.pipeline.rows import (
    ConfirmationRow,
    DeadLetterRow,
    GapRow,
    OutcomeRow,
    RawEventRow,
    RequestRow,
    Row,
    SessionProgressRow,
    SessionRow,
)

_R = TypeVar("_R", bound=Struct)


class Notice(Struct, frozen=True, gc=False):
    """A log event to be written when the batch has been committed."""

    event: str
    facts: dict[str, Any]


class SnapshotNeeded(Struct, frozen=True, gc=False):
    """A fresh snapshot is needed."""

    command: Command
    cause: RequestCause


class RequestAnswered(Struct, frozen=True, gc=False):
    """A request is answered."""

    request_id: str


class RequestFailed(Struct, frozen=True, gc=False):
    """What the hub sent for a request is not an answer to it, or the answer was dropped."""

    request_id: str
    outcome: RequestOutcome
    error: str | None


Effect = Notice | SnapshotNeeded | RequestAnswered | RequestFailed
"""What is done after the commit, never before."""

Change = Row | Effect
"""A result of applying an item."""


_REWRITTEN = (GapRow, RequestRow, ConfirmationRow, DeadLetterRow)
"""Rows that may be written when something begins and again when it ends; `key` names their identity."""


class Batch:
    """The content of one transaction. Created from the changes of its items, and not changed afterwards."""

    __slots__ = ("effects", "prepared", "rows")

    def __init__(self, changes: Iterable[Change] = ()) -> None:
        self.rows: dict[type[Struct], list[Any]] = {}
        """By type, in the order of arrival; of a row that was written several times only the last form."""
        self.effects: list[Effect] = []
        self.prepared: Any = None
        """Its rows as prepared by the store; None if they are not."""
        rows = self.rows
        for change in changes:
            same = rows.get(type(change))
            if same is not None:
                same.append(change)
            elif isinstance(change, Effect):
                self.effects.append(change)
            else:
                rows[type(change)] = [change]
        for kind in _REWRITTEN:
            if kind in rows:
                rows[kind] = list({attrgetter(*kind.key)(row): row for row in rows[kind]}.values())

    def all(self, kind: type[_R]) -> Sequence[_R]:
        """The rows of one type."""
        return cast("Sequence[_R]", self.rows.get(kind, ()))

    def effects_of(self, kind: type[Any]) -> list[Any]:
        """The effects of one type."""
        return [each for each in self.effects if type(each) is kind]

    def outcomes(self) -> Counter[str]:
        """Events by outcome."""
        counted: Counter[str] = Counter(row.outcome for row in self.all(OutcomeRow))
        repeats = sum(row.base_ordinal is not None for row in self.all(RawEventRow))
        return counted + Counter({Outcome.DUPLICATE: repeats})

    def unaccounted(self) -> int:
        """Ordinals of this batch minus the records that it stores or counts as dropped: 0, or a bug (I1)."""
        rows = (*self.all(SessionRow), *self.all(SessionProgressRow))
        return sum(
            (row.committed_ordinal if row.received is None else row.received)
            - (row.first_ordinal - 1 if isinstance(row, SessionProgressRow) else 0)
            - row.committed_records
            - row.dropped_records
            for row in rows
        )
