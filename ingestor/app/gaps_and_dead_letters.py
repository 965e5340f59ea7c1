"""Gaps and dead letters as documents, without users and credentials; and discarding of dead letters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ingestor.adapters.postgres import gaps_and_dead_letters
from ingestor.adapters.postgres.gaps_and_dead_letters import DeadLetter, Gap
from ingestor.app.database import connect, require_account
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
    """The record of a dead letter, with users and credentials masked."""

    size: int
    """Bytes on the wire."""
    sha256: str
    """Digest of all these bytes, to compare with the record in the database."""
    text: str
    """At most 500 characters, without users and what looks like a credential, with unprintable
    characters escaped."""


@dataclass(frozen=True, slots=True)
class DeadLetterDocument:
    """`ingestor dead-letters show --json`, and each line of `ingestor dead-letters export`."""

    account: str
    dead_letter: DeadLetter
    record: RecordDocument | None
    """None if the record is no longer stored."""


@dataclass(frozen=True, slots=True)
class DiscardDocument:
    """`ingestor dead-letters discard --json`."""

    account: str
    dry_run: bool
    """True: nothing was discarded."""
    discarded_by: str
    reason: str
    dead_letters: list[DeadLetter]
    """The dead letters that are discarded by this, in their state before."""


def gaps(settings: Settings, *, only_open: bool, limit: int) -> GapsDocument:
    """The account's gaps, the newest first. Raises as `connect`; if there are none, as `require_account`."""
    with connect(settings, reads_only=True) as connection:
        found = gaps_and_dead_letters.gaps(connection, settings.account, only_open=only_open, limit=limit)
        if not found:
            require_account(connection, settings.account, "ingest")
    return GapsDocument(settings.account, found)


def gap(settings: Settings, number: str) -> GapDocument:
    """One gap. Raises BadConfiguration if none has this `id`, and as `connect`."""
    with connect(settings, reads_only=True) as connection:
        found = gaps_and_dead_letters.gaps(connection, settings.account, limit=1, number=number)
    if not found:
        raise _unknown("gap", number, settings.account, "ingestor gaps list")
    return GapDocument(settings.account, found[0])


def dead_letters(settings: Settings, limit: int, *, only_open: bool = False) -> DeadLettersDocument:
    """The account's dead letters by last occurrence, the newest first. Raises as `gaps`."""
    with connect(settings, reads_only=True) as connection:
        found = gaps_and_dead_letters.dead_letters(connection, settings.account, limit, only_open=only_open)
        if not found:
            require_account(connection, settings.account, "ingest")
    return DeadLettersDocument(settings.account, [_shown(each) for each in found])


def dead_letter(settings: Settings, number: str) -> DeadLetterDocument:
    """One dead letter with its record. Raises as `gap`."""
    found = list(export_of(settings, 1, number))
    if not found:
        raise _unknown("dead letter", number, settings.account, "ingestor dead-letters list")
    return found[0]


def export_of(settings: Settings, limit: int, number: str | None = None) -> Iterator[DeadLetterDocument]:
    """The dead letters with their records, one at a time. Raises as `gaps`."""
    account = settings.account
    with connect(settings, reads_only=True) as connection:
        found = gaps_and_dead_letters.dead_letters(
            connection, account, limit, None if number is None else [number]
        )
        if not found and number is None:
            require_account(connection, account, "ingest")
        for each in found:
            record = None
            if stored := gaps_and_dead_letters.stored_record(connection, account, each):
                size, sha256, raw = stored
                record = RecordDocument(size, sha256, masked(raw))
            yield DeadLetterDocument(account, _shown(each), record)


def open_letters(settings: Settings, numbers: Sequence[str] | None) -> list[DeadLetter]:
    """The open dead letters with these values of `id`; all open ones for None.

    Raises as `gap`: each id must be one of the account's.
    """
    account = settings.account
    with connect(settings, reads_only=True) as connection:
        found = gaps_and_dead_letters.dead_letters(connection, account, None, numbers)
        if not found and numbers is None:
            require_account(connection, account, "ingest")
    for number in sorted(set(numbers or ()) - {each.id for each in found}):
        raise _unknown("dead letter", number, account, "ingestor dead-letters list")
    return [_shown(each) for each in found if each.discarded_at is None]


def discard(settings: Settings, letters: Sequence[DeadLetter], by: str, reason: str) -> None:
    """Record that nothing more needs to be done about these dead letters.

    Rows and records are kept. One whose cause has occurred again meanwhile stays open.

    Raises:
        BadConfiguration: the role may not write.
        Transient: the database cannot be reached.
    """
    note = cleaned(reason)
    with connect(settings) as connection, connection.transaction():
        for each in letters:
            gaps_and_dead_letters.discard(connection, settings.account, each, by, note)


def _shown(letter: DeadLetter) -> DeadLetter:
    """Masked, because the detail may quote the record."""
    subject = None if letter.subject is None else cleaned(letter.subject)
    return replace(letter, detail=cleaned(letter.detail), subject=subject)


def _unknown(what: str, number: str, account: str, command: str) -> BadConfiguration:
    return BadConfiguration(
        f"there is no {what} {number}\nwhy: the account {account} has none with this id\nfix: see `{command}`"
    )
