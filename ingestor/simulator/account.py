"""The account behind the hub: exact balances that move by seeded trades, and a list of pairs.

Every change is one step of `sequence`. Each asset has a scale of its own, and sums are exact: amounts stay
well within the precision of the context in which they are computed. Thread-safe.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from random import Random
from typing import Final, NamedTuple

import msgspec

from ingestor.simulator.config import HubConfig

_EXACT: Final = Context(prec=60)
_BASE_CURRENCY: Final = "EUR"
_CENTS: Final = Decimal("0.00000001")
_MOST_EXPOSURE: Final = Decimal("2500000.00")
_USER_ID: Final = "5f0c7a52-3a1e-4a5e-9d59-2b6f4f6e1d10"


class _AssetType(NamedTuple):
    """Digits after the point, price in the base currency, and the opening balance."""

    scale: int
    price: Decimal
    opening: Decimal


_ASSETS: Final = {
    "BTC": _AssetType(8, Decimal("61250.5"), Decimal("12.50000000")),
    "ETH": _AssetType(18, Decimal("2410.25"), Decimal("340.123456789012345678")),
    "USDT": _AssetType(6, Decimal("0.92"), Decimal("1500000.000000")),
    "EUR": _AssetType(2, Decimal(1), Decimal("820000.00")),
    "SOL": _AssetType(9, Decimal("131.4"), Decimal("4100.000000001")),
    "MATIC": _AssetType(18, Decimal("0.41"), Decimal(0)),
}
_TRADED: Final = [name for name, kind in _ASSETS.items() if kind.opening]


@dataclass(frozen=True, slots=True)
class Holding:
    """One asset: what is free and what is allocated to orders."""

    available: Decimal
    allocated: Decimal

    @property
    def total(self) -> Decimal:
        return _EXACT.add(self.available, self.allocated)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The whole account as of one sequence."""

    sequence: int
    holdings: dict[str, Holding]


def _number(amount: Decimal) -> msgspec.Raw:
    """As a .NET `decimal` is written: in plain notation, with all its digits and trailing zeros."""
    return msgspec.Raw(format(amount, "f").encode())


def _pair(asset: str, currency: str, *limits: str) -> dict[str, object]:
    names = ("minSize", "maxSize", "minQuoteSize", "maxQuoteSize")
    sizes = dict(zip(names, map(_number, map(Decimal, limits)), strict=True))
    return {"name": asset + currency, "asset": asset, "currency": currency, **sizes}


_PAIRS: Final = (
    _pair("BTC", "USDT", "0.0001", "20", "15", "1200000.0"),
    _pair("ETH", "USDT", "0.001", "500", "15", "1000000"),
    _pair("BTC", "EUR", "0.0001", "20.0", "15", "1200000"),
    _pair("ETH", "EUR", "0.001", "500", "15", "1000000"),
    _pair("SOL", "USDT", "0.01", "10000", "15.00", "500000"),
    _pair("USDT", "EUR", "10", "2000000", "10", "2000000"),
    _pair("SOL", "EUR", "0.01", "10000", "15", "500000"),
    _pair("MATIC", "USDT", "1", "2500000", "15", "250000"),
)
_FIRST_LISTED: Final = 6


