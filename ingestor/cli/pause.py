"""`ingestor pause`: no link to the hub until `ingestor resume`."""

import click

from ingestor.app.signals import HEARD_WITHIN_SECONDS, Signal, signal
from ingestor.cli.documents import SignalDocument, say
from ingestor.cli.invocation import Invocation, json_option, settings_options


@click.command("pause")
@json_option()
@settings_options
@click.pass_obj
def pause(invocation: Invocation, *, as_json: bool) -> None:
    """Make the account's daemon close its link to the hub until `ingestor resume`.

    It adds a row to ingest.signal, which the daemon reads within five seconds; a daemon that starts later
    reads it too. The time without a link is a gap with the cause `paused`.
    """
    send(invocation, Signal.PAUSE, as_json=as_json)


def send(invocation: Invocation, word: Signal, *, as_json: bool) -> None:
    """Store the signal for the configured account's daemon, and print a confirmation."""
    settings = invocation.load_to_look().settings
    signal(settings, word)
    if as_json:
        say(SignalDocument(settings.account, word, HEARD_WITHIN_SECONDS))
    else:
        click.echo(
            f"sent: {word} (account {settings.account}); a running daemon reads it within "
            f"{HEARD_WITHIN_SECONDS} s: see `ingestor status`"
        )
