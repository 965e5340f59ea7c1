"""The account behind the hub: exact balances that move by seeded trades, and a list of pairs.

Every change is one step of `sequence`. Each asset has a scale of its own, and sums are exact: all arithmetic
is on Decimals that stay well within their context's precision. Thread-safe.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Context, Decimal
from random import Random
from typing import Final

from ingestor.simulator.config import HubConfig
from ingestor.simulator.exact_json import Json

_EXACT: Final = Context(prec=60)
_BASE_CURRENCY: Final = "EUR"
_CENTS: Final = Decimal("0.00000001")
_LARGEST_DEPOSIT: Final = Decimal(20000)
"""In the base currency."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """An asset's habits: digits after the point, price in the base currency, and the opening balance."""

    scale: int
    price: Decimal
    opening: Decimal


_ASSETS: Final = {
    "BTC": _Kind(8, Decimal("61250.5"), Decimal("12.50000000")),
    "ETH": _Kind(18, Decimal("2410.25"), Decimal("340.123456789012345678")),
    "USDT": _Kind(6, Decimal("0.92"), Decimal("1500000.000000")),
    "EUR": _Kind(2, Decimal(1), Decimal("820000.00")),
    "SOL": _Kind(9, Decimal("131.4"), Decimal("4100.000000001")),
    "MATIC": _Kind(18, Decimal("0.41"), Decimal(0)),
}


@dataclass(frozen=True, slots=True)
class Holding:
    """One asset: what is free and what is tied to orders."""

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
    """Empty in the one snapshot that a mass delete spoils."""


@dataclass(frozen=True, slots=True)
class PairLimits:
    """One row of the pair list."""

    asset: str
    currency: str
    min_size: Decimal
    max_size: Decimal
    min_quote_size: Decimal
    max_quote_size: Decimal


def _pair(asset: str, currency: str, *limits: str) -> PairLimits:
    return PairLimits(asset, currency, *map(Decimal, limits))


_LISTED: Final = (
    _pair("BTC", "USDT", "0.0001", "20", "15", "1200000.0"),
    _pair("ETH", "USDT", "0.001", "500", "15", "1000000"),
    _pair("BTC", "EUR", "0.0001", "20.0", "15", "1200000"),
    _pair("ETH", "EUR", "0.001", "500", "15", "1000000"),
    _pair("SOL", "USDT", "0.01", "10000", "15.00", "500000"),
    _pair("USDT", "EUR", "10", "2000000", "10", "2000000"),
)
_UNLISTED: Final = (
    _pair("SOL", "EUR", "0.01", "10000", "15", "500000"),
    _pair("MATIC", "USDT", "1", "2500000", "15", "250000"),
)


