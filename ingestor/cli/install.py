"""`ingestor install` and `uninstall`: units, settings, man page and completion, without the package."""

from collections.abc import Iterator
from pathlib import Path

import click

from ingestor.app.install.installation import Plan, plan_install, plan_uninstall
from ingestor.app.install.installing import carry_out
from ingestor.cli.documents import InstallationDocument
from ingestor.cli.invocation import Invocation, ask, json_option, with_invocation

_root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, exists=True, resolve_path=True),
    default="/",
    metavar="DIR",
    help="Directory with the file tree of an image; then no command is run.",
)


@click.command("install")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@click.option(
    "--local-database",
    is_flag=True,
    help="Also create database, roles and schema, with PostgreSQL on this machine.",
)
@_root_option
@json_option()
@with_invocation
def install_command(invocation: Invocation, *, dry_run: bool, local_database: bool, root: Path) -> None:
    """Install units, settings, man page and completion, without the Debian package.

    The units start the program of this virtual environment. It may be run again: existing settings are kept.
    """
    plan = plan_install(root, local_database=local_database)
    _carry_out(invocation, plan, dry_run=dry_run)


@click.command("uninstall")
@click.option("--dry-run", is_flag=True, help="Print what would be done, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--purge", is_flag=True, help="Also remove edited settings, keys, passwords and drop-ins.")
@click.option(
    "--drop-database",
    is_flag=True,
    help="Also drop the database `ingestor` of this machine, with all data in it, and the roles.",
)
@_root_option
@json_option()
@with_invocation
def uninstall_command(
    invocation: Invocation, *, dry_run: bool, yes: bool, purge: bool, drop_database: bool, root: Path
) -> None:
    """Stop all accounts and remove what `ingestor install` has installed.

    Edited settings, keys and data are kept, unless an option says otherwise. On a terminal, it asks first.
    """
    plan = plan_uninstall(root, purge=purge, drop_database=drop_database)
    if not (dry_run or yes):
        ask("Do all this?", lambda: _lines(plan, [], dry_run=True))
    _carry_out(invocation, plan, dry_run=dry_run)


def _carry_out(invocation: Invocation, plan: Plan, *, dry_run: bool) -> None:
    """Do what the plan says, unless it is a dry run, and print it, with what was not run of it."""
    left_out = [] if dry_run else carry_out(plan)
    invocation.answer(InstallationDocument(dry_run, plan, left_out), _lines(plan, left_out, dry_run=dry_run))


def _lines(plan: Plan, left_out: list[str], *, dry_run: bool) -> Iterator[str]:
    """The plan as text."""
    yield from (f"command    {each}" for each in plan.before)
    for each in plan.files:
        what = f" -> {each.link_to}" if each.link_to else f" ({each.mode})" if each.mode else ""
        yield f"{each.action.value:<10} {each.path}{what}"
    if plan.users:
        yield f"users      {', '.join(plan.users)}: systemd creates them while a unit runs"
    if plan.roles:
        yield f"roles      {', '.join(plan.roles)}"
    yield from (f"command    {each}" for each in plan.after)
    yield from (f"not run    {each}" for each in left_out)
    yield from (f"by hand    {each}" for each in plan.by_hand)
    changes = sum(each.action.value in {"create", "replace", "remove"} for each in plan.files)
    yield f"files      {changes} of {len(plan.files)} {'would be ' if dry_run else ''}changed"
