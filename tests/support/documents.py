"""What `--json` prints, held against its published type."""

import json
from typing import Any

import msgspec

from ingestor.cli.documents import DOCUMENTS


def document_of(command: str, text: str) -> Any:
    """The printed document, after it has been found to be what the schema's type says, neither more nor less.

    Args:
        command: a key of `DOCUMENTS`, whose schemas are in `deploy/schemas`.
    """
    value = json.loads(text)
    assert json.loads(msgspec.json.encode(msgspec.json.decode(text, type=DOCUMENTS[command]))) == value
    return value
