"""Reads a balance record by what differs from an earlier one: its sequence and some amounts.

JSON composes: a record with other numbers in the same places says the same with those numbers. So the exact
reader reads a record once, and of the later ones only the numbers that differ are read. An asset that has not
changed is the same object as before. A record is cut into

    {"type":1, … {\"userId\":\"u\",\"sequence\":     a head: which account, in which envelope
    7                                               the sequence
    ,\"assets\":[{                                  always the same
    \"name\":\"BTC\",\"available\":1, …             the assets, cut at `},{`
    }],\"deleted\":false}"}]}                       a tail, which may hold the two totals of the exposure
"""

import re
from decimal import Decimal
from itertools import count

from msgspec import Struct

from ingestor.domain.decode import exact_reader
from ingestor.domain.events import Asset, BalanceSnapshot, Event
from ingestor.domain.limits import Limits

_RECORD_BYTES = 65_536
_RECORDS = 16
"""No more records than this are kept, and none that is larger than that: a few MiB in all."""
_COST, _MISS, _CREDIT = 64, 1, 512
"""To keep a record costs a second exact reading, which is wasted if no other is like it. So it is paid from a
credit, which grows by as much with each record that is like a kept one, and by a 64th with each other one."""

_ANY_NUMBER = re.compile(r":-?[0-9.]+(?=[,}])")


class _Grammar:
    """The parts of a record, with plain quotes, or with escaped ones if `data` is a string."""

    def __init__(self, quote: str, limits: Limits) -> None:
        longest = min(limits.digits, limits.exponent)  # so many characters are within both
        number = rf"((?![-0-9.]{{{longest + 1}}})-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?)"
        exposure = f"(?:null|{number})"
        start = r"(0|[1-9][0-9]{0,17}),'assets':\[\{"
        asset = (
            rf"""'name':'([^"\\]*)','available':{number},'allocated':{number}"""
            rf"(?:,'currentExposure':{exposure})?(?:,'maxExposure':{exposure})?"
        )
        tail = rf"(.*)'totalCurrentExposure':{exposure},'totalMaxExposure':{exposure}(.*)"
        self.start = re.compile(start.replace("'", quote)).match
        self.asset = re.compile(asset.replace("'", quote)).fullmatch
        self.tail = re.compile(tail.replace("'", quote)).fullmatch


class _Known(Struct, gc=False):
    """The newest record with a head, cut; and what it says."""

    grammar: _Grammar
    text: str
    pieces: list[str]
    """One for each asset."""
    tail: str
    around_totals: tuple[str | None, ...]
    """The tail without the totals; empty if it has none."""
    events: tuple[Event, ...]
    snapshot: BalanceSnapshot
    """Of the one event."""

    def follow(self, text: str, at: int) -> bool:
        """Become the record `text`, whose sequence stands at `at`, behind the same head.

        Returns:
            False, and nothing has changed, if `text` differs in anything but plain numbers.
        """
        start = self.grammar.start(text, at)
        if start is None:
            return False
        before = self.snapshot
        current, most = before.total_current_exposure, before.total_max_exposure
        begin = start.end()
        end = text.find("}]", begin)
        tail = text[end:]
        if tail != self.tail:
            totals = self.grammar.tail(tail)
            if totals is None or totals.group(1, 4) != self.around_totals:
                return False
            current, most = map(_exposure, totals.group(2, 3))
        pieces = text[begin:end].split("},{")
        assets = before.assets if pieces == self.pieces else self._assets(pieces)
        if assets is None:
            return False
        snapshot = BalanceSnapshot(
            before.user_id, int(start[1]), assets, before.deleted, before.base_currency, current, most
        )
        self.events = (Event(0, self.events[0].subject, None, snapshot),)
        self.text, self.pieces, self.tail, self.snapshot = text, pieces, tail, snapshot
        return True

    def _assets(self, pieces: list[str]) -> tuple[Asset, ...] | None:
        """The assets, those that have not changed as they were; None if they do not have the same names."""
        assets = list(self.snapshot.assets)
        if len(pieces) != len(assets):
            return None
        read = self.grammar.asset
        for place, (piece, known) in enumerate(zip(pieces, self.pieces, strict=True)):
            if piece != known:
                found = read(piece)
                name = assets[place].name
                if found is None or found[1] != name:
                    return None
                _, available, allocated, current, most = found.groups()
                assets[place] = Asset(
                    name, Decimal(available), Decimal(allocated), _exposure(current), _exposure(most)
                )
        return tuple(assets)


class IncrementalReader:
    """Reads records one after the other, and keeps some of them to read later ones by. Not thread-safe."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._grammars = _Grammar('"', limits), _Grammar(re.escape('\\"'), limits)
        self._known: dict[str, _Known] = {}
        """By head."""
        self._credit = _CREDIT

    def events(self, raw: bytes) -> tuple[Event, ...]:
        """What the exact reader says of `raw`, which is not above the size limit. Never raises."""
        if len(raw) > _RECORD_BYTES or not raw.isascii():
            return exact_reader.events(raw, self._limits)
        text = raw.decode()
        at = text.find(":", text.find("sequence")) + 1
        known = self._known.get(text[:at])
        if known is not None and (text == known.text or known.follow(text, at)):
            if self._credit < _CREDIT:
                self._credit += _COST
            return known.events
        events = exact_reader.events(raw, self._limits)
        snapshot = events[0].body
        if isinstance(snapshot, BalanceSnapshot) and events[0].client_id is None:
            self._credit += _MISS
            if self._credit >= _COST:
                self._credit -= _COST
                self._learn(text, at, events, snapshot)
        return events

    def _learn(self, text: str, at: int, events: tuple[Event, ...], snapshot: BalanceSnapshot) -> None:
        """Keep a record, if it is cut in the right places.

        The proof: with all numbers behind the head replaced by one that it does not have, the exact reader
        finds this one wherever we do.
        """
        grammar = self._grammars[text.startswith("\\", at - 3)]
        tail = text[text.find("}]", at) :]
        totals = grammar.tail(tail)
        around = () if totals is None else totals.group(1, 4)
        known = _Known(grammar, text, [""] * len(snapshot.assets), tail, around, events, snapshot)
        numbers = set(_ANY_NUMBER.findall(text))
        other = next(number for number in map(":{}".format, count()) if number not in numbers)
        probe = text[: at - 1] + _ANY_NUMBER.sub(other, text[at - 1 :])
        # By `repr`, because equality of decimals forgets trailing zeros.
        if known.follow(probe, at) and repr(known.events) == repr(
            exact_reader.events(probe.encode(), self._limits)
        ):
            self._known.pop(text[:at], None)
            if len(self._known) >= _RECORDS:
                del self._known[next(iter(self._known))]
            self._known[text[:at]] = known


def _exposure(number: str | None) -> Decimal | None:
    return None if number is None else Decimal(number)
