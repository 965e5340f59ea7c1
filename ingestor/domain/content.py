"""The content by which snapshots are compared: two with equal content are the same.

It is compared by a digest, which is computed at its first use: most versions are replaced by a higher
sequence without a comparison.

The vendor does not say whether `sequence` rises when only exposure figures (marked to market) change, so
those are not compared. Amounts are compared by value: `0.5`, `0.50` and `5E-1` are one amount, `-0` is `0`.

The encoding is unambiguous: items end in NUL, which no name contains (`decode` rejects it) and no number has.
"""

from collections.abc import Iterable
from decimal import Decimal
from hashlib import sha256

from typing_extensions import override

from ingestor.domain.events import BalanceSnapshot, PairList


class Content:
    """The content of a payload, or a digest that was computed earlier. Compared by digest."""

    __slots__ = ("_digest", "_payload")

    def __init__(self, payload: BalanceSnapshot | PairList | None, digest: bytes | None = None) -> None:
        self._payload = payload
        self._digest = digest

    @classmethod
    def stored(cls, digest: bytes) -> "Content":
        """From a digest in the database."""
        return cls(None, digest)

    @property
    def digest(self) -> bytes:
        """32 bytes."""
        if self._digest is None:
            payload = self._payload
            assert payload is not None  # noqa: S101 - one of the two is always there
            self._digest = (
                balance_content(payload) if isinstance(payload, BalanceSnapshot) else pairs_content(payload)
            )
        return self._digest

    @override
    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Content):
            return NotImplemented
        mine, theirs = self._payload, other._payload
        if (
            isinstance(mine, BalanceSnapshot)
            and isinstance(theirs, BalanceSnapshot)
            and mine.assets == theirs.assets
            and mine.deleted == theirs.deleted
        ):
            return True  # the same list in the same order: no digest is needed
        return self.digest == other.digest

    @override
    def __hash__(self) -> int:
        return hash(self.digest)

    @override
    def __repr__(self) -> str:
        return f"Content({self.digest.hex()[:8]})"


def balance_content(snapshot: BalanceSnapshot) -> bytes:
    """32 bytes over `deleted` and each asset's name, available and allocated; the order does not matter."""
    assets = [
        f"{asset.name}\0{_canonical(asset.available)}\0{_canonical(asset.allocated)}\0"
        for asset in snapshot.assets
    ]
    return _digest("deleted\0" if snapshot.deleted else "balances\0", assets)


def pairs_content(listed: PairList) -> bytes:
    """32 bytes over all fields of all pairs; the order does not matter. An absent limit is encoded as
    empty."""
    pairs = [
        "\0".join((pair.name, pair.asset, pair.currency, *map(_optional, sizes), ""))
        for pair in listed.pairs
        for sizes in ((pair.min_size, pair.max_size, pair.min_quote_size, pair.max_quote_size),)
    ]
    return _digest("pairs\0", pairs)


def _digest(head: str, items: Iterable[str]) -> bytes:
    return sha256((head + "".join(sorted(items))).encode()).digest()


def _optional(value: Decimal | None) -> str:
    return "" if value is None else _canonical(value)


def _canonical(value: Decimal) -> str:
    """The shortest plain notation of `value`. Not `normalize()`: that rounds to the context's 28 digits."""
    if not value:
        return "0"
    text = str(value)
    if "E" in text:
        text = f"{value:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
