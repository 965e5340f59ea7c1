"""`ingestor snapshot` and `ingestor reconnect`: requests to a running daemon over its local socket."""

import click

from ingestor.app.control import reconnect_now, snapshot_now
from ingestor.cli.documents import ReconnectDocument, SnapshotDocument
from ingestor.cli.invocation import Invocation, json_option, with_invocation


@click.command("snapshot")
@json_option()
@with_invocation
def snapshot(invocation: Invocation) -> None:
    """Make the running daemon request balances and pairs now.

    It uses the daemon's local socket. Repeated requests are spaced as those for gaps are.
    """
    account = invocation.load_quietly().settings.account
    snapshot_now(account)
    said = f"planned: GetBalances, GetPairs (account {account}); see the view report.request"
    invocation.answer(SnapshotDocument(account, ["GetBalances", "GetPairs"]), [said])


@click.command("reconnect")
@json_option()
@with_invocation
def reconnect(invocation: Invocation) -> None:
    """Make the running daemon close its connection to the hub and connect again now.

    It uses the daemon's local socket. A session that is up ends, which is a gap until the next snapshots have
    confirmed the state; a pause before the next attempt ends too.
    """
    account = invocation.load_quietly().settings.account
    reconnect_now(account)
    said = f"asked: the daemon of the account {account} connects again; see `ingestor status`"
    invocation.answer(ReconnectDocument(account, asked=True), [said])
