"""The documents that `--json` prints: each has a type, and the type's JSON Schema is published.

`python -m ingestor.cli.documents DIRECTORY` writes the schemas, one file for each command; the package has
them in `deploy/schemas`.
"""

import json
import sys
from pathlib import Path

import click
import msgspec

from ingestor.app.evidence import DeadLetterDocument, DeadLettersDocument, GapDocument, GapsDocument

DOCUMENTS: dict[str, type] = {
    "gaps list": GapsDocument,
    "gaps show": GapDocument,
    "dead-letters list": DeadLettersDocument,
    "dead-letters show": DeadLetterDocument,
    "dead-letters export": DeadLetterDocument,
}
"""By command; of `dead-letters export` it is the type of each line."""


def say(document: object) -> None:
    """Print one document."""
    click.echo(msgspec.json.format(msgspec.json.encode(document), indent=2))


def schemas() -> dict[str, str]:
    """The text of each schema by the name of its file."""
    return {
        f"{command.replace(' ', '-')}.json": json.dumps(
            {
                "$schema": "https://json-schema.org/draft/2020-12/schema",
                "title": f"ingestor {command}",
                **msgspec.json.schema(document),
            },
            indent=2,
        )
        + "\n"
        for command, document in DOCUMENTS.items()
    }


if __name__ == "__main__":
    for file, text in schemas().items():
        (Path(sys.argv[1]) / file).write_text(text, encoding="utf-8")
