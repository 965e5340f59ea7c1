"""Writes what is published of the commands: the man page, the shells' completion, and the JSON Schemas of
what `--json` prints, into `man`, `completions` and `schemas`: `python deploy/published.py [DIRECTORY]`.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import msgspec
from click.shell_completion import get_completion_class

import ingestor
from ingestor.cli.documents import DOCUMENTS
from ingestor.cli.main import program

_FILES = {"bash": "ingestor.bash", "zsh": "_ingestor", "fish": "ingestor.fish"}
"""Under the name that each shell expects."""


def files() -> dict[str, str]:
    """The text of each file by its path."""
    return {
        "man/ingestor.1": "\n".join(_page()) + "\n",
        **{f"completions/{file}": _completion(shell) for shell, file in _FILES.items()},
        **{f"schemas/{each.replace(' ', '-')}.json": _schema(each) for each in DOCUMENTS},
    }


def _schema(command: str) -> str:
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"ingestor {command}",
    }
    return json.dumps({**head, **msgspec.json.schema(DOCUMENTS[command])}, indent=2) + "\n"


def _completion(shell: str) -> str:
    of = get_completion_class(shell)
    assert of is not None  # noqa: S101 - click has these three
    source = of(program, {}, "ingestor", "_INGESTOR_COMPLETE").source()
    return "\n".join(line.rstrip() for line in source.strip().splitlines()) + "\n"


def _page() -> Iterator[str]:
    yield f'.TH INGESTOR 1 "" "hercle-ingestor {ingestor.__version__}" "User Commands"'
    yield ".SH NAME"
    yield r"ingestor \- stores a Hercle account's balances and pairs in Postgres"
    yield ".SH SYNOPSIS"
    yield r"\fBingestor\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGS\fR]..."
    yield ".SH OPTIONS"
    with click.Context(program, info_name="ingestor") as context:
        yield from _options(program, context)
        yield ".SH COMMANDS"
        yield from _commands(program, context)
    yield ".SH FILES"
    yield r"/usr/share/hercle\-ingestor/ contains the operator's guide, example settings and JSON schemas."


def _commands(group: click.Group, above: click.Context) -> Iterator[str]:
    for name in group.list_commands(above):
        command = group.get_command(above, name)
        if command is None:
            continue
        with click.Context(command, info_name=name, parent=above) as context:
            if isinstance(command, click.Group):
                yield from _commands(command, context)
                continue
            usage = " ".join(command.collect_usage_pieces(context))
            yield f".SS {_plain(context.command_path)} {_plain(usage)}"
            yield _plain(" ".join((command.help or "").split()))
            yield from _options(command, context)


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            yield ".TP"
            yield rf"\fB{_plain(record[0])}\fR"
            yield _plain(record[1]) or r"\&"


def _plain(text: str) -> str:
    """The text, escaped for roff."""
    escaped = text.replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    for file, text in files().items():
        path = directory / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
