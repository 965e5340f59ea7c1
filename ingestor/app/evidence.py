"""What was missed and what could not be applied, for people: read-only, without users and credentials."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ingestor.adapters.postgres import evidence
from ingestor.adapters.postgres.evidence import DeadLetter, Gap
from ingestor.app.database import looking
from ingestor.app.masking import cleaned, masked
from ingestor.config import Settings
from ingestor.domain.errors import BadConfiguration

__all__ = ["DeadLetter", "Gap"]


@dataclass(frozen=True, slots=True)
class GapsDocument:
    """`ingestor gaps list --json`."""

    account: str
    gaps: list[Gap]


@dataclass(frozen=True, slots=True)
class GapDocument:
    """`ingestor gaps show --json`."""

    account: str
    gap: Gap


@dataclass(frozen=True, slots=True)
class DeadLettersDocument:
    """`ingestor dead-letters list --json`."""

    account: str
    dead_letters: list[DeadLetter]


@dataclass(frozen=True, slots=True)
class RecordDocument:
    """The record that a dead letter was part of, as it may be shown."""

    size: int
    """Bytes on the wire."""
    sha256: str
    """Of all these bytes, so that what is kept in the database can be proven to be this record."""
    text: str
    """At most 500 characters, without users and what looks like a credential, with unprintable
    characters escaped."""


@dataclass(frozen=True, slots=True)
class DeadLetterDocument:
    """`ingestor dead-letters show --json`, and each line of `ingestor dead-letters export`."""

    account: str
    dead_letter: DeadLetter
    record: RecordDocument | None
    """None where the record is not stored any more."""


@dataclass(frozen=True, slots=True)
class DiscardDocument:
    """`ingestor dead-letters discard --json`."""

    account: str
    dry_run: bool
    """True: nothing was noted."""
    discarded_by: str
    reason: str
    dead_letters: list[DeadLetter]
    """Those that are discarded by this, as they were before."""


def gaps(settings: Settings, *, only_open: bool, limit: int) -> GapsDocument:
    """The account's gaps, the newest first. Raises as `looking`."""
    with looking(settings, reads_only=True) as connection:
        found = evidence.gaps(connection, settings.account, only_open=only_open, limit=limit)
    return GapsDocument(settings.account, found)


def gap(settings: Settings, number: str) -> GapDocument:
    """One gap. Raises BadConfiguration where there is none of this `id`, and as `looking`."""
    with looking(settings, reads_only=True) as connection:
        found = evidence.gaps(connection, settings.account, limit=1, number=number)
    if not found:
        raise _unknown("gap", number, settings.account, "ingestor gaps list")
    return GapDocument(settings.account, found[0])


def dead_letters(settings: Settings, limit: int, *, only_open: bool = False) -> DeadLettersDocument:
    """The account's dead letters, those that came up last first. Raises as `looking`."""
    with looking(settings, reads_only=True) as connection:
        found = evidence.dead_letters(connection, settings.account, limit, only_open=only_open)
    return DeadLettersDocument(settings.account, [_shown(each) for each in found])


def dead_letter(settings: Settings, number: str) -> DeadLetterDocument:
    """One dead letter with its record. Raises as `gap`."""
    found = list(export_of(settings, 1, number))
    if not found:
        raise _unknown("dead letter", number, settings.account, "ingestor dead-letters list")
    return found[0]


def export_of(settings: Settings, limit: int, number: str | None = None) -> Iterator[DeadLetterDocument]:
    """The dead letters with their records, one at a time. Raises as `looking`."""
    account = settings.account
    with looking(settings, reads_only=True) as connection:
        for each in evidence.dead_letters(connection, account, limit, None if number is None else [number]):
            record = None
            if stored := evidence.stored_record(connection, account, each):
                size, sha256, raw = stored
                record = RecordDocument(size, sha256, masked(raw))
            yield DeadLetterDocument(account, _shown(each), record)


def open_letters(settings: Settings, numbers: Sequence[str] | None) -> list[DeadLetter]:
    """The dead letters with these values of `id`, or all, without those that are discarded.

    Raises as `gap`: each id must be one of the account's.
    """
    account = settings.account
    with looking(settings, reads_only=True) as connection:
        found = evidence.dead_letters(connection, account, None, numbers)
    for number in sorted(set(numbers or ()) - {each.id for each in found}):
        raise _unknown("dead letter", number, account, "ingestor dead-letters list")
    return [_shown(each) for each in found if each.discarded_at is None]


def discard(settings: Settings, letters: Sequence[DeadLetter], by: str, reason: str) -> None:
    """Note that somebody has looked at these, as they are here, and that they need nothing more.

    Rows and records stay. One whose cause has come up again meanwhile is open all the same.

    Raises:
        BadConfiguration: the role may not write.
        Transient: the database cannot be reached.
    """
    note = cleaned(reason)
    with looking(settings) as connection, connection.transaction():
        for each in letters:
            evidence.discard(connection, settings.account, each, by, note)


def _shown(letter: DeadLetter) -> DeadLetter:
    """The detail may quote the record."""
    subject = None if letter.subject is None else cleaned(letter.subject)
    return replace(letter, detail=cleaned(letter.detail), subject=subject)


def _unknown(what: str, number: str, account: str, command: str) -> BadConfiguration:
    return BadConfiguration(
        f"there is no {what} {number}\nwhy: the account {account} has none of this id\nfix: see `{command}`"
    )
