"""Charts as SVG for an HTML page. Drawn by matplotlib without a display; text is kept as text elements."""

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import matplotlib as mpl
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import StrMethodFormatter

from ingestor.statement.figures import Day, GapShown, Series

_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "statement",
    "font.family": "sans-serif",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.linewidth": 0.6,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
}
_LINE, _GAP, _UNKNOWN = "#1f4e79", "#d98880", "#c0392b"


def balance_chart(
    series: Series, gaps: Sequence[GapShown], since: datetime, until: datetime, zone: ZoneInfo
) -> str:
    """The total of one asset over the period; intervals in which it was not known are shaded and hatched."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 1.5))
        axes = figure.add_axes((0.09, 0.17, 0.89, 0.78))
        spans = [_span(max(gap.missed_from, since), min(gap.until or until, until)) for gap in gaps]
        axes.broken_barh(
            spans,
            (0, 1),
            transform=axes.get_xaxis_transform(),
            facecolor=_GAP,
            edgecolor=_UNKNOWN,
            alpha=0.35,
            hatch="////",
            linewidth=0,
        )
        if series.points:
            # A chart may be rounded; the table has the exact amounts.
            times = [each.at for each in series.points] + [until]
            totals = [float(each.total) for each in series.points]
            axes.step(times, [*totals, totals[-1]], where="post", color=_LINE, linewidth=1.1)  # type: ignore[arg-type]
        axes.set_xlim(since, until)  # type: ignore[arg-type] # the same
        locator = AutoDateLocator(tz=zone)  # type: ignore[no-untyped-call]
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone, show_offset=False))  # type: ignore[no-untyped-call]
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.6g}"))
        axes.margins(y=0.15)
        return _svg(figure, f"Total of {series.asset}")


def coverage_strip(days: Sequence[Day]) -> str:
    """A cell for each local day: green where the balances were known, red from below where they were not."""
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 0.55))
        axes = figure.add_axes((0.01, 0.36, 0.98, 0.6))
        places = range(len(days))
        axes.bar(
            places,
            [1.0] * len(days),
            width=0.92,
            color="#e6b0aa",
            edgecolor=_UNKNOWN,
            hatch="////",
            linewidth=0,
        )
        axes.bar(places, [day.known for day in days], width=0.92, color="#7dbb8a")
        axes.set_xticks(list(places), [str(day.day.day) for day in days])
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_ylim(0, 1)
        axes.margins(x=0.005)
        return _svg(figure, "Coverage by day")


def _span(since: datetime, until: datetime) -> tuple[float, float]:
    """Start and width on an axis of time."""
    start, end = date2num([since, until])  # type: ignore[no-untyped-call]
    return float(start), float(end - start)


def _svg(figure: Figure, title: str) -> str:
    """Without the XML head, which has no place inside a page, and without a date: reproducible."""
    written = io.StringIO()
    figure.savefig(written, format="svg", metadata={"Date": None, "Title": title})
    text = written.getvalue()
    return text[text.index("<svg") :]
