"""`ingestor reconnect`: a new connection to the hub, now."""

import click

from ingestor.app.control import reconnect_now
from ingestor.cli.documents import ReconnectDocument, say
from ingestor.cli.invocation import Invocation, json_option, settings_options


@click.command("reconnect")
@json_option()
@settings_options
@click.pass_obj
def reconnect(invocation: Invocation, *, as_json: bool) -> None:
    """Make the running daemon close its connection to the hub and connect again now.

    It uses the daemon's local socket. A session that is up ends, which is a gap until the next snapshots have
    confirmed the state; a pause before the next attempt ends too.
    """
    account = invocation.load_to_look().settings.account
    reconnect_now(account)
    if as_json:
        say(ReconnectDocument(account, asked=True))
    else:
        click.echo(f"asked: the daemon of the account {account} connects again; see `ingestor status`")
