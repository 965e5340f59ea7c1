"""The types of what `--json` prints: each such command has one."""

from collections.abc import Iterator

import click

from ingestor.cli.documents import DOCUMENTS
from ingestor.cli.main import program

NO_COMMANDS = {"status without-database", "support-bundle contents", "failure"}
WITHOUT_JSON = {"run", "hub", "statement", "config example", "db roles"}
"""They run until they are stopped, or print or write a file of another kind."""


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    """Each command by its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, f"{path}{name} ")
        else:
            yield path + name, command


def test_every_command_with_json_has_a_schema_and_no_command_forgets_it() -> None:
    known = dict(commands(program))
    with_json = {
        name for name, each in known.items() if any("--json" in option.opts for option in each.params)
    }
    assert with_json == set(DOCUMENTS) - NO_COMMANDS
    assert known.keys() - with_json == WITHOUT_JSON
