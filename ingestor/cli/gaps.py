"""`ingestor gaps`: when something may have been missed, why, and whether the state is known again."""

from collections.abc import Iterator

import click

from ingestor.app import gaps_and_dead_letters
from ingestor.app.daemon_status import span
from ingestor.app.gaps_and_dead_letters import Gap
from ingestor.cli.invocation import Invocation, json_option, with_invocation


@click.group()
def gaps() -> None:
    """List the intervals in which something may have been missed, and their causes."""


@gaps.command("list")
@click.option("--open", "only_open", is_flag=True, help="Only those whose state is not confirmed yet.")
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many."
)
@json_option()
@with_invocation
def list_command(invocation: Invocation, *, only_open: bool, limit: int) -> None:
    """List gaps, the newest first. Read-only."""
    document = gaps_and_dead_letters.gaps(
        invocation.load_quietly().settings, only_open=only_open, limit=limit
    )
    none = f"no {'open ' if only_open else ''}gaps of the account {document.account}"
    invocation.answer(document, map(_line, document.gaps) if document.gaps else [none])


def _line(gap: Gap) -> str:
    since = f"{gap.missed_from:%Y-%m-%d %H:%M:%S}"
    state = "open" if gap.ended_at is None else "ended"
    return f"{gap.id}  {since}  {state:<5}  {span(gap.seconds_unknown):>8}  {gap.kind} ({gap.cause})"


@gaps.command("show")
@click.argument("number", metavar="ID")
@json_option()
@with_invocation
def show_command(invocation: Invocation, *, number: str) -> None:
    """Tell all about the gap ID of `ingestor gaps list`. Read-only."""
    document = gaps_and_dead_letters.gap(invocation.load_quietly().settings, number)
    invocation.answer(document, _lines(document.gap))


def _lines(gap: Gap) -> Iterator[str]:
    yield f"gap        {gap.id}, {gap.kind}, caused by {gap.cause}"
    yield f"missed     from {gap.missed_from.isoformat()}"
    yield f"           until {gap.missed_until.isoformat() if gap.missed_until else 'now'}"
    if gap.ended_at is None:
        unconfirmed = ", ".join(gap.unconfirmed)
        yield f"state      unknown for {span(gap.seconds_unknown)}, not confirmed: {unconfirmed}"
    else:
        yield f"state      known again at {gap.ended_at.isoformat()}, after {span(gap.seconds_unknown)}"
    if gap.first_missing is not None:
        yield f"missing    {gap.first_missing} to {gap.last_missing}"
    if gap.connection_errors:
        yield f"attempts   failed with {', '.join(gap.connection_errors)}"
    yield f"event      session {gap.session_id}, ordinal {gap.ordinal}, seen {gap.occurrences} times"
