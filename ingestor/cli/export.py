"""`ingestor export`: views of `report` as files."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from ingestor.app.export import TIMES, Format, Wanted, export
from ingestor.cli.documents import say
from ingestor.cli.invocation import Invocation, json_option, settings_options
from ingestor.cli.period import Moment, Zone, between
from ingestor.cli.progress import progress_bars


@click.command("export")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--from", "since", type=Moment(), required=True, help="Start, e.g. 2026-03-01.")
@click.option("--until", type=Moment(), required=True, help="End, exclusive.")
@click.option(
    "--zone", type=Zone(), default="UTC", show_default=True, help="Time zone of --from and --until."
)
@click.option(
    "--view",
    "views",
    multiple=True,
    type=click.Choice(sorted(TIMES)),
    help="Only this view; may be repeated.",
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
    """Write views of schema report into files, with a manifest of counts and hashes.

    DIRECTORY is new or empty. The manifest also has range and coverage. Amounts are exact, as text.
    """
    settings = invocation.load_to_look().settings
    period = between(since, until, zone)
    wanted = Wanted(
        settings.account, views or tuple(TIMES), period.since, period.until, Format(form), directory
    )
    with progress_bars() as progress:
        files = export(settings, wanted, progress)
    if as_json:
        say(files)
        return
    for each in files:
        click.echo(f"{each.rows:>10}  {directory / each.name}")
    click.echo(f"{'':>10}  {directory / 'manifest.json'}")
