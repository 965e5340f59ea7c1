"""`ingestor support-bundle`: one archive for whoever helps."""

import os
from pathlib import Path

import click

from ingestor.app.support_bundle import make_bundle
from ingestor.app.support_contents import BundleReport
from ingestor.cli.documents import say
from ingestor.cli.invocation import Invocation, json_option, settings_options


@click.command("support-bundle")
@click.option(
    "--output",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    metavar="FILE",
    help="A new file, or - for standard output; by default ingestor-support-ACCOUNT-TIME.tar.gz.",
)
@click.option(
    "--log",
    "log_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="The daemon's log as JSON lines, where it is not in the journal.",
)
@json_option()
@settings_options
@click.pass_obj
def support_bundle_command(
    invocation: Invocation, *, output: Path | None, log_file: Path | None, as_json: bool
) -> None:
    """Write an archive for whoever helps: versions, settings, status, counts, log; no data.

    It has no key, no password, no amount, no record, no user, and no text of the hub or the database. What
    cannot be had, with the database down for example, is left out and named.
    """
    to_stdout = output == Path("-")
    if to_stdout and as_json:
        raise click.UsageError("--json and --output - both want standard output")
    bundle = make_bundle(invocation.load_to_look(), log_file)
    path = output or Path(bundle.name)
    if to_stdout:
        click.echo(bundle.content, nl=False)
    else:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(bundle.content)
    if as_json:
        say(BundleReport(str(path), len(bundle.content), bundle.files, bundle.missing))
        return
    for each in bundle.files:
        click.echo(f"{each.bytes:>10,} bytes {each.entries:>7} entries  {each.name}", err=to_stdout)
    for name, why in bundle.missing.items():
        click.echo(f"missing: {name}: {why}", err=to_stdout)
    said = f"{path}: {len(bundle.content):,} bytes; look into it before you send it"
    click.echo(said, err=to_stdout)
