"""`ingestor uninstall`: takes away what `ingestor install` has placed."""

import sys
from pathlib import Path

import click

from ingestor.app.install.installation import plan_uninstall
from ingestor.cli.install import carry_out_and_tell, lines
from ingestor.cli.invocation import Invocation, json_option, root_option, with_invocation


@click.command("uninstall")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--purge", is_flag=True, help="Also remove edited settings, keys, passwords and drop-ins.")
@click.option(
    "--drop-database",
    is_flag=True,
    help="Also drop the database `ingestor` of this machine, with all data in it, and the roles.",
)
@root_option
@json_option()
@with_invocation
def uninstall_command(
    invocation: Invocation, *, dry_run: bool, yes: bool, purge: bool, drop_database: bool, root: Path
) -> None:
    """Stop all accounts and remove what `ingestor install` has placed.

    Edited settings, keys and data stay, unless an option says otherwise. On a terminal, it asks first.
    """
    plan = plan_uninstall(root, purge=purge, drop_database=drop_database)
    if not (dry_run or yes) and sys.stdin.isatty():
        click.echo("\n".join(lines(plan, [], dry_run=True)), err=True)
        click.confirm("Do all this?", abort=True, err=True)
    carry_out_and_tell(invocation, plan, dry_run=dry_run)
