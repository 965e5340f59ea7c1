"""The charts show the figures: read from the paths of the SVG."""

import re
from datetime import UTC
from decimal import Decimal

import pytest

from ingestor.statement.charts import balance_chart, coverage_strip
from ingestor.statement.figures import GapShown, Point, Series
from tests.integration.statement.story import HOUR, ROME, SINCE, UNTIL, figures

LINE, KNOWN = "stroke: #1f4e79", "fill: #7dbb8a"
SHADE = "fill: url("
BEGIN = SINCE.astimezone(UTC)
MONTH = UNTIL.astimezone(UTC) - BEGIN
"""Without the hour that the clocks leave out."""
Path = list[tuple[float, float]]


def paths(svg: str, style: str) -> list[Path]:
    """The corners of what is drawn in this way; y grows downwards."""
    return [
        [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", corners)]
        for corners, its_style in re.findall(r'<path d="([^"]+)"[^>]*style="([^"]*)"', svg)
        if style in its_style
    ]


def chart(*gaps: GapShown) -> str:
    """0 from the start on, 10 from the middle on."""
    points = [Point(BEGIN, Decimal(0)), Point(BEGIN + MONTH / 2, Decimal(10))]
    return balance_chart(Series("user", "BTC", points), gaps, SINCE, UNTIL, ROME)


def test_a_total_holds_until_the_next_one_and_the_last_one_until_the_end() -> None:
    (line,) = paths(chart(), LINE)
    (left, low), (right, high) = line[0], line[-1]
    middle = (left + right) / 2

    assert low > high
    assert line[:4] == [
        (left, low),
        (pytest.approx(middle, abs=0.01), low),
        (pytest.approx(middle, abs=0.01), high),
        (right, high),
    ]


def test_gaps_are_shaded_where_they_were_and_an_open_one_to_the_end() -> None:
    for since, until, begin, end in (
        (BEGIN + MONTH / 4, BEGIN + MONTH / 2, 0.25, 0.5),
        (BEGIN - HOUR, BEGIN + MONTH / 4, 0, 0.25),
        (BEGIN + MONTH / 2, None, 0.5, 1),
        (BEGIN + MONTH / 2, UNTIL + HOUR, 0.5, 1),
    ):
        svg = chart(GapShown("disconnected", "eof", since, until, ["balances"]))
        (line,), (shade,) = paths(svg, LINE), paths(svg, SHADE)
        left, width = line[0][0], line[-1][0] - line[0][0]
        shaded = [(x - left) / width for x, _ in shade]
        assert (min(shaded), max(shaded)) == pytest.approx((begin, end), abs=1e-4)


def test_a_day_is_green_as_far_as_it_was_known() -> None:
    days = figures().days
    bars = paths(coverage_strip(days), KNOWN)
    heights = [max(y for _, y in bar) - min(y for _, y in bar) for bar in bars]

    assert len(heights) == len(days) == 31
    assert [height / heights[0] for height in heights] == pytest.approx([day.known for day in days], abs=1e-3)
    assert min(heights) < heights[0], "there is a day with a gap"
