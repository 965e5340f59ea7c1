"""`ingestor db`: manages the configured database."""

import sys

import click

from ingestor.app.database import ROLES_SQL, apply_roles, database_beside, schema_at, upgrade_configured
from ingestor.app.partitioning import PartitionDocument, partition_tables, partitioning_plan
from ingestor.app.retention import Pruned, prune, sizes
from ingestor.app.upgrade_plan import Blocks, plan_upgrade
from ingestor.cli.documents import PruneDocument, SchemaDocument, UpgradeDocument, say
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, json_option, settings_options
from ingestor.cli.progress import progress_bars


@click.group()
def db() -> None:
    """Manage the database: schema, roles, size, retention."""


@db.command("upgrade")
@json_option()
@settings_options
@click.pass_obj
def upgrade_command(invocation: Invocation, *, as_json: bool) -> None:
    """Upgrade the schema, and create a private Postgres first if the settings name one.

    It may be run again, or twice at the same time.
    """
    before = upgrade_configured(invocation.load_to_look().settings)
    if as_json:
        say(UpgradeDocument(before.found, list(before.pending)))
        return
    if not before.pending:
        click.echo(f"schema: at {before.found}, nothing to do")
    for step in before.pending:
        click.echo(f"schema: {step}")


@db.command("plan")
@json_option()
@settings_options
@click.pass_obj
def plan_command(invocation: Invocation, *, as_json: bool) -> None:
    """List the steps of an upgrade, and the locks that each takes on which tables.

    It runs the steps and rolls them back, so it needs the migrator's role, and holds the same locks for at
    most 15 seconds. If it does not get one of them within a second, it exits with 69.
    """
    plan = plan_upgrade(invocation.load_to_look().settings)
    if as_json:
        say(plan)
        return
    for step in plan.steps:
        click.echo(f"{step.revision} {step.title} ({step.seconds:.3f} s)")
        for each in step.locks:
            if each.blocks is not Blocks.NOTHING:
                size = f"{each.bytes:,} bytes"
                click.echo(
                    f"  {each.relation} ({size}): blocks {each.blocks.replace('_', ' ')} ({each.mode})"
                )
        others = sum(each.blocks is Blocks.NOTHING for each in step.locks)
        click.echo(f"  locks that block neither reads nor writes: {others}")
    click.echo("all in one transaction" if plan.steps else f"schema: at {plan.found}, nothing to do")


@db.command("status")
@json_option()
@settings_options
@click.pass_obj
def status_command(invocation: Invocation, *, as_json: bool) -> int:
    """Show the schema's revision and the steps of an upgrade. Exits with 78 unless the revision is this
    software's."""
    with database_beside(invocation.load_to_look().settings) as url:
        state = schema_at(url)
    if as_json:
        say(SchemaDocument(state.found, state.wanted, list(state.pending), state.fits))
    else:
        click.echo(f"database: {state.found or 'no schema'}\nsoftware: {state.wanted}")
        for step in state.pending:
            click.echo(f"pending:  {step}")
        if state.newer:
            click.echo("fix:      install the newer software that this schema belongs to")
        elif state.pending:
            click.echo("fix:      ingestor db upgrade")
    return Exit.OK if state.fits else Exit.CONFIGURATION


@db.command("roles")
@click.option("--apply", "apply", is_flag=True, help="Run it in the configured database instead.")
@settings_options
@click.pass_obj
def roles_command(invocation: Invocation, *, apply: bool) -> None:
    """Print the SQL that creates the database's roles and grants each what it needs.

    It can be run again at any time. Run it before the first upgrade of the schema, and after each one.
    """
    if not apply:
        click.echo(ROLES_SQL, nl=False)
        return
    for warning in apply_roles(invocation.load_to_look().settings):
        click.echo(f"warning: {warning}", err=True)


@db.command("prune")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option()
@settings_options
@click.pass_obj
def prune_command(invocation: Invocation, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Remove the account's rows that are older than [retention] allows.

    The current state, the state at that age, and their evidence are kept. On a terminal, it asks first.
    """
    settings = invocation.load_to_look().settings
    if not (dry_run or yes) and sys.stdin.isatty():
        _, planned = prune(settings, dry_run=True)
        _print_pruned(planned, "would be removed")
        click.confirm("Remove them?", abort=True, err=True)
    with progress_bars() as progress:
        cuts, pruned = prune(settings, dry_run=dry_run, progress=progress)
    if as_json:
        say(PruneDocument(settings.account, dry_run, cuts, {each.table: each.rows for each in pruned}))
    else:
        _print_pruned(pruned, "would be removed" if dry_run else "removed")


def _print_pruned(pruned: list[Pruned], what: str) -> None:
    for each in pruned:
        click.echo(f"{each.rows:>12,}  {each.table} {what}")
    if not pruned:
        click.echo("nothing to remove: [retention] is not set")


@db.command("partition")
@click.option("--dry-run", is_flag=True, help="Print what would be partitioned, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option()
@settings_options
@click.pass_obj
def partition_command(invocation: Invocation, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Divide the table of records into a partition for each month, the next twelve months included.

    Then `db prune` can empty a month at once. Run it as the tables' owner. On a terminal, it asks first.
    """
    settings = invocation.load_to_look().settings
    plan = partitioning_plan(settings)
    if not as_json:
        for each in plan:
            click.echo(
                f"{each.table}: about {each.rows:,} rows, {each.bytes:,} bytes, become the partition before "
                f"{each.border:%Y-%m}"
            )
    if plan and not (dry_run or yes) and sys.stdin.isatty():
        click.confirm("Partition them?", abort=True, err=True)
    months = [] if dry_run else partition_tables(settings)
    if as_json:
        say(PartitionDocument(dry_run, plan, months))
        return
    for name in months:
        click.echo(f"created {name}")
    if not (plan or months):
        click.echo("nothing to do")


@db.command("size")
@json_option()
@settings_options
@click.pass_obj
def size_command(invocation: Invocation, *, as_json: bool) -> None:
    """Show the rows and bytes of each table that grows, its oldest row, and its bytes a day."""
    found = sizes(invocation.load_to_look().settings)
    if as_json:
        say(found)
        return
    click.echo(f"{'table':<15}{'rows':>14}{'table bytes':>17}{'index bytes':>17}{'bytes a day':>15}  oldest")
    for each in found:
        click.echo(
            f"{each.table:<15}{each.rows:>14,}{each.table_bytes:>17,}{each.index_bytes:>17,}"
            f"{each.bytes_a_day:>15,}  {each.oldest or '-'}"
        )
