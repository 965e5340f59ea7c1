"""Reads a balance record by what differs from an earlier one: its sequence and some amounts.

If two records differ in numbers only, their events differ in these numbers only. So the exact reader reads a
record once, and of later ones only the numbers that differ are read. An asset that has not changed is the
same object as before. A record is divided into

    {"type":1, … {\"userId\":\"u\",\"               a head: account and envelope
    sequence\":7,\"assets\":[                       always the same except for the number
    {\"name\":\"BTC\",\"available\":1, …            the assets, split at `}`
    }],\"deleted\":false}"}]}                       a tail, which may contain the two totals of the exposure
"""

import re
from decimal import Decimal
from itertools import compress, count
from operator import ne

from msgspec import Struct

from ingestor.domain.decode import exact_reader
from ingestor.domain.events import Asset, BalanceSnapshot, Event
from ingestor.domain.limits import Limits

_RECORD_BYTES = 65_536
_RECORDS = 16
"""Most records kept, and the largest that is kept: a few MiB in all."""
_COST, _HIT, _MISS, _CREDIT = 128, 64, 1, 512
"""Keeping a record takes two more exact readings, which are wasted if no later record is similar. So a record
is kept only if the credit covers `_COST`. The credit grows by `_HIT` with each record similar to a kept one,
and by `_MISS` with each other."""

_NUMBER = r"(-?(?!0[0-9])[0-9]{1,12}(?:\.[0-9]{1,28}|)(?:[eE][-+]?0?[0-9]|))"
_DIGITS = 40
"""`_NUMBER` has no more digits, and no larger exponent in either direction."""
_VALUE = re.compile(r":(?:null|[-+.0-9eE]+)(?=[,}]|$)")


class _Grammar:
    """The parts of a record. Its quotes are plain, or escaped ones if `data` is a string."""

    def __init__(self, quote: str) -> None:
        def pattern(text: str) -> re.Pattern[str]:
            return re.compile(text.replace("'", re.escape(quote)))

        optional = f"(?:null|{_NUMBER})"
        plain = f"{_NUMBER},'allocated':{_NUMBER}"
        exposed = f"{plain}(?:,'currentExposure':{optional}|)(?:,'maxExposure':{optional}|)"
        totals = f"'totalCurrentExposure':{optional},'totalMaxExposure':{optional}"
        self.asset = "{'name':'%s','available':".replace("'", quote)
        """Formatted with a name: the text before the amounts."""
        self.start = pattern(r"sequence':(0|[1-9][0-9]{0,17}),'assets':\[").match
        self.plain = pattern(plain).fullmatch
        self.exposed = pattern(exposed).fullmatch
        self.tail = pattern(f"(.*){totals}(.*)").fullmatch


_GRAMMARS = {quote: _Grammar(quote) for quote in ('"', '\\"')}


def _optional(number: str | None) -> Decimal | None:
    return None if number is None else Decimal(number)


