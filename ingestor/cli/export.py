"""`ingestor export`: views of `report` as files."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from ingestor.app.export import TIMES, Format, Progress, Wanted, export
from ingestor.cli.invocation import Invocation, json_option, settings_options
from ingestor.cli.period import Moment, Zone, between


@click.command("export")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--from", "since", type=Moment(), required=True, help="Start, e.g. 2026-03-01.")
@click.option("--until", type=Moment(), required=True, help="End, which does not belong to it any more.")
@click.option("--zone", type=Zone(), default="UTC", show_default=True, help="Whose midnights these are.")
@click.option(
    "--view", "views", multiple=True, type=click.Choice(sorted(TIMES)), help="Only this one; may be repeated."
)
@click.option(
    "--format", "form", type=click.Choice([each.value for each in Format]), default="csv", show_default=True
)
@json_option("Print the list of files as one JSON document.")
@settings_options
@click.pass_obj
def export_command(
    invocation: Invocation,
    *,
    directory: Path,
    since: datetime,
    until: datetime,
    zone: ZoneInfo,
    views: tuple[str, ...],
    form: str,
    as_json: bool,
) -> None:
    """Write views of schema report into files, with a manifest that proves them.

    DIRECTORY is new or empty. The manifest has counts, range, coverage and hashes. Amounts are exact texts.
    """
    settings = invocation.load_to_look().settings
    period = between(since, until, zone)
    wanted = Wanted(
        settings.account, views or tuple(TIMES), period.since, period.until, Format(form), directory
    )
    with _progress() as progress:
        files = export(settings, wanted, progress)
    if as_json:
        click.echo(json.dumps([asdict(each) for each in files], indent=2))
        return
    for each in files:
        click.echo(f"{each.rows:>10}  {directory / each.name}")
    click.echo(f"{'':>10}  {directory / 'manifest.json'}")


@contextmanager
def _progress() -> Iterator[Progress]:
    """A bar on a terminal, nothing elsewhere."""
    if not sys.stderr.isatty():
        yield lambda *_: None
        return
    from rich.console import Console  # noqa: PLC0415 - on a terminal only
    from rich.progress import Progress as Bars  # noqa: PLC0415 - the same

    with Bars(console=Console(stderr=True), transient=True) as bars:
        tasks = {}

        def show(view: str, done: int, total: int) -> None:
            if view not in tasks:
                tasks[view] = bars.add_task(view, total=total)
            bars.update(tasks[view], completed=done)

        yield show
