"""`ingestor tail`: events as the running daemon commits them."""

from dataclasses import replace

import click
import msgspec

from ingestor.app.control import live_tail
from ingestor.app.tail import TailEvent, TailQuery
from ingestor.cli.invocation import Invocation, json_option, with_invocation
from ingestor.cli.signals import stop_on_signals
from ingestor.domain.decision import Outcome
from ingestor.domain.errors import Transient
from ingestor.domain.streams import Kind

_PAUSE_SECONDS = 0.25
_SUBJECT_COLUMNS = 25
_STREAMS = [each.value for each in Kind]
_OUTCOMES = [each.value for each in Outcome if each is not Outcome.DROPPED]


@click.command("tail")
@click.option(
    "--stream", "streams", multiple=True, type=click.Choice(_STREAMS), help="Only events of this stream."
)
@click.option(
    "--outcome",
    "outcomes",
    multiple=True,
    type=click.Choice(_OUTCOMES),
    help="Only events with this outcome.",
)
@click.option("--subject", "subjects", multiple=True, help="Only events with this subject.")
@click.option("--record", "with_record", is_flag=True, help="Show each record's text, masked.")
@click.option("--lines", "-n", type=click.IntRange(min=1), help="End after this many events.")
@json_option("Print JSON, a line for each event.")
@with_invocation
def tail(
    invocation: Invocation,
    *,
    streams: tuple[str, ...],
    outcomes: tuple[str, ...],
    subjects: tuple[str, ...],
    with_record: bool,
    lines: int | None,
) -> None:
    """Show events as the running daemon commits them.

    It uses the daemon's local socket. The daemon does not wait for it: if it is too slow, it prints how many
    records it has missed. Users and what looks like a credential are masked. If a filter is given twice,
    events that match either are shown. Ctrl-C ends it.
    """
    account = invocation.load_quietly().settings.account
    query = TailQuery(subjects, streams, outcomes, with_record)
    stop, left, missed, answers = invocation.stop, lines, 0, False
    with stop_on_signals(stop):
        while not stop.is_set():
            try:
                part = live_tail(account, query)
            except Transient:
                if not query.cursor:
                    raise
                if answers:
                    click.echo("no answer from the daemon; trying again", err=True)
                answers = False
                stop.wait(1.0)
                continue
            answers, query = True, replace(query, cursor=part.cursor)
            missed += part.missed
            for event in part.events[:left]:
                _show(replace(event, missed=missed), as_json=invocation.as_json)
                missed = 0
            if left is not None:
                left -= len(part.events)
                if left <= 0:
                    return
            # Also if more events wait, so that the daemon is not asked without a pause.
            stop.wait(_PAUSE_SECONDS)


def _show(event: TailEvent, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(event))
        return
    if event.missed:
        click.echo(f"… {event.missed} records missed: this reader was too slow")
    place = "" if event.sequence is None else f"sequence {event.sequence}"
    reason = f" ({event.reason})" if event.reason else ""
    subject = event.subject or "no subject"
    if len(subject) > _SUBJECT_COLUMNS:
        subject = subject[: _SUBJECT_COLUMNS - 1] + "…"
    head = f"{event.received_at:%H:%M:%S.%f}"[:12]
    click.echo(f"{head}  {subject:<{_SUBJECT_COLUMNS}} {event.outcome + reason:<12} {place}".rstrip())
    if event.record is not None:
        click.echo(f"    {event.record}")
