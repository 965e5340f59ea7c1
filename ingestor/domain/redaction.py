"""Masks known secrets in any text; `scrub` masks what only looks like one.

A secret may appear encoded: %-encoded in an address, base64 in a header, escaped in a repr, cut in two by a
limit. So every piece of eight characters of every encoding is masked. A text is scanned by looking up its own
pieces in the set of these, which takes the same time for any number of secrets.
"""

import base64
import json
from collections.abc import Iterator
from urllib.parse import quote, quote_plus

from ingestor.domain.scrub import MASK

PIECE = 8
"""Shortest part of a secret that is masked; a shorter secret is masked as a whole."""


class Redactor:
    """The set of pieces to mask. Registering is rare, scanning is frequent and from several threads.

    Args:
        shortest: shorter secrets are not masked, because that would mask much of every text.
    """

    def __init__(self, shortest: int = 4) -> None:
        self._shortest = shortest
        self._pieces: frozenset[str] = frozenset()
        self._short: tuple[str, ...] = ()

    def register(self, secret: str) -> None:
        """From now on mask this secret, its encodings, and any eight characters of them."""
        disguises = {form for form in _disguises(secret) if len(form) >= self._shortest}
        pieces = {form[at : at + PIECE] for form in disguises for at in range(len(form) - PIECE + 1)}
        short = {form for form in disguises if len(form) < PIECE}
        # Replaced as a whole, so that a thread that is scanning sees the old set or the new one.
        self._pieces |= pieces
        self._short = tuple(sorted({*self._short, *short}, key=len, reverse=True))

    def redact(self, text: str) -> str:
        """The text with every piece of a secret replaced by `[redacted]`."""
        for form in self._short:
            text = text.replace(form, MASK)
        pieces = self._pieces
        if not pieces or len(text) < PIECE:
            return text
        hits = [at for at in range(len(text) - PIECE + 1) if text[at : at + PIECE] in pieces]
        return "".join(_masked(text, hits)) if hits else text


def _masked(text: str, hits: list[int]) -> Iterator[str]:
    """Overlapping and adjacent hits are one mask, so that the number of masks does not tell the length."""
    done = 0
    for at in hits:
        if at > done or done == 0:
            yield text[done:at]
            yield MASK
        done = at + PIECE
    yield text[done:]


def _disguises(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    yield quote(secret, safe="").lower()
    yield quote(secret)
    yield quote_plus(secret)
    yield json.dumps(secret)[1:-1]
    yield repr(secret)[1:-1]
    content = secret.encode("utf-8", "surrogatepass")
    yield content.hex()
    yield content.hex().upper()
    yield base64.standard_b64encode(content).decode("ascii")
    for encode in (base64.standard_b64encode, base64.urlsafe_b64encode):
        # Inside a longer text a secret may start at any of three places of a base64 group. The characters
        # that mix it with its neighbours depend on them and are left out.
        for shift in range(3):
            encoded = encode(bytes(shift) + content).decode("ascii").rstrip("=")
            yield encoded[(shift * 8 + 5) // 6 : (shift + len(content)) * 8 // 6]
