"""`ingestor support-bundle`: one archive to send to support."""

import os
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import click

from ingestor.app.support.bundle import MOST_SECONDS, bundle_name, make_bundle
from ingestor.cli.as_unit import as_the_unit, only_instance
from ingestor.cli.exits import Exit
from ingestor.cli.invocation import Invocation, json_option, with_invocation

_STDOUT = Path("-")
_JOURNAL = ("SupplementaryGroups=systemd-journal",)


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
    help="The daemon's log as JSON lines, if it is not in the journal.",
)
@click.option(
    "--instance",
    metavar="NAME",
    help="As root: for the account of hercle-ingestor@NAME, in the sandbox of its unit.",
)
@json_option()
@with_invocation
def support_bundle_command(
    invocation: Invocation, *, output: Path | None, log_file: Path | None, instance: str | None
) -> int:
    """Write an archive for support: versions, settings, status, counts, log; no data.

    It has no key, no password, no amount, no record, no user, and no text of the hub or the database. What
    cannot be collected, for example while the database is down, is left out and listed. As root and without
    settings it is for the machine's only unit. With --output - all messages go to standard error.
    """
    of_unit = instance or (None if log_file else only_instance(invocation))
    if of_unit is not None:
        return _as_the_unit(of_unit, output, as_json=invocation.as_json)
    content, report = make_bundle(invocation.load_quietly(), log_file)
    path = output or Path(report.path)
    to_stdout = path == _STDOUT
    if to_stdout:
        click.echo(content, nl=False)
    else:
        with _created(path) as file:
            file.write(content)
    lines = [f"{each.bytes:>10,} bytes {each.entries:>7} entries  {each.name}" for each in report.files]
    lines += [f"missing: {name}: {why}" for name, why in report.missing.items()]
    lines.append(f"{path}: {report.bytes:,} bytes; examine it before you send it")
    invocation.answer(replace(report, path=str(path)), lines, err=to_stdout)
    return Exit.OK


def _as_the_unit(instance: str, output: Path | None, *, as_json: bool) -> int:
    """The unit's user cannot write files, so its standard output is written to our file."""
    arguments = ["support-bundle", "--output=-", *(["--json"] if as_json else [])]
    path = output or Path(bundle_name(instance))
    with ExitStack() as stack:
        file = None if path == _STDOUT else stack.enter_context(_created(path))
        code = as_the_unit(instance, arguments, MOST_SECONDS, properties=_JOURNAL, stdout=file)
    if code != Exit.OK and file is not None:
        path.unlink()
    elif file is not None and not as_json:
        click.echo(f"written: {path}")
    return code


def _created(path: Path) -> BinaryIO:
    """A new file, readable for its owner only. Raises FileExistsError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
