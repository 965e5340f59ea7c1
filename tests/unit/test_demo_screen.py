"""What the demonstration shows: complete on 24 lines of 80 columns, without colour."""

import io
import itertools
from decimal import Decimal
from typing import NamedTuple

import pytest
from rich.console import Console, Group

from ingestor.app.activity import activity
from ingestor.app.demo import Answer, Ending, InjectedFault, Scene
from ingestor.app.demo_faults import NAMES
from ingestor.app.totals import AccountTotals
from ingestor.cli.demo_screen import DemoScreen, coverage, movement, summary
from ingestor.pipeline.recent import BOUNDS_MS, Recently
from ingestor.simulator import Fault
from ingestor.simulator.faults import misbehaviour
from tests.support.daemon_status import daemon_status
from tests.support.feed import Feed
from tests.support.items import at, balances, pairs

ASSETS = {"BTC": "12.50000000", "ETH": "340.123456789012345678", "EUR": "820000.00", "USDT": "1500000.000000"}


class Holding(NamedTuple):
    asset: str
    total: Decimal
    certainty: str


class Row(NamedTuple):
    cause: str
    share: Decimal | None


def fault(minute: int, healed_by: str | None = None, seconds: float | None = None) -> InjectedFault:
    return InjectedFault(Fault.RST, at(60 * minute), None, healed_by, seconds)


def scene(faults: list[InjectedFault], moved: Decimal = Decimal(0), known: int = 10) -> Scene:
    feed = Feed()
    feed.apply(feed.opened(), feed.received(balances(5)), feed.received(pairs(["BTCEUR"])))
    bars, latency = [0] * 58 + [4, 8], [0, 40, 0, 1] + [0] * (len(BOUNDS_MS) - 3)
    seen = daemon_status(outcomes={"applied": 7, "duplicate": 1})
    return Scene(
        daemon=activity("demo", seen, feed.state, Recently(19.8, bars, latency), at(3_600)),
        holdings=[Holding(name, Decimal(total) + moved, "confirmed") for name, total in ASSETS.items()],
        known=[1.0] * (known - 1) + [0.25] if known else [],
        faults=faults,
    )


def strip(known: list[float]) -> str:
    return "".join(part if isinstance(part, str) else part[0] for part in coverage(known))


def shown(*scenes: Scene, height: int = 24, width: int = 80) -> list[str]:
    """The last screen, as a terminal without colours shows it."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, color_system=None, width=width, height=height)
    screen = DemoScreen()
    for each in scenes[:-1]:
        screen.draw(each, height)
    console.print(Group(screen.draw(scenes[-1], height)))  # as rich.live has it
    return [line.rstrip() for line in written.getvalue().splitlines()]


def test_the_screen_shows_the_daemon_the_balances_the_coverage_and_the_faults() -> None:
    healed_by = "reconnected, fresh snapshots"
    healed = fault(58, healed_by, 1.234)
    moves = [scene([healed, fault(59)], Decimal(step)) for step in (0, 7, 3)]

    lines = shown(*moves)

    assert lines[0].startswith("ingestor ")
    assert lines[0].endswith(" UTC")
    assert "rate      19.8 records/s   1 committed since the start" in lines
    assert "latency   half within 2 ms, 99 % within 10 ms, all within 10 ms" in lines
    assert f"coverage  {'█' * 9}▂{'·' * 50} 92.5%" in lines
    assert f"balances  BTC   {'15.50000000':>24}  ▁█▄{' ' * 23}  confirmed" in lines
    assert f"{' ' * 10}ETH   {'343.123456789012345678':>24}  ▁█▄{' ' * 23}  confirmed" in lines
    assert lines[-2:] == [
        f"faults    {at(59 * 60):%H:%M:%S} link reset by the hub   not healed yet for 60 s",
        f"          {at(58 * 60):%H:%M:%S} link reset by the hub   {healed_by:<29}  1.23 s",
    ]


@pytest.mark.parametrize("height", [24, 40])
def test_as_many_faults_are_shown_as_fit_the_newest_first(height: int) -> None:
    lines = shown(scene([fault(minute, "x", 0.1) for minute in range(59)]), height=height)

    assert len(lines) == height
    rows = lines[[line[:6] for line in lines].index("faults") :]
    assert [row[10:18] for row in rows] == [
        f"{at(60 * minute):%H:%M:%S}" for minute in range(58, 58 - len(rows), -1)
    ]
    assert len(rows) >= 6


def test_a_fault_that_is_not_healed_stays_on_the_screen() -> None:
    lines = shown(scene([fault(1), *(fault(minute, "x", 0.1) for minute in range(2, 59))]))
    (first,) = [line for line in lines if line.startswith("faults ")]
    assert first == f"faults    {at(60):%H:%M:%S} link reset by the hub   not healed yet for 59 min"


@pytest.mark.parametrize("width", [60, 80])
def test_no_line_is_longer_than_the_terminal(width: int) -> None:
    long = fault(1, "x" * 29, 99.99)
    lines = shown(scene([long] * 9, Decimal(10**15), known=10_000), width=width)
    assert len(lines) == 24
    assert max(map(len, lines)) <= width


def test_there_is_a_screen_before_anything_is_known() -> None:
    nothing = Scene(scene([]).daemon, [], [], [])
    lines = shown(nothing)
    assert f"coverage  {'·' * 60}" in lines
    assert "balances  none" in lines
    assert "faults    none" in lines


@pytest.mark.parametrize(("seconds", "cells"), [(60, 60), (61, 31), (121, 31), (3_600, 57)])
def test_the_strip_of_coverage_fills_and_then_halves(seconds: int, cells: int) -> None:
    assert strip([1.0] * seconds) == f"{'█' * cells}{'·' * (60 - cells)} 100.0%"


def test_a_second_with_a_short_gap_differs_from_one_without() -> None:
    assert strip([0.0, 0.5, 0.99, 1.0]).startswith("▁▄▇█·")


def test_balances_that_do_not_move_are_a_flat_line() -> None:
    assert movement(map(Decimal, (2, 2, 2))) == "▁▁▁"
    assert movement(map(Decimal, ("1.0", "1.5", "2.0"))) == "▁▄█"


def test_every_fault_of_a_demonstration_has_a_name_that_fits() -> None:
    for seed in range(20):
        for _, spec in itertools.islice(misbehaviour(seed), 50):
            assert len(NAMES[spec.fault]) <= 23


def test_the_summary_counts_names_and_answers() -> None:
    totals = AccountTotals(9, 9, {}, 0, 1, 1, {}, 1, 1)
    rows = [Row("known", Decimal("0.9000")), Row("disconnected", Decimal("1E-4")), Row("stopped", None)]
    faults = [fault(1, "x", 0.5), fault(2, "x", 1.25), fault(3)]
    answers = [Answer("For which share?", "SELECT cause,\n    share", rows), Answer("Which?", "SELECT", [])]

    lines = list(summary(Ending(totals, faults, answers)))

    assert "\n".join(lines) == (
        "received    9\n"
        "committed   9\n"
        "unaccounted 0\n"
        "faults      3 injected, 2 healed\n"
        "            link reset by the hub    2 of 3 healed, the slowest after 1.25 s\n"
        "\nFor which share?\n\n"
        "    SELECT cause,\n        share\n\n"
        "cause         share\n"
        "known         0.9000\n"
        "disconnected  0.0001\n"
        "stopped\n"
        "\nWhich?\n\n"
        "    SELECT\n\n"
        "no rows"
    )
