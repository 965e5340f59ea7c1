"""`ingestor resume`: ends the pause of `ingestor pause`."""

import click

from ingestor.app.signals import Signal
from ingestor.cli.invocation import Invocation, json_option, settings_options
from ingestor.cli.pause import send


@click.command("resume")
@json_option()
@settings_options
@click.pass_obj
def resume(invocation: Invocation, *, as_json: bool) -> None:
    """Make the account's daemon connect to the hub again, at once.

    It adds a row to ingest.signal, which the daemon reads within five seconds. The gap ends once fresh
    snapshots have confirmed the state.
    """
    send(invocation, Signal.RESUME, as_json=as_json)
