"""`ingestor uninstall`: removes what `ingestor install` has installed."""

import sys
from pathlib import Path

import click

from ingestor.app.install.installation import plan_uninstall
from ingestor.app.install.installing import carry_out
from ingestor.cli.install import report
from ingestor.cli.invocation import json_option, root_option, settings_options


@click.command("uninstall")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--purge", is_flag=True, help="Also remove edited settings, keys, passwords and drop-ins.")
@click.option(
    "--drop-database",
    is_flag=True,
    help="Also drop the database `ingestor` of this machine, with all data in it, and the roles.",
)
@root_option
@json_option()
@settings_options
def uninstall_command(
    *, dry_run: bool, yes: bool, purge: bool, drop_database: bool, root: Path, as_json: bool
) -> None:
    """Stop all accounts and remove what `ingestor install` has installed.

    Edited settings, keys and data are kept, unless an option says otherwise. On a terminal, it asks first.
    """
    plan = plan_uninstall(root, purge=purge, drop_database=drop_database)
    if not (dry_run or yes) and sys.stdin.isatty():
        report(plan, [], dry_run=True, as_json=False, err=True)
        click.confirm("Do all this?", abort=True, err=True)
    report(plan, [] if dry_run else carry_out(plan), dry_run=dry_run, as_json=as_json)
