"""Keeps one known key out of texts, whole or in pieces.

`domain.scrub` hides what looks like a credential; here we know the very one, so that a hub which echoes a
stretch of it ("invalid key eyJhbGci…") cannot make us store what it said.
"""

import base64
from itertools import pairwise
from urllib.parse import quote

from ingestor.domain.scrub import MASK

_PIECE = 8
"""Characters in a row that give too much away."""


def fits_a_header(key: str) -> bool:
    """Whether the key can be sent as a bearer token at all: visible ASCII, and not empty."""
    return bool(key) and all("!" <= char <= "~" for char in key)


def without(key: str, text: str) -> str:
    """`text` with every stretch of 8 or more characters masked that also stands in the key.

    A key shorter than that is masked whole. The URL-encoded and the base64 form count as well.
    """
    forms = {key, quote(key, safe=""), base64.b64encode(key.encode()).decode()}
    size = min(_PIECE, len(key))
    pieces = {form[at : at + size] for form in forms for at in range(len(form) - size + 1)}
    hidden = [False] * len(text)
    for at in range(len(text) - size + 1):
        if text[at : at + size] in pieces:
            hidden[at : at + size] = [True] * size
    starts = [hide and not before for before, hide in pairwise([False, *hidden])]
    return "".join(
        MASK if start else "" if hide else char
        for char, hide, start in zip(text, hidden, starts, strict=True)
    )
