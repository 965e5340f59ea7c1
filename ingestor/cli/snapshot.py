"""`ingestor snapshot`: requests balances and pairs now."""

import click

from ingestor.app.control import snapshot_now
from ingestor.cli.documents import SnapshotDocument, say
from ingestor.cli.invocation import Invocation, json_option, settings_options


@click.command("snapshot")
@json_option()
@settings_options
@click.pass_obj
def snapshot(invocation: Invocation, *, as_json: bool) -> None:
    """Make the running daemon request balances and pairs now.

    It uses the daemon's local socket. Repeated requests are spaced as those for gaps are.
    """
    account = invocation.load_to_look().settings.account
    snapshot_now(account)
    if as_json:
        say(SnapshotDocument(account, ["GetBalances", "GetPairs"]))
    else:
        click.echo(f"planned: GetBalances, GetPairs (account {account}); see the view report.request")
