"""What `ingestor demo` shows: what `ingestor top` shows, in brief, and what only a demonstration can tell.

80 columns, 24 lines, and complete without colour.
"""

from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import groupby
from textwrap import indent
from typing import Any

from rich.text import Text

from ingestor.app.daemon_status import span
from ingestor.app.demo import Ending, InjectedFault, Scene
from ingestor.cli.screen import BAD, BARS, GOOD, QUIET, Part, Section, screen

_STRIP = 60
"""Cells of the strip of coverage; each is a second at first, later 2, 4, 8 ... seconds."""
_SAMPLES = 26
_EMPTY = "·"
_WHOLE = 0.999


class DemoScreen:
    """Draws one scene after another; it remembers how the balances moved."""

    def __init__(self) -> None:
        self._samples: defaultdict[str, deque[Decimal]] = defaultdict(lambda: deque(maxlen=_SAMPLES))

    def draw(self, scene: Scene, height: int) -> Text:
        """As many faults as fit into so many lines: those that are not healed, then the newest."""
        for holding in scene.holdings:
            self._samples[holding.asset].append(holding.total)
        above: list[Section] = [
            ("coverage", [coverage(scene.known)]),
            ("balances", [self._balance(each) for each in scene.holdings]),
        ]
        room = height - screen(scene.daemon, above, brief=True).plain.count("\n") - 1
        ordered = sorted(scene.faults, key=lambda each: (each.seconds is None, each.at), reverse=True)
        faults = [_fault(each, scene) for each in ordered[: max(1, room)]]
        return screen(scene.daemon, [*above, ("faults", faults)], brief=True)

    def _balance(self, holding: Any) -> list[Part]:
        confirmed = holding.certainty == "confirmed"
        return [
            f"{holding.asset:<6}{holding.total:>24f}  {movement(self._samples[holding.asset]):<{_SAMPLES}}  ",
            (holding.certainty, GOOD if confirmed else BAD),
        ]


def coverage(known: Sequence[float]) -> list[Part]:
    """A strip that fills from the left, each cell as high as the share in which the balances were known.

    Args:
        known: of each second since the start the share in which they were.
    """
    size = 1
    while len(known) > _STRIP * size:
        size *= 2
    cells = [known[start : start + size] for start in range(0, len(known), size)]
    strip = [_cell(sum(each) / len(each)) for each in cells]
    share = f" {sum(known) / len(known):.1%}" if known else ""
    return [*strip, (_EMPTY * (_STRIP - len(cells)), QUIET), share]


def _cell(share: float) -> Part:
    return (BARS[-1], GOOD) if share >= _WHOLE else (BARS[int(share * (len(BARS) - 1))], BAD)


def movement(samples: Iterable[Decimal]) -> str:
    """A sparkline between the least and the greatest amount; low where nothing moves."""
    amounts = list(samples)
    low, high = min(amounts), max(amounts)
    return "".join(BARS[int((each - low) * (len(BARS) - 1) / (high - low or 1))] for each in amounts)


def _fault(fault: InjectedFault, scene: Scene) -> list[Part]:
    head = f"{fault.at:%H:%M:%S} {fault.name:<23} "
    if fault.seconds is None:
        so_far = span((scene.daemon.at - fault.at).total_seconds())
        return [head, ("not healed yet", BAD), f" for {so_far}"]
    return [head, (f"{fault.healed_by:<29}", GOOD), f" {fault.seconds:>5.2f} s"]


def summary(ending: Ending) -> Iterator[str]:
    """The counts, the faults, and a few questions with their answers."""
    for name in ("received", "committed", "unaccounted"):
        yield f"{name:<12}{getattr(ending.totals, name)}"
    healed = sum(each.healed_by is not None for each in ending.faults)
    yield f"{'faults':<12}{len(ending.faults)} injected, {healed} healed"
    for name, same in groupby(sorted(ending.faults, key=lambda each: each.name), lambda each: each.name):
        seconds = [each.seconds for each in same]
        known = [each for each in seconds if each is not None]
        slowest = f", the slowest after {max(known):.2f} s" if known else ""
        yield f"{'':<12}{name:<24} {len(known)} of {len(seconds)} healed{slowest}"
    for answer in ending.answers:
        yield f"\n{answer.question}\n"
        yield indent(answer.query, "    ") + "\n"
        yield from _table(answer.rows)


def _table(rows: Sequence[Any]) -> Iterator[str]:
    cells = [rows[0]._fields, *rows] if rows else [("no rows",)]
    texts = [[_shown(each) for each in row] for row in cells]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        yield "  ".join(map(str.ljust, row, widths)).rstrip()


def _shown(value: object) -> str:
    """As psql shows it: an amount without an exponent, and nothing for null."""
    if value is None:
        return ""
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
