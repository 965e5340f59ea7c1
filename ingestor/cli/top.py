"""`ingestor top`: the running daemon, live."""

import sys

import click

from ingestor.app.control import live_activity
from ingestor.cli.invocation import Invocation, json_option, say, with_invocation
from ingestor.cli.signals import stop_on_signals
from ingestor.domain.errors import Transient


@click.command("top")
@click.option("--once", is_flag=True, help="Print the screen once and end, as into a pipe.")
@click.option(
    "--every",
    "seconds",
    type=click.FloatRange(min=0.2, max=60),
    default=1.0,
    show_default=True,
    help="Seconds between two updates.",
)
@json_option()
@with_invocation
def top(invocation: Invocation, *, once: bool, seconds: float) -> None:
    """Show the running daemon live: link, rates, latency, streams, gaps, inbox and requests.

    It uses the daemon's local socket, so it needs no database. Ctrl-C ends it.
    """
    account = invocation.load_quietly().settings.account
    if invocation.as_json:
        say(live_activity(account))
        return
    from rich.console import Console  # noqa: PLC0415 - where something is drawn only

    from ingestor.cli.screen import WIDTH, screen  # noqa: PLC0415 - the same

    if once or not sys.stdout.isatty():
        drawn = screen(live_activity(account))
        if sys.stdout.isatty():
            Console(width=WIDTH).print(drawn)
        else:
            click.echo(drawn.plain)
        return
    from rich.live import Live  # noqa: PLC0415 - the same
    from rich.text import Text  # noqa: PLC0415 - the same

    now = live_activity(account)  # fails if no daemon answers
    stop = invocation.stop
    with stop_on_signals(stop), Live(screen(now), auto_refresh=False, screen=True) as live:
        while not stop.wait(seconds):
            try:
                now = live_activity(account)
            except Transient:
                since = f"no answer from the daemon since {now.at:%H:%M:%S} UTC"
                live.update(Text("\n").join([Text(since, "bold red"), screen(now)]), refresh=True)
            else:
                live.update(screen(now), refresh=True)
