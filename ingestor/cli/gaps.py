"""`ingestor gaps`: when something may have been missed, why, and whether the state is known again."""

import click

from ingestor.app import evidence
from ingestor.app.evidence import Gap
from ingestor.app.picture import span
from ingestor.cli.documents import say
from ingestor.cli.invocation import Invocation, json_option, settings_options


@click.group()
def gaps() -> None:
    """List the intervals in which something may have been missed, and their causes."""


@gaps.command("list")
@click.option("--open", "only_open", is_flag=True, help="Only those whose state is not confirmed yet.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many."
)
@json_option()
@settings_options
@click.pass_obj
def list_command(invocation: Invocation, *, only_open: bool, limit: int, as_json: bool) -> None:
    """List gaps, the newest first. Read-only."""
    document = evidence.gaps(invocation.load_to_look().settings, only_open=only_open, limit=limit)
    if as_json:
        say(document)
        return
    for each in document.gaps:
        click.echo(_line(each))
    if not document.gaps:
        click.echo(f"no {'open ' if only_open else ''}gaps of the account {document.account}")


def _line(gap: Gap) -> str:
    since = f"{gap.missed_from:%Y-%m-%d %H:%M:%S}"
    state = "open" if gap.ended_at is None else "ended"
    return f"{gap.id}  {since}  {state:<5}  {span(gap.seconds_unknown):>8}  {gap.kind} ({gap.cause})"


@gaps.command("show")
@click.argument("number", metavar="ID")
@json_option()
@settings_options
@click.pass_obj
def show_command(invocation: Invocation, *, number: str, as_json: bool) -> None:
    """Tell all about the gap ID of `ingestor gaps list`. Read-only."""
    document = evidence.gap(invocation.load_to_look().settings, number)
    if as_json:
        say(document)
        return
    gap = document.gap
    click.echo(f"gap        {gap.id}, {gap.kind}, caused by {gap.cause}")
    click.echo(f"missed     from {gap.missed_from.isoformat()}")
    click.echo(f"           until {gap.missed_until.isoformat() if gap.missed_until else 'now'}")
    if gap.ended_at is None:
        click.echo(f"state      unknown for {span(gap.seconds_unknown)}, awaits {', '.join(gap.awaits)}")
    else:
        click.echo(f"state      known again at {gap.ended_at.isoformat()}, after {span(gap.seconds_unknown)}")
    if gap.first_missing is not None:
        click.echo(f"missing    {gap.first_missing} to {gap.last_missing}")
    if gap.connection_errors:
        click.echo(f"attempts   failed with {', '.join(gap.connection_errors)}")
    click.echo(f"evidence   session {gap.session_id}, ordinal {gap.ordinal}, seen {gap.occurrences} times")
