"""`ingestor install`: the units and what belongs to them, on a machine without the Debian package."""

from collections.abc import Iterator
from pathlib import Path

import click

from ingestor.app.install.installation import Plan, plan_install
from ingestor.app.install.installing import carry_out
from ingestor.cli.documents import InstallationDocument
from ingestor.cli.invocation import Invocation, json_option, root_option, with_invocation


@click.command("install")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and do nothing.")
@click.option(
    "--local-database",
    is_flag=True,
    help="Also make database, roles and schema, with PostgreSQL on this machine.",
)
@root_option
@json_option()
@with_invocation
def install_command(invocation: Invocation, *, dry_run: bool, local_database: bool, root: Path) -> None:
    """Install units, settings, man page and completion, without the Debian package.

    The units start the program of this virtual environment. Safe to run twice: settings that are there stay.
    """
    plan = plan_install(root, local_database=local_database)
    carry_out_and_tell(invocation, plan, dry_run=dry_run)


def carry_out_and_tell(invocation: Invocation, plan: Plan, *, dry_run: bool) -> None:
    """Do what the plan says, unless it is a dry run, and print it, with what was not run of it."""
    left_out = [] if dry_run else carry_out(plan)
    invocation.answer(InstallationDocument(dry_run, plan, left_out), lines(plan, left_out, dry_run=dry_run))


def lines(plan: Plan, left_out: list[str], *, dry_run: bool) -> Iterator[str]:
    """For people."""
    for command in plan.before:
        yield f"command    {command}"
    for each in plan.files:
        what = f" -> {each.link_to}" if each.link_to else f" ({each.mode})" if each.mode else ""
        yield f"{each.action.value:<10} {each.path}{what}"
    if plan.users:
        yield f"users      {', '.join(plan.users)}: systemd makes them while a unit runs"
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
