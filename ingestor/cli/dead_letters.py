"""`ingestor dead-letters`: events that could not be applied, and the records they were part of."""

import click
import msgspec

from ingestor.app import evidence
from ingestor.cli.documents import say
from ingestor.cli.invocation import Invocation, json_option, settings_options


@click.group("dead-letters")
def dead_letters() -> None:
    """List events that could not be applied, with their records."""


@dead_letters.command("list")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many."
)
@json_option()
@settings_options
@click.pass_obj
def list_command(invocation: Invocation, *, limit: int, as_json: bool) -> None:
    """List dead letters; those that came up last come first. Read-only."""
    document = evidence.dead_letters(invocation.load_to_look().settings, limit)
    if as_json:
        say(document)
        return
    for each in document.dead_letters:
        at = f"{each.last_received_at:%Y-%m-%d %H:%M:%S}"
        click.echo(f"{each.id}  {at}  {each.occurrences:>5} times  {each.stage}: {each.reason}")
    if not document.dead_letters:
        click.echo(f"no dead letters of the account {document.account}")


@dead_letters.command("show")
@click.argument("number", metavar="ID")
@json_option()
@settings_options
@click.pass_obj
def show_command(invocation: Invocation, *, number: str, as_json: bool) -> None:
    """Tell all about the dead letter ID of `ingestor dead-letters list`, with its record. Read-only.

    Users and what looks like a credential are masked in the record; its size and digest are those of the
    bytes that the view ingest.record has.
    """
    document = evidence.dead_letter(invocation.load_to_look().settings, number)
    if as_json:
        say(document)
        return
    letter, record = document.dead_letter, document.record
    click.echo(f"letter     {letter.id}, {letter.stage}: {letter.reason}, {letter.occurrences} times")
    click.echo(f"detail     {letter.detail}")
    click.echo(f"received   {letter.received_at.isoformat()}, last {letter.last_received_at.isoformat()}")
    click.echo(
        f"evidence   session {letter.session_id}, ordinal {letter.ordinal}, position {letter.position}"
    )
    if record is None:
        click.echo("record     not stored any more")
    else:
        click.echo(f"record     {record.size} bytes, sha256 {record.sha256}")
        click.echo(f"           {record.text}")


@dead_letters.command("export")
@click.option(
    "--limit", type=click.IntRange(1, 1_000_000), default=10_000, show_default=True, help="At most so many."
)
@json_option("It is JSON in any case; here for symmetry.")
@settings_options
@click.pass_obj
def export_command(invocation: Invocation, *, limit: int, as_json: bool) -> None:  # noqa: ARG001 - both are JSON
    """Print dead letters with their records as JSON, one a line, masked as `show` does. Read-only."""
    for each in evidence.export_of(invocation.load_to_look().settings, limit):
        click.echo(msgspec.json.encode(each))
