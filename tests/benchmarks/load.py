"""What is offered: one account's balances, changing trade by trade, as the vendor's hub would send them.

Everything follows from a seed, so two programs under test get the same bytes. `Account` is also the model
that a receiver's tables are compared with: it counts the rows that its records must lead to.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from random import Random
from typing import NamedTuple
from uuid import UUID

ASSETS = 5
"""Of a usual account."""
SCALE = 8
UNIT = 10**SCALE
RECORD_END = b"\x1e"
OPENING_SEQUENCE = 1
PAIRS = (("BTCUSDT", "0.0001", "5"), ("ETHUSDT", "0.001", "50"), ("ETHEUR", "0.001", "50"))

_NAMES = ("BTC", "ETH", "USDT", "EUR", "USDC", "SOL", "XRP", "ADA")
_HEAD = (
    '{"type":1,"target":"executionEvents","arguments":[{"channel":"executionEvents","topic":"%s",'
    '"subject":"%s","type":"message","clientId":%s,"data":"%s"}]}'
)
_NO_CLIENT = b'"clientId":null'


@dataclass(frozen=True, slots=True)
class Load:
    """What to stream, apart from how fast."""

    events: int
    records_per_frame: int = 1
    changes: int = 2
    """Assets whose available amount differs from the event before: a trade moves two."""
    all_amounts: bool = False
    """Each amount of each asset differs from the event before, instead."""
    repeats: bool = False
    """The newest snapshot again and again, with its sequence: nothing new."""


class Amounts(NamedTuple):
    """In units of 10^-8."""

    available: int
    allocated: int


@dataclass(slots=True)
class Tally:
    """What a complete receiver must hold after what has been sent."""

    user: str = ""
    records: int = 0
    digest: int = 0
    """Sum of the first 8 bytes (signed) of each record's MD5: the order does not matter, all else does."""
    raw_bytes: int = 0
    applied: int = 0
    duplicates: int = 0
    balance_rows: int = 0
    available: int = 0
    """Sum over all rows of balances, in units of 10^-8."""
    allocated: int = 0
    last_sequence: int = 0
    assets: dict[str, Amounts] = field(default_factory=dict)

    def add_record(self, raw: bytes) -> None:
        self.records += 1
        self.raw_bytes += len(raw)
        self.digest += int.from_bytes(hashlib.md5(raw).digest()[:8], "big", signed=True)

    def add_rows(self, changed: dict[str, Amounts]) -> None:
        self.balance_rows += len(changed)
        for name, amounts in changed.items():
            self.available += amounts.available
            self.allocated += amounts.allocated
            self.assets[name] = amounts


def text(units: int) -> str:
    """As the hub writes a number."""
    return f"{units // UNIT}.{units % UNIT:0{SCALE}d}"


def decimal(units: int) -> Decimal:
    """As Postgres must give it back, whatever the number of digits."""
    return Decimal((0, tuple(map(int, str(abs(units)))), -SCALE)) * (1 if units >= 0 else -1)


class Account:
    """The source's state: amounts by asset, and a sequence that grows by one with each change."""

    def __init__(self, seed: int, assets: int) -> None:
        self._random = Random(seed)
        self.user = str(UUID(int=self._random.getrandbits(128), version=4))
        """The hub's user: another one for each seed."""
        self._names = [_NAMES[i] if i < len(_NAMES) else f"TKN{i}" for i in range(assets)]
        self._amounts = {
            name: Amounts(self._random.randrange(10**3, 10**6) * UNIT, self._random.randrange(100) * UNIT)
            for name in self._names
        }
        self._parts = {name: _part(name, amounts) for name, amounts in self._amounts.items()}
        self.sequence = OPENING_SEQUENCE

    @property
    def amounts(self) -> dict[str, Amounts]:
        return dict(self._amounts)

    def snapshot(self) -> bytes:
        """The record (without terminator) that tells of the state as it is."""
        data = (
            f'{{\\"userId\\":\\"{self.user}\\",\\"sequence\\":{self.sequence},'
            f'\\"assets\\":[{",".join(self._parts.values())}],\\"deleted\\":false}}'
        )
        return (_HEAD % ("Account", "account.balances.snapshot", "null", data)).encode()

    def trade(self, load: Load) -> dict[str, Amounts]:
        """Move the sequence and what the load says; returns what has changed."""
        self.sequence += 1
        names = self._names if load.all_amounts else self._random.sample(self._names, load.changes)
        changed = {}
        for name in names:
            available, allocated = self._amounts[name]
            step = self._random.randrange(1, 10 * UNIT)
            available += step if available < 500 * UNIT or step & 1 else -step
            allocated += step if load.all_amounts else 0
            changed[name] = self._amounts[name] = Amounts(available, allocated)
            self._parts[name] = _part(name, changed[name])
        return changed

    def records(self, load: Load, tally: Tally) -> Iterator[bytes]:
        """The records of a load in order, counted in `tally` as they are made."""
        for _ in range(load.events):
            changed = {} if load.repeats else self.trade(load)
            raw = self.snapshot()
            tally.add_record(raw)
            if load.repeats:
                tally.duplicates += 1
            else:
                tally.applied += 1
                tally.last_sequence = self.sequence
                tally.add_rows(changed)
            yield raw


def addressed(record: bytes, client_id: str) -> bytes:
    """The same as an answer to a command."""
    return record.replace(_NO_CLIENT, f'"clientId":"{client_id}"'.encode(), 1)


def pair_list() -> bytes:
    """The record that tells of the tradable pairs."""
    pairs = ",".join(
        f'{{\\"name\\":\\"{name}\\",\\"asset\\":\\"{name[:3]}\\",\\"currency\\":\\"{name[3:]}\\",'
        f'\\"minSize\\":{low},\\"maxSize\\":{high}}}'
        for name, low, high in PAIRS
    )
    return (_HEAD % ("Execution", "execution.pairs", "null", f"[{pairs}]")).encode()


def _part(name: str, amounts: Amounts) -> str:
    return (
        f'{{\\"name\\":\\"{name}\\",\\"available\\":{text(amounts.available)},'
        f'\\"allocated\\":{text(amounts.allocated)}}}'
    )
