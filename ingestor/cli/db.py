"""`ingestor db`: manages the configured database."""

from collections.abc import Iterator

import click

from ingestor.app.database import ROLES_SQL, apply_roles, schema, upgrade_configured
from ingestor.app.partitioning import PartitionDocument, WholeTable, partition_tables, partitioning_plan
from ingestor.app.retention import prune, sizes
from ingestor.app.upgrade_plan import Blocks, UpgradePlan, plan_upgrade
from ingestor.cli.documents import PruneDocument, SchemaDocument, UpgradeDocument
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, ask, json_option, with_invocation
from ingestor.cli.progress import progress_bars


@click.group()
def db() -> None:
    """Manage the database: schema, roles, size, retention."""


@db.command("upgrade")
@json_option()
@with_invocation
def upgrade_command(invocation: Invocation) -> None:
    """Upgrade the schema, and create a private Postgres first if the settings name one.

    It may be run again, or twice at the same time.
    """
    before = upgrade_configured(invocation.load_quietly().settings)
    done = list(before.pending)
    lines = [f"schema: {step}" for step in done or [f"at {before.found}, nothing to do"]]
    invocation.answer(UpgradeDocument(before.found, done), lines)


@db.command("plan")
@json_option()
@with_invocation
def plan_command(invocation: Invocation) -> None:
    """List the steps of an upgrade, and the locks that each takes on which tables.

    It runs the steps and rolls them back, so it needs the migrator's role, and holds the same locks for at
    most 15 seconds. If it does not get one of them within a second, it exits with 69.
    """
    plan = plan_upgrade(invocation.load_quietly().settings)
    invocation.answer(plan, _plan_lines(plan))


def _plan_lines(plan: UpgradePlan) -> Iterator[str]:
    for step in plan.steps:
        yield f"{step.revision} {step.title} ({step.seconds:.3f} s)"
        for each in step.locks:
            if each.blocks is not Blocks.NOTHING:
                blocked = each.blocks.replace("_", " ")
                yield f"  {each.relation} ({each.bytes:,} bytes): blocks {blocked} ({each.mode})"
        others = sum(each.blocks is Blocks.NOTHING for each in step.locks)
        yield f"  locks that block neither reads nor writes: {others}"
    yield "all in one transaction" if plan.steps else f"schema: at {plan.found}, nothing to do"


@db.command("status")
@json_option()
@with_invocation
def status_command(invocation: Invocation) -> int:
    """Show the schema's revision and the steps of an upgrade. Exits with 78 unless the revision is this
    software's."""
    state = schema(invocation.load_quietly().settings)
    lines = [f"database: {state.found or 'no schema'}", f"software: {state.wanted}"]
    lines += [f"pending:  {step}" for step in state.pending]
    if state.newer:
        lines.append("fix:      install the newer software that this schema belongs to")
    elif state.pending:
        lines.append("fix:      ingestor db upgrade")
    invocation.answer(SchemaDocument(state.found, state.wanted, list(state.pending), state.fits), lines)
    return Exit.OK if state.fits else Exit.CONFIGURATION


@db.command("roles")
@click.option("--apply", "apply", is_flag=True, help="Run it in the configured database instead.")
@with_invocation
def roles_command(invocation: Invocation, *, apply: bool) -> None:
    """Print the SQL that creates the database's roles and grants each what it needs.

    It can be run again at any time. Run it before the first upgrade of the schema, and after each one.
    """
    if not apply:
        click.echo(ROLES_SQL, nl=False)
        return
    for warning in apply_roles(invocation.load_quietly().settings):
        click.echo(f"warning: {warning}", err=True)


@db.command("prune")
@click.option("--dry-run", is_flag=True, help="Print what would be removed, and remove nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option()
@with_invocation
def prune_command(invocation: Invocation, *, dry_run: bool, yes: bool) -> None:
    """Remove the account's rows that are older than [retention] allows.

    The current state, the state at that age, and their records are kept. On a terminal, it asks first.
    """
    settings = invocation.load_quietly().settings
    if not (dry_run or yes):
        ask("Remove them?", lambda: _pruned_lines(prune(settings, dry_run=True)[1], "would be removed"))
    with progress_bars() as progress:
        cuts, pruned = prune(settings, dry_run=dry_run, progress=progress)
    document = PruneDocument(settings.account, dry_run, cuts, pruned)
    invocation.answer(document, _pruned_lines(pruned, "would be removed" if dry_run else "removed"))


def _pruned_lines(pruned: dict[str, int], what: str) -> list[str]:
    lines = [f"{rows:>12,}  {table} {what}" for table, rows in pruned.items()]
    return lines or ["nothing to remove: [retention] is not set"]


@db.command("partition")
@click.option("--dry-run", is_flag=True, help="Print what would be partitioned, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option()
@with_invocation
def partition_command(invocation: Invocation, *, dry_run: bool, yes: bool) -> None:
    """Divide the table of records into a partition for each month, the next twelve months included.

    Then `db prune` can empty a month at once. Run it as the tables' owner. On a terminal, it asks first.
    """
    settings = invocation.load_quietly().settings
    plan = partitioning_plan(settings)
    if plan and not (dry_run or yes):
        ask("Partition them?", lambda: _partition_lines(plan))
    months = [] if dry_run else partition_tables(settings)
    lines = [*_partition_lines(plan), *(f"created {name}" for name in months)]
    invocation.answer(PartitionDocument(dry_run, plan, months), lines or ["nothing to do"])


def _partition_lines(plan: list[WholeTable]) -> Iterator[str]:
    for each in plan:
        size = f"about {each.rows:,} rows, {each.bytes:,} bytes"
        yield f"{each.table}: {size}, become the partition before {each.border:%Y-%m}"


@db.command("size")
@json_option()
@with_invocation
def size_command(invocation: Invocation) -> None:
    """Show the rows and bytes of each table that grows, its oldest row, and its bytes a day."""
    found = sizes(invocation.load_quietly().settings)
    head = f"{'table':<15}{'rows':>14}{'table bytes':>17}{'index bytes':>17}{'bytes a day':>15}  oldest"
    rows = (
        f"{each.table:<15}{each.rows:>14,}{each.table_bytes:>17,}{each.index_bytes:>17,}"
        f"{each.bytes_a_day:>15,}  {each.oldest or '-'}"
        for each in found
    )
    invocation.answer(found, [head, *rows])
