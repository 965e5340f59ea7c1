"""`ingestor export`: views of `report` as files."""

from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from ingestor.app.export import FORMATS, TIMES, ExportSelection, export
from ingestor.cli.invocation import Invocation, json_option, with_invocation
from ingestor.cli.period import MOMENT, ZONE, between
from ingestor.cli.progress import progress_bars


@click.command("export")
@click.argument("directory", type=click.Path(path_type=Path, file_okay=False))
@click.option("--from", "since", type=MOMENT, required=True, help="Start, e.g. 2026-03-01.")
@click.option("--until", type=MOMENT, required=True, help="End, exclusive.")
@click.option("--zone", type=ZONE, default="UTC", show_default=True, help="Time zone of --from and --until.")
@click.option(
    "--view",
    "views",
    multiple=True,
    type=click.Choice(sorted(TIMES)),
    help="Only this view; may be repeated.",
)
@click.option("--format", "form", type=click.Choice(list(FORMATS)), default="csv", show_default=True)
@json_option("Print the list of files as one JSON document.")
@with_invocation
def export_command(
    invocation: Invocation,
    *,
    directory: Path,
    since: datetime,
    until: datetime,
    zone: ZoneInfo,
    views: tuple[str, ...],
    form: str,
) -> None:
    """Write views of schema report into files, with a manifest of counts and hashes.

    DIRECTORY is new or empty. The manifest also has range and coverage. Amounts are exact, as text.
    """
    settings = invocation.load_quietly().settings
    period = between(since, until, zone)
    selection = ExportSelection(
        settings.account, tuple(dict.fromkeys(views or TIMES)), *period, form, directory
    )
    with progress_bars() as progress:
        files = export(settings, selection, progress)
    written = [(str(each.rows), each.name) for each in files] + [("", "manifest.json")]
    invocation.answer(files, (f"{rows:>10}  {directory / name}" for rows, name in written))
