"""`ingestor statement`: a month of the account as one HTML file."""

from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from ingestor.cli.invocation import Invocation, with_invocation
from ingestor.cli.period import MONTH, ZONE, of_month


@click.command("statement")
@click.option("--month", type=MONTH, required=True, help="The month, e.g. 2026-03.")
@click.option("--zone", type=ZONE, default="UTC", show_default=True, help="Time zone of its days.")
@click.option("--asset", "assets", multiple=True, metavar="NAME", help="Only this asset; may be repeated.")
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="File to write; - is standard output.  [default: statement-ACCOUNT-MONTH.html]",
)
@with_invocation
def statement_command(
    invocation: Invocation, *, month: date, zone: ZoneInfo, assets: tuple[str, ...], output: Path | None
) -> None:
    """Write a month of the account as one HTML file.

    It opens without a network and prints on A4: balances, charts with shaded gaps, coverage by day,
    movements, limits, latency, and a hash of the figures.
    """
    from ingestor.app.statement import statement  # noqa: PLC0415 - matplotlib, once the options are right

    settings = invocation.load_quietly().settings
    document = statement(settings, *of_month(month, zone), zone, assets)
    if output == Path("-"):
        click.echo(document, nl=False)
        return
    path = output or Path(f"statement-{settings.account}-{month:%Y-%m}.html")
    path.write_text(document, encoding="utf-8")
    click.echo(path)
