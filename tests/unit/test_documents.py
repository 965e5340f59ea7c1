"""The schemas of what `--json` prints: each such command has one, and the published ones are up to date."""

from collections.abc import Iterator

import click

from ingestor.cli.documents import DOCUMENTS, schemas
from ingestor.cli.main import program
from tests.support.daemon import ROOT

NO_COMMANDS = {"status without-database", "support-bundle contents", "failure"}


def commands_with_json(group: click.Group, path: str = "") -> Iterator[str]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands_with_json(command, f"{path}{name} ")
        elif command is not None and any("--json" in each.opts for each in command.params):
            yield path + name


def test_every_command_with_json_has_a_schema() -> None:
    assert set(commands_with_json(program)) == set(DOCUMENTS) - NO_COMMANDS


def test_the_schemas_are_published() -> None:
    folder = ROOT / "deploy" / "schemas"
    published = {path.name: path.read_text() for path in folder.iterdir()}

    assert published == schemas(), "run `python -m ingestor.cli.documents deploy/schemas`"