class Account:
    """Balances and pairs. `listener` hears of each change of balances, in order, under the account's lock."""

    def __init__(self, config: HubConfig, listener: Callable[[Snapshot], None] | None = None) -> None:
        self._config = config
        self._listener = listener
        self._lock = threading.RLock()
        self._dice = Random(f"{config.seed}/account")
        self._sequence = config.first_sequence
        self._holdings = {
            name: Holding(kind.opening, Decimal(0).scaleb(-kind.scale)) for name, kind in _ASSETS.items()
        }
        self._pairs = {pair.asset + pair.currency: pair for pair in _LISTED}
        self._off_list = list(_UNLISTED)
        self._empty_balances = 0
        self._empty_pairs = 0

    @property
    def sequence(self) -> int:
        with self._lock:
            return self._sequence

    def change(self) -> Snapshot:
        """One seeded move: a trade of two assets, an order placed or released, a deposit, a withdrawal."""
        with self._lock:
            moves = (self._trade, self._order, self._deposit, self._withdraw)
            self._dice.choices(moves, weights=(6, 2, 1, 1))[0]()
            self._sequence += self._config.sequence_step
            return self._announce()

    def reset_sequence(self) -> Snapshot:
        """The counter starts again at 1; the balances stay."""
        with self._lock:
            self._sequence = 1
            return self._announce()

    def empty_balances(self, times: int) -> Snapshot:
        """The next `times` snapshots read, the announced one included, hold no assets at all."""
        with self._lock:
            self._empty_balances = times
            self._sequence += self._config.sequence_step
            return self._announce()

    def empty_pairs(self, times: int) -> None:
        """The next `times` pair lists read are empty."""
        with self._lock:
            self._empty_pairs = times

    def read(self) -> Snapshot:
        """What GetBalances sees now."""
        with self._lock:
            if not self._empty_balances:
                return Snapshot(self._sequence, dict(self._holdings))
            spoilt = Snapshot(self._sequence, {})
            self._empty_balances -= 1
            if not self._empty_balances:  # what comes back is a change as well
                self._sequence += self._config.sequence_step
            return spoilt

    def balances(self, snapshot: Snapshot) -> Json:
        """`snapshot` in the vendor's payload form."""
        assets: list[Json] = []
        exposure = Decimal(0)
        for name, holding in snapshot.holdings.items():
            row: dict[str, Json] = {
                "name": name,
                "available": holding.available,
                "allocated": holding.allocated,
            }
            if self._config.exposure:
                worth = _EXACT.multiply(holding.total, _ASSETS[name].price).quantize(_CENTS, context=_EXACT)
                exposure = _EXACT.add(exposure, worth)
                row |= {"currentExposure": worth, "maxExposure": Decimal("2500000.00")}
            assets.append(row)
        payload: dict[str, Json] = {
            "userId": self._config.user_id,
            "sequence": snapshot.sequence,
            "assets": assets,
        }
        if self._config.exposure:
            payload |= {
                "baseCurrency": _BASE_CURRENCY,
                "totalCurrentExposure": exposure,
                "totalMaxExposure": Decimal("5000000.00"),
            }
        return payload | {"deleted": False}

    def pairs(self) -> Json:
        """What GetPairs sees now, in the vendor's payload form."""
        with self._lock:
            if self._empty_pairs:
                self._empty_pairs -= 1
                return []
            return [
                {
                    "name": name,
                    "asset": pair.asset,
                    "currency": pair.currency,
                    "minSize": pair.min_size,
                    "maxSize": pair.max_size,
                    "minQuoteSize": pair.min_quote_size,
                    "maxQuoteSize": pair.max_quote_size,
                }
                for name, pair in self._pairs.items()
            ]

    def change_pairs(self) -> None:
        """One seeded change of the list: new limits, a pair that appears, or one that goes."""
        with self._lock:
            match self._dice.choices(("limits", "appear", "disappear"), weights=(4, 1, 1))[0]:
                case "appear" if self._off_list:
                    pair = self._off_list.pop(0)
                    self._pairs[pair.asset + pair.currency] = pair
                case "disappear" if len(self._pairs) > len(_LISTED) // 2:
                    self._off_list.append(self._pairs.pop(self._dice.choice(sorted(self._pairs))))
                case _:
                    name = self._dice.choice(sorted(self._pairs))
                    largest = Decimal(self._dice.randint(10, 99999)).scaleb(-1)
                    self._pairs[name] = replace(self._pairs[name], max_size=largest)

    def _announce(self) -> Snapshot:
        snapshot = self.read()
        if self._listener is not None:
            self._listener(snapshot)
        return snapshot

    def _trade(self) -> None:
        """Sell a part of one asset for another one at their prices, give or take a spread."""
        sold, bought = self._dice.sample([name for name in _ASSETS if name != "MATIC"], 2)
        amount = self._part_of(self._holdings[sold].available, sold)
        rate = _EXACT.divide(_ASSETS[sold].price, _ASSETS[bought].price)
        spread = Decimal(self._dice.randint(9950, 10050)).scaleb(-4)
        proceeds = _EXACT.multiply(_EXACT.multiply(amount, rate), spread)
        self._add(sold, amount.copy_negate())
        self._add(bought, proceeds.quantize(Decimal(1).scaleb(-_ASSETS[bought].scale), context=_EXACT))

    def _order(self) -> None:
        """Tie a part of an asset to an order, or let go of all that is tied."""
        name = self._dice.choice([name for name in _ASSETS if name != "MATIC"])
        holding = self._holdings[name]
        amount = (
            holding.allocated.copy_negate() if holding.allocated else self._part_of(holding.available, name)
        )
        self._holdings[name] = Holding(
            _EXACT.subtract(holding.available, amount), _EXACT.add(holding.allocated, amount)
        )

    def _deposit(self) -> None:
        name = self._dice.choice(list(_ASSETS))
        kind = _ASSETS[name]
        units = int((_LARGEST_DEPOSIT / kind.price).scaleb(kind.scale))
        self._add(name, Decimal(self._dice.randint(1, units)).scaleb(-kind.scale))

    def _withdraw(self) -> None:
        name = self._dice.choice(list(_ASSETS))
        self._add(name, self._part_of(self._holdings[name].available, name).copy_negate())

    def _part_of(self, available: Decimal, name: str) -> Decimal:
        """Up to a tenth of what is available, on the asset's scale."""
        scale = _ASSETS[name].scale
        units = int(available.scaleb(scale, context=_EXACT)) // 10
        return Decimal(self._dice.randint(0, units)).scaleb(-scale)

    def _add(self, name: str, amount: Decimal) -> None:
        holding = self._holdings[name]
        self._holdings[name] = replace(holding, available=_EXACT.add(holding.available, amount))
