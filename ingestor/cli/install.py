"""`ingestor install`: units, settings, man page and completion, without the Debian package."""

from collections.abc import Iterator
from pathlib import Path

import click

from ingestor.app.install.installation import Plan, plan_install
from ingestor.app.install.installing import carry_out
from ingestor.cli.documents import InstallationDocument, say
from ingestor.cli.invocation import json_option, root_option, settings_options


@click.command("install")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@click.option(
    "--local-database",
    is_flag=True,
    help="Also create database, roles and schema, with PostgreSQL on this machine.",
)
@root_option
@json_option()
@settings_options
def install_command(*, dry_run: bool, local_database: bool, root: Path, as_json: bool) -> None:
    """Install units, settings, man page and completion, without the Debian package.

    The units start the program of this virtual environment. It may be run again: existing settings are kept.
    """
    plan = plan_install(root, local_database=local_database)
    report(plan, [] if dry_run else carry_out(plan), dry_run=dry_run, as_json=as_json)


def report(plan: Plan, left_out: list[str], *, dry_run: bool, as_json: bool, err: bool = False) -> None:
    """Print a plan, and the commands that were not run; with `err` to standard error."""
    if as_json:
        say(InstallationDocument(dry_run, plan, left_out))
        return
    for line in lines(plan, left_out, dry_run=dry_run):
        click.echo(line, err=err)


def lines(plan: Plan, left_out: list[str], *, dry_run: bool) -> Iterator[str]:
    """The plan as text."""
    for command in plan.before:
        yield f"command    {command}"
    for each in plan.files:
        what = f" -> {each.link_to}" if each.link_to else f" ({each.mode})" if each.mode else ""
        yield f"{each.action.value:<10} {each.path}{what}"
    if plan.users:
        yield f"users      {', '.join(plan.users)}: systemd creates them while a unit runs"
    if plan.roles:
        yield f"roles      {', '.join(plan.roles)}"
    for command in plan.after:
        yield f"command    {command}"
    for command in left_out:
        yield f"not run    {command}"
    for command in plan.by_hand:
        yield f"by hand    {command}"
    changes = sum(each.action.value in {"create", "replace", "remove"} for each in plan.files)
    yield f"files      {changes} of {len(plan.files)} {'would be ' if dry_run else ''}changed"
