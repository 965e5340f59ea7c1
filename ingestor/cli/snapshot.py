"""`ingestor snapshot`: fresh balances and pairs, now."""

import click

from ingestor.app.control import snapshot_now
from ingestor.cli.documents import SnapshotDocument
from ingestor.cli.invocation import Invocation, json_option, with_invocation


@click.command("snapshot")
@json_option()
@with_invocation
def snapshot(invocation: Invocation) -> None:
    """Make the running daemon request balances and pairs now.

    It asks over the daemon's local socket. Requests that follow each other are spaced as those for gaps are.
    """
    account = invocation.load_to_look().settings.account
    snapshot_now(account)
    said = f"planned: GetBalances, GetPairs (account {account}); see the view report.request"
    invocation.answer(SnapshotDocument(account, ["GetBalances", "GetPairs"]), [said])
