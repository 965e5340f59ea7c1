"""`ingestor pause` and `ingestor resume`: close the link to the hub, and open it again."""

import click

from ingestor.app.signals import READ_WITHIN_SECONDS, Signal, signal
from ingestor.cli.documents import SignalDocument
from ingestor.cli.invocation import Invocation, json_option, with_invocation


@click.command("pause")
@json_option()
@with_invocation
def pause(invocation: Invocation) -> None:
    """Make the account's daemon close its link to the hub until `ingestor resume`.

    It adds a row to ingest.signal, which the daemon reads within five seconds; a daemon that starts later
    reads it too. The time without a link is a gap with the cause `paused`.
    """
    _send(invocation, Signal.PAUSE)


@click.command("resume")
@json_option()
@with_invocation
def resume(invocation: Invocation) -> None:
    """Make the account's daemon connect to the hub again, at once.

    It adds a row to ingest.signal, which the daemon reads within five seconds. The gap ends once fresh
    snapshots have confirmed the state.
    """
    _send(invocation, Signal.RESUME)


def _send(invocation: Invocation, word: Signal) -> None:
    """Store the signal for the configured account's daemon, and print a confirmation."""
    settings = invocation.load_quietly().settings
    signal(settings, word)
    said = (
        f"sent: {word} (account {settings.account}); a running daemon reads it within "
        f"{READ_WITHIN_SECONDS} s: see `ingestor status`"
    )
    invocation.answer(SignalDocument(settings.account, word, READ_WITHIN_SECONDS), [said])
