"""`ingestor reconnect`: a fresh link, now."""

import click

from ingestor.app.control import reconnect_now
from ingestor.cli.documents import ReconnectDocument
from ingestor.cli.invocation import Invocation, json_option, with_invocation


@click.command("reconnect")
@json_option()
@with_invocation
def reconnect(invocation: Invocation) -> None:
    """Make the running daemon connect to the hub anew, now.

    It asks over the daemon's local socket. A session that is up ends, which is a gap until the snapshots that
    follow have confirmed the state; a pause before the next attempt ends too.
    """
    account = invocation.load_to_look().settings.account
    reconnect_now(account)
    said = f"asked: the daemon of the account {account} connects anew; see `ingestor status`"
    invocation.answer(ReconnectDocument(account, asked=True), [said])