class _Known(Struct, gc=False):
    """The newest record with this head, and its events."""

    head: str
    grammar: _Grammar
    heads: list[str]
    """The text of each asset up to its first amount."""
    exposed: bool
    around_totals: tuple[str | None, ...] | None
    """The tail without the totals; None if it has none."""
    text: str
    assets: list[str]
    tail: str
    events: tuple[Event, ...]
    snapshot: BalanceSnapshot
    """Of the one event."""

    def follow(self, text: str) -> bool:
        """Replace this record by `text`, which has the same head.

        Returns:
            False, without a change, if they differ in more than plain numbers.
        """
        start = self.grammar.start(text, len(self.head))
        if start is None:
            return False
        begin = start.end()
        end = text.find("]", begin) - 1
        before, tail = self.snapshot, text[end:]
        current, most = before.total_current_exposure, before.total_max_exposure
        if tail != self.tail:
            totals = self.grammar.tail(tail)
            if totals is None or totals.group(1, 4) != self.around_totals:
                return False
            current, most = map(_optional, totals.group(2, 3))
        texts = text[begin:end].split("}")
        assets = before.assets if texts == self.assets else self._read(texts)
        if assets is None:
            return False
        snapshot = BalanceSnapshot(
            before.user_id, int(start[1]), assets, before.deleted, before.base_currency, current, most
        )
        event = self.events[0]
        self.events = (Event(0, event.subject, event.client_id, snapshot),)
        self.text, self.assets, self.tail, self.snapshot = text, texts, tail, snapshot
        return True

    def _read(self, texts: list[str]) -> tuple[Asset, ...] | None:
        """The assets, with unchanged ones reused; None if their names differ."""
        heads, assets = self.heads, list(self.snapshot.assets)
        if len(texts) != len(heads):
            return None
        exposed = self.exposed
        amounts = self.grammar.exposed if exposed else self.grammar.plain
        for place in compress(count(), map(ne, texts, self.assets)):
            text, head = texts[place], heads[place]
            found = amounts(text, len(head))
            if not found or not text.startswith(head):
                return None
            name = assets[place].name
            if exposed:
                free, used, current, most = found.groups()
                assets[place] = Asset(name, Decimal(free), Decimal(used), _optional(current), _optional(most))
            else:
                free, used = found.groups()
                assets[place] = Asset(name, Decimal(free), Decimal(used))
        return tuple(assets)


class IncrementalReader:
    """Reads successive records, and keeps some of them to read later ones faster. Not thread-safe."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._longest = min(_RECORD_BYTES, limits.record_bytes)
        if min(limits.digits, limits.exponent) < _DIGITS:
            self._longest = 0
        self._known: dict[str, _Known] = {}
        """By head."""
        self._credit = _CREDIT

    def events(self, raw: bytes) -> tuple[Event, ...]:
        """The same events as by the exact reader. Never raises."""
        if len(raw) > self._longest or not raw.isascii():
            return exact_reader.events(raw, self._limits)
        text = raw.decode()
        known = self._known.get(text[: text.find("sequence")])
        if known is not None and (text == known.text or known.follow(text)):
            if self._credit < _CREDIT:
                self._credit += _HIT
            return known.events
        events = exact_reader.events(raw, self._limits)
        snapshot = events[0].body
        if isinstance(snapshot, BalanceSnapshot):
            self._credit += _MISS
            if self._credit >= _COST:
                self._credit -= _COST
                self._learn(text, events, snapshot)
        return events

    def _learn(self, text: str, events: tuple[Event, ...], snapshot: BalanceSnapshot) -> None:
        """Keep a record, if this reader finds its numbers in the right places.

        To prove that, all its numbers are replaced by 1, then by 2: both times the result must equal that of
        the exact reader, which has already checked names and limits.
        """
        at = text.find("sequence")
        end = text.find("}]", at)
        head, middle, tail = text[:at], text[at:end], text[end:]
        grammar = _GRAMMARS['\\"' if head.endswith('\\"') else '"']
        heads = [grammar.asset % each.name for each in snapshot.assets]
        heads[1:] = [f",{each}" for each in heads[1:]]
        totals = grammar.tail(tail)
        around = None if totals is None else totals.group(1, 4)
        exposed = "Exposure" in middle
        unread = [""] * len(heads)
        known = _Known(head, grammar, heads, exposed, around, text, unread, tail, events, snapshot)
        moved = "" if totals is None else tail[totals.end(1) : totals.start(4)]
        for number in (":1", ":2"):
            moving = tail.replace(moved, _VALUE.sub(number, moved)) if moved else tail
            probe = head + _VALUE.sub(number, middle) + moving
            exact = exact_reader.events(probe.encode(), self._limits)
            # By `repr`, because equality of decimals ignores trailing zeros.
            if not known.follow(probe) or repr(known.events) != repr(exact):
                return
        self._known.pop(head, None)
        if len(self._known) >= _RECORDS:
            del self._known[next(iter(self._known))]
        self._known[head] = known
