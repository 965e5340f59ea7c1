"""`ingestor dead-letters`: events that could not be applied, and the records they were part of."""

import getpass
import os
from collections.abc import Iterator

import click
import msgspec

from ingestor.app import gaps_and_dead_letters
from ingestor.app.gaps_and_dead_letters import DeadLetter, DeadLetterDocument
from ingestor.cli.invocation import Invocation, ask, json_option, with_invocation

_LONGEST_TEXT = 500


@click.group("dead-letters")
def dead_letters() -> None:
    """List events that could not be applied, with their records."""


@dead_letters.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many."
)
@click.option("--open", "only_open", is_flag=True, help="Only those that are not discarded.")
@json_option()
@with_invocation
def list_command(invocation: Invocation, *, limit: int, only_open: bool) -> None:
    """List dead letters; those that came up last come first. Read-only."""
    document = gaps_and_dead_letters.dead_letters(
        invocation.load_quietly().settings, limit, only_open=only_open
    )
    none = f"no {'open ' if only_open else ''}dead letters of the account {document.account}"
    invocation.answer(document, map(_line, document.dead_letters) if document.dead_letters else [none])


def _line(letter: DeadLetter) -> str:
    at = f"{letter.last_received_at:%Y-%m-%d %H:%M:%S}"
    line = f"{letter.id}  {at}  {letter.occurrences:>5} times  {letter.stage}: {letter.reason}"
    return line if letter.discarded_at is None else f"{line}, discarded"


@dead_letters.command("show")
@click.argument("number", metavar="ID")
@json_option()
@with_invocation
def show_command(invocation: Invocation, *, number: str) -> None:
    """Tell all about the dead letter ID of `ingestor dead-letters list`, with its record. Read-only.

    Users and what looks like a credential are masked in the record; its size and digest are those of the
    bytes that the view ingest.record has.
    """
    document = gaps_and_dead_letters.dead_letter(invocation.load_quietly().settings, number)
    invocation.answer(document, _lines(document))


def _lines(document: DeadLetterDocument) -> Iterator[str]:
    letter, record = document.dead_letter, document.record
    first, last = ("of the first: ", "of the last: ") if letter.occurrences > 1 else ("", "")
    yield f"letter     {letter.id}, {letter.stage}: {letter.reason}, {letter.occurrences} times"
    yield f"detail     {last}{letter.detail}"
    yield f"received   {letter.received_at.isoformat()}, last {letter.last_received_at.isoformat()}"
    yield f"event      session {letter.session_id}, ordinal {letter.ordinal}, position {letter.position}"
    if letter.discarded_at is not None:
        yield f"discarded  {letter.discarded_at.isoformat()} by {letter.discarded_by}"
        yield f"           {letter.discard_reason}"
    if record is None:
        yield "record     not stored any more"
    else:
        yield f"record     {first}{record.size} bytes, sha256 {record.sha256}"
        yield f"           {record.text}"


@dead_letters.command("export")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True, help="At most so many."
)
@json_option("It is JSON in any case; here for symmetry.")
@with_invocation
def export_command(invocation: Invocation, *, limit: int) -> None:
    """Print dead letters with their records as JSON, one a line, masked as `show` does. Read-only."""
    for each in gaps_and_dead_letters.export_of(invocation.load_quietly().settings, limit):
        click.echo(msgspec.json.encode(each))


def _printable(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if not text.strip() or not text.isprintable() or len(text) > _LONGEST_TEXT:
        raise click.BadParameter(f"write it on one line, with 1 to {_LONGEST_TEXT} characters")
    return text


def _caller() -> str:
    """Who called, also through sudo."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a user without a name, as in a container
        return f"uid {os.getuid()}"


@dead_letters.command("discard")
@click.argument("numbers", metavar="[ID]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All that are not discarded yet.")
@click.option("--reason", required=True, callback=_printable, help="Why they need nothing more.")
@click.option(
    "--by", default=_caller, callback=_printable, metavar="NAME", help="Who it was.  [default: the caller]"
)
@click.option("--dry-run", is_flag=True, help="Print what would be discarded, and note nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option()
@with_invocation
def discard_command(
    invocation: Invocation,
    *,
    numbers: tuple[str, ...],
    everything: bool,
    reason: str,
    by: str,
    dry_run: bool,
    yes: bool,
) -> None:
    """Note that dead letters have been looked at and need nothing more: who, when and why.

    Their rows and records stay. One whose cause comes up again is open again. On a terminal, it asks first.
    """
    if everything == bool(numbers):
        raise click.UsageError("give the ids of `ingestor dead-letters list`, or --all")
    settings = invocation.load_quietly().settings
    letters = gaps_and_dead_letters.open_letters(settings, None if everything else numbers)
    if letters and not (dry_run or yes):
        ask(f"Discard {len(letters)} as {by}?", lambda: map(_line, letters))
    if not dry_run:
        gaps_and_dead_letters.discard(settings, letters, by, reason)
    done = "would be discarded" if dry_run else "discarded"
    lines = [f"{_line(each)}, {done}" for each in letters]
    document = gaps_and_dead_letters.DiscardDocument(settings.account, dry_run, by, reason, letters)
    invocation.answer(document, lines or ["nothing: all of these are discarded already"])