class Account:
    """Balances and pairs. `listener` is called with each change of balances, in order, under a lock."""

    def __init__(self, config: HubConfig, listener: Callable[[Snapshot], None] | None = None) -> None:
        self._config = config
        self._listener = listener
        self._lock = threading.RLock()
        self._rng = Random(f"{config.seed}/account")
        self._step_rng = Random(f"{config.seed}/steps")
        self._sequence = config.first_sequence
        self._holdings = {
            name: Holding(kind.opening, Decimal(0).scaleb(-kind.scale)) for name, kind in _ASSETS.items()
        }
        self._listed = list(_PAIRS[:_FIRST_LISTED])
        self._unlisted = list(_PAIRS[_FIRST_LISTED:])
        self._empty_balances = 0
        self._empty_pairs = 0

    @property
    def sequence(self) -> int:
        with self._lock:
            return self._sequence

    def change(self) -> Snapshot:
        """One seeded move: a trade of two assets, an order placed or released, a deposit or withdrawal."""
        with self._lock, localcontext(_EXACT):
            moves = (self._trade, self._order, self._transfer)
            self._rng.choices(moves, weights=(6, 2, 2))[0]()
            self._step()
            return self._announce()

    def reset_sequence(self, sequence: int = 1) -> Snapshot:
        """The counter goes on from `sequence`; the balances stay."""
        with self._lock:
            self._sequence = sequence
            return self._announce()

    def empty_balances(self, times: int) -> Snapshot:
        """The next `times` snapshots read, the announced one included, hold no assets at all."""
        with self._lock:
            self._empty_balances = times
            self._step()
            return self._announce()

    def empty_pairs(self, times: int) -> None:
        """The next `times` pair lists read are empty."""
        with self._lock:
            self._empty_pairs = times

    def read(self) -> Snapshot:
        """What GetBalances sees now."""
        with self._lock:
            empty = self._config.empty_account or self._empty_balances
            snapshot = Snapshot(self._sequence, {} if empty else dict(self._holdings))
            if self._empty_balances:
                self._empty_balances -= 1
                if not self._empty_balances:  # what comes back is a change as well
                    self._step()
            return snapshot

    def balances(self, snapshot: Snapshot) -> dict[str, object]:
        """`snapshot` in the vendor's payload form."""
        with localcontext(_EXACT):
            worths = {
                name: (holding.total * _ASSETS[name].price).quantize(_CENTS)
                for name, holding in snapshot.holdings.items()
            }
            total = sum(worths.values(), Decimal(0))
        rows = [
            {
                "name": name,
                "available": _number(holding.available),
                "allocated": _number(holding.allocated),
                "currentExposure": _number(worths[name]),
                "maxExposure": _number(_MOST_EXPOSURE),
            }
            for name, holding in snapshot.holdings.items()
        ]
        return {
            "userId": _USER_ID,
            "sequence": snapshot.sequence,
            "assets": self._list(rows),
            "baseCurrency": _BASE_CURRENCY,
            "totalCurrentExposure": _number(total),
            "totalMaxExposure": _number(2 * _MOST_EXPOSURE),
            "deleted": False,
        }

    def pairs(self) -> object:
        """What GetPairs sees now, in the vendor's payload form."""
        with self._lock:
            empty = self._config.empty_account or self._empty_pairs > 0
            self._empty_pairs = max(0, self._empty_pairs - 1)
            return self._list([] if empty else list(self._listed))

    def change_pairs(self) -> None:
        """One seeded change of the list: new limits, a pair that appears, or one that goes."""
        with self._lock:
            kind = self._rng.choices(("limits", "appear", "disappear"), weights=(4, 1, 1))[0]
            place = self._rng.randrange(len(self._listed))
            if kind == "appear" and self._unlisted:
                self._listed.append(self._unlisted.pop(0))
            elif kind == "disappear" and len(self._listed) > _FIRST_LISTED // 2:
                self._unlisted.append(self._listed.pop(place))
            else:
                largest = Decimal(self._rng.randint(10, 99999)).scaleb(-1)
                self._listed[place] = {**self._listed[place], "maxSize": _number(largest)}

    def _list(self, rows: Sequence[object]) -> object:
        return None if self._config.null_lists and not rows else rows

    def _step(self) -> None:
        most = self._config.sequence_step_random
        self._sequence += self._step_rng.randint(1, most) if most else self._config.sequence_step

    def _announce(self) -> Snapshot:
        snapshot = self.read()
        if self._listener is not None:
            self._listener(snapshot)
        return snapshot

    def _trade(self) -> None:
        """Sell a part of one asset for another one at their prices, give or take a spread."""
        sold, bought = self._rng.sample(_TRADED, 2)
        amount = self._part_of(sold)
        rate = _ASSETS[sold].price / _ASSETS[bought].price
        spread = Decimal(self._rng.randint(9950, 10050)).scaleb(-4)
        self._add(sold, -amount)
        self._add(bought, (amount * rate * spread).quantize(Decimal(1).scaleb(-_ASSETS[bought].scale)))

    def _order(self) -> None:
        """Allocate a part of an asset to an order, or release all that is allocated."""
        name = self._rng.choice(_TRADED)
        amount = -self._holdings[name].allocated or self._part_of(name)
        self._add(name, -amount, allocated=amount)

    def _transfer(self) -> None:
        """Deposit or withdraw a part of an asset."""
        name = self._rng.choice(_TRADED)
        self._add(name, self._rng.choice((1, -1)) * self._part_of(name))

    def _part_of(self, name: str) -> Decimal:
        """Up to a tenth of what is available, on the asset's scale."""
        scale = _ASSETS[name].scale
        units = int(self._holdings[name].available.scaleb(scale)) // 10
        return Decimal(self._rng.randint(0, units)).scaleb(-scale)

    def _add(self, name: str, available: Decimal, allocated: Decimal = Decimal(0)) -> None:
        holding = self._holdings[name]
        self._holdings[name] = Holding(holding.available + available, holding.allocated + allocated)
