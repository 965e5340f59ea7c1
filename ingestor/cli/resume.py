"""`ingestor resume`: ends what `ingestor pause` began."""

import click

from ingestor.app.signals import Signal
from ingestor.cli.invocation import Invocation, json_option, with_invocation
from ingestor.cli.pause import send


@click.command("resume")
@json_option()
@with_invocation
def resume(invocation: Invocation) -> None:
    """Make the account's daemon connect to the hub again, at once.

    It adds a row to ingest.signal, which the daemon reads within five seconds. The gap ends once fresh
    snapshots have confirmed the state.
    """
    send(invocation, Signal.RESUME)
